"""Errors of routes, in a form that both dialects can express."""

from __future__ import annotations

from collections.abc import Mapping

from pero_worker.errors import PeroWorkerError


class ApiError(PeroWorkerError):
    """An answer with a status of 400 or more: `code` is for v1's programs, and the message is a sentence for people.

    `details` are included in v1; `headers` are sent along.
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
    """Returns a 422 that says where in the request the problem is."""
    details = [{"loc": list(location), "msg": message, "type": kind}]
    return ApiError(422, "REQUEST_VALIDATION_ERROR", message, details=details)
