"""The forms of the pages: a few short fields."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.receiving import receive_small

_MAX_BYTES = 65_536
_MAX_FIELDS = 1000


async def read_form(request: Request) -> Mapping[str, str]:
    """Returns the fields of a form; if a name occurs more than once, the last one counts.

    Raises `ApiError` if the body is not a form, or far too large.
    """
    body = await receive_small(request, _MAX_BYTES)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", "The form is damaged.") from error
