"""The gateway's operations as methods, and its refusals as errors."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pero_worker.client.http import HttpConnection, Reply
from pero_worker.clock import SystemClock
from pero_worker.errors import ExitCode, PeroWorkerError, TransientError
from pero_worker.ports import Clock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_AGAIN = frozenset({429, 502, 503, 504})


class GatewayRefused(PeroWorkerError):
    """The gateway understood the request and refused it; `code` is its word for the reason."""

    exit_code = ExitCode.USAGE
    failure_class = "request"

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"the gateway refuses: {message} ({status} {code})")
        self.status = status
        self.code = code


class GatewayClient:
    """A client of the gateway at `url`, with the key `key`, for use from one thread.

    A gateway that is away, or asks for patience, is asked again for `patience` seconds, with growing pauses. Requests
    that create something carry an idempotency key, so that it is created once however often the request is sent. Raises
    `TransientError` when patience runs out, and `GatewayRefused` if the gateway refuses.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = 300.0,
        clock: Clock | None = None,
        context: ssl.SSLContext | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = HttpConnection(url, key, context=context)
        self._patience = patience
        self._clock = clock or SystemClock()
        self._stopped = stopped

    # -- for users who want pages read ---------------------------------------------------------------------------

    def me(self) -> dict[str, Any]:
        """Returns what the gateway knows about the key."""
        return dict(self._data("GET", ("v1", "me")))

    def engines(self) -> list[dict[str, Any]]:
        return self._data("GET", ("v1", "engines")) or []

    def create_job(self, names: Sequence[str], **more: object) -> dict[str, Any]:
        """Creates a job with a page for each name; `more` are further fields of its definition."""
        definition = {"images": [{"name": name, "order": place} for place, name in enumerate(names)], **more}
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return dict(self._data("POST", ("v1", "jobs"), value=definition, headers=headers))

    def upload_image(self, job: str, name: str, path: Path) -> None:
        self._data("PUT", ("v1", "jobs", job, "images", name, "files", "image"), upload=(path, name))

    def jobs(self, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Yields the key's jobs, newest first; if `state` is given, only those in it."""
        yield from self._listed(("v1", "jobs"), state, 100)

    def job(self, job: str) -> dict[str, Any]:
        return dict(self._data("GET", ("v1", "jobs", job)))

    def cancel(self, job: str) -> None:
        self._data("PATCH", ("v1", "jobs", job), value={"state": "cancelled"})

    def page(self, job: str, name: str) -> dict[str, Any]:
        """Returns the outcome of one page. Raises `GatewayRefused` if the job has no such page."""
        for page in self.pages(job):
            if page["name"] == name:
                return page
        raise GatewayRefused(404, "IMAGE_NOT_FOUND_FOR_JOB", "the job has no such page")

    def pages(self, job: str, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Yields the pages of a job in order; if `state` is given, only those in it."""
        yield from self._listed(("v1", "jobs", job, "pages"), state, 500)

    def page_result(self, job: str, name: str, kind: str) -> bytes:
        """Returns a page's result unchanged; `kind` is `page`, `alto`, `text` and so on."""
        path = ("v1", "jobs", job, "pages", name, "results", kind)
        return self._patiently(lambda: self._connection.ask("GET", path)).content

    def retry(self, job: str, pages: Sequence[str] | None = None) -> int:
        """Has failed pages tried again. Returns their number."""
        return int(self._data("POST", ("v1", "jobs", job, "retry"), value={"pages": pages})["pages"])

    def delete(self, job: str) -> None:
        """Cancels the job and removes its scans and results."""
        self._data("DELETE", ("v1", "jobs", job))

    def fetch_result(self, job: str, target: IO[bytes], formats: Sequence[str] = ()) -> None:
        """Writes the zip with all results to `target`."""
        query = {"formats": ",".join(formats), "partial": "true"} if formats else None
        self._fetch(("v1", "jobs", job, "result"), target, query)

    # -- for workers ---------------------------------------------------------------------------------------------

    def lease(self, engine: str | None = None) -> str | None:
        """Returns the id of a job to work on, or None if there is none."""
        data = self._data("POST", ("v1", "jobs", "lease"), query={"engine": engine})
        return str(data["id"]) if data else None

    def give_back(self, job: str) -> None:
        self._data("DELETE", ("v1", "jobs", job, "lease"))

    def tell(self, job: str, **what: object) -> None:
        """Reports progress, logs or the end of a leased job."""
        self._data("PATCH", ("v1", "jobs", job), value=what)

    def fetch_image(self, job: str, image: str, target: IO[bytes]) -> None:
        self._fetch(("v1", "jobs", job, "images", image, "files", "image"), target)

    def fetch_engine(self, engine: str, target: IO[bytes]) -> None:
        self._fetch(("v1", "engines", engine, "files"), target)

    def upload_result(self, job: str, path: Path) -> None:
        self._data("POST", ("v1", "jobs", job, "result"), upload=(path, "result.zip"))

    def close(self) -> None:
        self._connection.close()

    # ------------------------------------------------------------------------------------------------------------

    def _listed(self, path: tuple[str, ...], state: str | None, at_once: int) -> Iterator[dict[str, Any]]:
        cursor: object = None
        while True:
            data = self._data("GET", path, query={"limit": at_once, "cursor": cursor, "state": state})
            yield from data["items"]
            cursor = data.get("next")  # The gateway omits fields without a value.
            if cursor is None:
                return

    def _fetch(self, path: tuple[str, ...], target: IO[bytes], query: Mapping[str, object] | None = None) -> None:
        def ask() -> Reply:
            target.seek(0)
            target.truncate()
            return self._connection.ask("GET", path, query=query, target=target)

        self._patiently(ask)

    def _data(self, method: str, path: tuple[str, ...], **more: Any) -> Any:
        reply = self._patiently(lambda: self._connection.ask(method, path, **more))
        return (reply.json() or {}).get("data")

    def _patiently(self, ask: Callable[[], Reply]) -> Reply:
        deadline = self._clock.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                reply = ask()
                if reply.status < 400:
                    return reply
                if reply.status not in _AGAIN:
                    raise _refusal(reply)
                error = TransientError(f"the gateway is busy or away (status {reply.status})")
                wanted = reply.headers.get("retry-after", "")
                pause = max(pause, float(wanted) if wanted.isdigit() and len(wanted) < 5 else 0.0)
            except TransientError as trouble:
                error = trouble
            if self._stopped() or self._clock.monotonic() + pause > deadline:
                raise error
            self._clock.sleep(min(pause, _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _refusal(reply: Reply) -> GatewayRefused:
    body = reply.json()
    body = body if isinstance(body, dict) else {}
    code, detail = str(body.get("code", "?"))[:100], str(body.get("detail", "no reason is given"))[:500]
    return GatewayRefused(reply.status, code, "".join(letter if letter.isprintable() else "?" for letter in detail))
