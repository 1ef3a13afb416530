"""Fetches the picture of a page, in the best way its server offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.inputs.beginnings import looks_like_book
from pero_worker.inputs.books import ImageService, Picture
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.inputs.iiif.image import (
    Candidate,
    ImageDescription,
    Tile,
    candidates,
    description_of,
    description_urls,
    tiles,
)
from pero_worker.inputs.iiif.services import login_of
from pero_worker.inputs.images import opened
from pero_worker.inputs.jsontext import parse_json
from pero_worker.inputs.web.fetch import AnswerError, Fetcher

_REFUSED = frozenset({401, 403})
_TURNS = {90: Pillow.Transpose.ROTATE_270, 180: Pillow.Transpose.ROTATE_180, 270: Pillow.Transpose.ROTATE_90}
_MAX_TILES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """How pictures are requested."""

    size: str = "max"
    """Size to request, as the Image API writes it."""
    tiles: bool = False
    """Whether to assemble a picture from tiles where the server gives only a smaller one."""
    max_pixels: int = DEFAULT_MAX_PIXELS
    """Most pixels of a picture that is assembled, cropped or rotated here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBringer:
    """Fetches pictures; may be used by several threads."""

    fetcher: Fetcher
    """Sends the requests."""
    options: PictureOptions
    """How pictures are to be requested."""

    def bring(self, picture: Picture) -> Path:
        """Returns the picture as a local file, fetched if need be. Raises `PageError` if it cannot be had."""
        if picture.file is not None:
            return picture.file
        picture = self._without_login(picture)
        description, problem = self._described(picture)
        if self.options.tiles and description is not None and self.options.size == "max":
            try:
                if pieces := tiles(picture, description):
                    return self._joined(picture, pieces)
            except AnswerError as error:
                problem = error  # The whole picture is smaller, but better than nothing.
        login = picture.service.login if picture.service else ""
        for candidate in candidates(picture, description, self.options.size):
            try:
                return self._candidate(candidate)
            except AnswerError as error:
                if error.status in _REFUSED and login:
                    raise _needs_login(login, picture) from error
                problem = problem or error
            except _NoPictureError as error:
                problem = problem or error
        raise problem or PageError("the page has no picture that can be asked for", permanent=True)

    def _without_login(self, picture: Picture) -> Picture:
        """Makes its addresses fit to be shown; the fetcher knows which login to send to which server."""
        service = picture.service
        if service is not None:
            service = replace(service, id=self.fetcher.without_login(service.id))
        return replace(picture, url=self.fetcher.without_login(picture.url), service=service)

    def _described(self, picture: Picture) -> tuple[ImageDescription | None, PageError | None]:
        """Returns what the service says about the picture, or why it says nothing."""
        service = picture.service
        if service is None:
            return None, None
        problem: PageError | None = None
        for url in description_urls(service.id):
            try:
                found = parse_json(self.fetcher.description(url).path.read_bytes())
                description = description_of(found)
            except AnswerError as error:
                if error.status in _REFUSED:
                    raise _needs_login(service.login or _login_in(error.body), picture) from error
                problem = problem or error
            except ValueError as error:
                problem = problem or PageError(f"{url[:500]}: {error}", permanent=True)
            else:
                login = login_of(found)
                if login and picture.width > description.width:
                    raise _needs_login(login, picture)
                return description, None
        return None, problem

    def _candidate(self, candidate: Candidate) -> Path:
        path = self.fetcher.picture(candidate.url).path
        with path.open("rb") as stream:
            head = stream.read(1024)
        if not head or looks_like_book(head) or head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise _NoPictureError(f"{candidate.url[:500]} is no picture, but text or a web page", permanent=True)
        if not candidate.region and not candidate.rotation:
            return path
        key = f"cut\n{candidate.url}\n{candidate.region}\n{candidate.rotation}"
        known = self.fetcher.made(key)
        if known is not None:
            return known.path

        def fill(stream: IO[bytes]) -> None:
            with path.open("rb") as source, opened(source) as whole:
                self._check_size(*whole.size)
                left, top, width, height = (
                    map(int, candidate.region.split(",")) if candidate.region else (0, 0, *whole.size)
                )
                part = whole.crop((left, top, min(left + width, whole.width), min(top + height, whole.height)))
                if candidate.rotation:
                    part = part.transpose(_TURNS[candidate.rotation])
                _save(part, stream)

        return self.fetcher.cache.put(key, fill, url=candidate.url).path

    def _joined(self, picture: Picture, pieces: tuple[Tile, ...]) -> Path:
        key = f"tiles\n{picture.key}"
        known = self.fetcher.made(key)
        if known is not None:
            return known.path
        width = max(piece.left + piece.width for piece in pieces)
        height = max(piece.top + piece.height for piece in pieces)
        self._check_size(width, height)
        if len(pieces) > _MAX_TILES:
            raise PageError(f"the picture would take {len(pieces)} tiles: leave out --iiif-tiles", permanent=True)
        canvas = Pillow.new("RGB", (width, height), "white")
        for piece in pieces:
            with self.fetcher.picture(piece.url).path.open("rb") as stream, opened(stream) as tile:
                self._check_size(*tile.size)
                part = tile.convert("RGB")
                if part.size != (piece.width, piece.height):
                    part = part.resize((piece.width, piece.height))
                canvas.paste(part, (piece.left, piece.top))
        if picture.rotation:
            canvas = canvas.transpose(_TURNS[picture.rotation])
        return self.fetcher.cache.put(key, lambda stream: _save(canvas, stream), url=picture.url).path

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.options.max_pixels:
            raise PageError(
                f"the picture has {width} x {height} pixels, more than the {self.options.max_pixels / 1e6:g} "
                "megapixels allowed; if it is real, raise --max-megapixels",
                permanent=True,
            )


class _NoPictureError(PageError):
    """The server sent something other than a picture."""


def _login_in(body: bytes) -> str:
    try:
        return login_of(parse_json(body))
    except ValueError:
        return ""


def _save(picture: Pillow.Image, stream: IO[bytes]) -> None:
    picture.save(stream, "PNG", compress_level=1)


def _needs_login(login: str, picture: Picture) -> PageError:
    service = picture.service or ImageService(id=picture.url)
    return PageError(
        f"needs a login at {login or service.id}: --iiif-header or --iiif-cookies gives it", permanent=True
    )
