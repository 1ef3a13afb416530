"""A library's web server for tests: drawn pictures behind the Image API in all its levels, documents, and faults."""

from __future__ import annotations

import functools
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 400, 600
_IMAGE = re.compile(r"(/image/([123])/([^/]+))/([^/]+)/([^/]+)/([0-9]+)/(default|native)\.jpg")


@functools.cache
def picture(name: str, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """White paper; one corner is dark, so that it shows how it was turned, and columns tell which part it is."""
    drawn = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((0, 0, width // 4, height // 4), fill="black")
    pen.text((width // 2, height // 2), name, fill="black")
    return drawn


def jpeg(drawn: Image.Image) -> bytes:
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=92)
    return stream.getvalue()


@dataclass
class Service:
    """A picture behind the Image API; as strict as the strictest servers are."""

    version: int = 3
    level: int = 2
    width: int = WIDTH
    height: int = HEIGHT
    max_width: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    tile: int = 0
    locked: str = ""
    """Label of the login without which nothing is shown."""

    def description(self, address: str) -> dict[str, Any]:
        contexts = {
            1: "http://library.stanford.edu/iiif/image-api/1.1/context.json",
            2: "http://iiif.io/api/image/2/context.json",
            3: "http://iiif.io/api/image/3/context.json",
        }
        found: dict[str, Any] = {"@context": contexts[self.version], "width": self.width, "height": self.height}
        if self.version == 3:
            found |= {"id": address, "type": "ImageService3", "profile": f"level{self.level}"}
        elif self.version == 2:
            limits = {"maxWidth": self.max_width} if self.max_width else {}
            found |= {"@id": address, "profile": [f"http://iiif.io/api/image/2/level{self.level}.json", limits]}
        else:
            found |= {
                "@id": address,
                "profile": f"http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level{self.level}",
            }
        if self.version > 1:
            found["protocol"] = "http://iiif.io/api/image"
        if self.version == 3 and self.max_width:
            found["maxWidth"] = self.max_width
        if self.sizes:
            found["sizes"] = [{"width": width, "height": height} for width, height in self.sizes]
        if self.tile:
            found["tiles"] = [{"width": self.tile, "scaleFactors": [1, 2]}]
        if self.locked:
            found["service"] = {
                "@id": "http://x/login",
                "profile": "http://iiif.io/api/auth/1/login",
                "label": self.locked,
            }
        return found

    def answer(self, name: str, region: str, size: str, rotation: int, quality: str) -> Image.Image | None:
        """None: refused."""
        if quality != ("native" if self.version == 1 else "default"):
            return None
        whole = picture(name, self.width, self.height)
        if region != "full":
            if self.level == 0 and not self._is_tile(region, size):
                return None
            left, top, width, height = map(int, region.split(","))
            whole = whole.crop((left, top, left + width, top + height))
        elif self.level == 0 and size not in {"max", *self._listed()}:
            return None
        wanted = self._size(size, *whole.size)
        if wanted is None or (rotation and self.level < 2):
            return None
        return whole.resize(wanted).rotate(-rotation, expand=True)

    def _listed(self) -> set[str]:
        return {f"{w},{h}" if self.version == 3 else f"{w}," for w, h in self.sizes}

    def _is_tile(self, region: str, size: str) -> bool:
        left, top, width, height = map(int, region.split(","))
        fits = self.tile and left % self.tile == 0 and top % self.tile == 0 and max(width, height) <= self.tile
        return bool(fits) and size == (f"{width},{height}" if self.version == 3 else f"{width},")

    def _size(self, size: str, width: int, height: int) -> tuple[int, int] | None:
        most = self.max_width or width
        if size == "max" and self.version > 1:
            share = min(1, most / width)
            return round(width * share), round(height * share)
        if size == "full" and self.version < 3:
            return None if width > most else (width, height)
        if found := re.fullmatch(r"([0-9]+),([0-9]*)", size):
            across = int(found[1])
            down = int(found[2]) if found[2] else round(height * across / width)
            return None if across > most or across > width else (across, down)
        if found := re.fullmatch(r"pct:([0-9]+)", size):
            return width * int(found[1]) // 100, height * int(found[1]) // 100
        return None


@dataclass
class Library:
    """What the server has, and what it was asked."""

    port: int
    services: dict[str, Service] = field(default_factory=dict)
    """By path, as '/image/3/p1'."""
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Content and type, by path."""
    faults: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """Answers that come first, by path."""
    key: str = ""
    """Value of the header Authorization that opens what is locked."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Paths and headers of requests."""

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def counts(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)

    def put(self, path: str, document: Any, kind: str = "application/json") -> str:
        """Its address. In texts, HOME becomes the server's address."""
        if isinstance(document, bytes):
            self.files[path] = (document, kind)
            return self.home + path
        text = document if isinstance(document, str) else json.dumps(document)
        self.files[path] = (text.replace("HOME", self.home).encode(), kind)
        return self.home + path

    def put_picture(self, path: str, name: str = "", width: int = WIDTH, height: int = HEIGHT) -> str:
        self.files[path] = (jpeg(picture(name or path, width, height)), "image/jpeg")
        return self.home + path


@contextmanager
def library() -> Iterator[Library]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            here.asked.append((self.path, dict(self.headers)))
            waiting = here.faults.get(self.path)
            if waiting:
                status, headers = waiting.pop(0)
                self._send(status, b"", "text/plain", headers)
            elif self.path.endswith("/info.json") and self.path[:-10] in here.services:
                self._describe(self.path[:-10])
            elif found := _IMAGE.fullmatch(self.path):
                self._show(*found.groups())
            elif self.path in here.files:
                self._file(*here.files[self.path])
            else:
                self._send(404, b"<html>nothing here</html>", "text/html")

        def _describe(self, path: str) -> None:
            service = here.services[path]
            body = json.dumps(service.description(here.home + path)).encode()
            open_ = not service.locked or self.headers.get("Authorization") == here.key
            self._send(200 if open_ else 401, body, "application/ld+json")

        def _show(self, path: str, _version: str, name: str, *asked: str) -> None:
            service = here.services.get(path)
            if service is None:
                self._send(404, b"", "text/plain")
            elif service.locked and self.headers.get("Authorization") != here.key:
                self._send(401, b"", "text/plain")
            else:
                region, size, rotation, quality = asked
                drawn = service.answer(name, region, size, int(rotation), quality)
                if drawn is None:
                    self._send(403, b"", "text/plain")
                else:
                    self._send(200, jpeg(drawn), "image/jpeg")

        def _file(self, body: bytes, kind: str) -> None:
            mark = f'"{hash(body):x}"'
            if self.headers.get("If-None-Match") == mark:
                self._send(304, b"", kind, {"ETag": mark})
            else:
                self._send(200, body, kind, {"ETag": mark})

        def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Library(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
