"""What a route refuses, in a form that both dialects can say."""

from __future__ import annotations

from collections.abc import Mapping

from pero_worker.errors import PeroWorkerError


class ApiError(PeroWorkerError):
    """An answer with a status of 400 or more: `code` is a word for v1's programs, the message a sentence for people.

    `details` goes with it in v1; `headers` are sent along.
    """

    failure_class = "request"

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.headers = dict(headers or {})


def invalid(location: tuple[str | int, ...], message: str, kind: str = "value_error") -> ApiError:
    """A 422 that says where in the request the trouble is."""
    details = [{"loc": list(location), "msg": message, "type": kind}]
    return ApiError(422, "REQUEST_VALIDATION_ERROR", message, details=details)
