"""A page for a browser, in one file: pictures of lines with the text that was read there, the least sure first."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image as Pillow

from pero_worker.page import Image, Line, Word
from pero_worker.text import one_line

MARK = "<!-- made by pero-worker review -->"
"""Marks a file as one of ours, which may be overwritten."""
_HEIGHT, _WIDTH = 56, 1400
"""Largest height and width of a line's picture, in pixels."""
_MARGIN = 0.25
"""Margin that is shown around a line, as a fraction of its height."""
_DOUBTFUL = 0.9
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif; }
body { max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
article { border-top: 1px solid #8886; padding: .7rem 0; }
img { max-width: 100%; display: block; background: #fff; }
p { margin: .3rem 0; font-family: Georgia, serif; font-size: 1.15rem; }
small { color: #888; } mark { background: #f6c8; color: inherit; border-bottom: 2px solid #c60; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A line as it is shown."""

    page: str
    """Name of its page."""
    line: Line
    """The line, with its text and words."""
    picture: bytes | None
    """Picture of the line as JPEG; None if the page's image could not be opened."""


def write(title: str, pages: Iterable[tuple[str, float]], lines: Iterable[Shown]) -> Iterator[bytes]:
    """Yields the HTML in pieces; it fetches nothing from elsewhere and runs no scripts."""
    head = (
        f"<!doctype html>\n{MARK}\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:;"
        " style-src 'unsafe-inline'\"><meta name='viewport' content='width=device-width'>"
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body><h1>{_safe(title)}</h1>"
        "<p>The number says how many of a hundred letters are likely right; doubtful words are marked.</p>"
        "<h2>Least sure pages</h2><table>"
    )
    yield head.encode()
    for name, confidence in pages:
        yield f"<tr><td>{_per_cent(confidence)}</td><td>{_safe(name)}</td></tr>\n".encode("utf-8", "replace")
    yield b"</table><h2>Least sure lines</h2>\n"
    for shown in lines:
        yield _article(shown).encode("utf-8", "replace")
    yield b"</body></html>\n"


def _article(shown: Shown) -> str:
    picture = "<small>its image could not be opened</small>"
    if shown.picture is not None:
        data = base64.b64encode(shown.picture).decode()
        picture = f"<img alt='' src='data:image/jpeg;base64,{data}'>"
    where = f"{_per_cent(shown.line.confidence or 0.0)} · {_safe(shown.page)} · {_safe(shown.line.id)}"
    return f"<article><small>{where}</small>{picture}<p>{_text(shown.line)}</p></article>\n"


def _text(line: Line) -> str:
    text = line.text or ""
    if " ".join(word.text for word in line.words) != text:
        return _safe(text)
    return " ".join(map(_word, line.words))


def _word(word: Word) -> str:
    if word.confidence is None or word.confidence >= _DOUBTFUL:
        return _safe(word.text)
    return f"<mark title='{_per_cent(word.confidence)}'>{_safe(word.text)}</mark>"


def _safe(text: str) -> str:
    return escape(one_line(text), quote=True)


def _per_cent(confidence: float) -> str:
    return f"{100 * min(1.0, max(0.0, confidence)):.0f}"


def picture_of(image: Image, line: Line, size: tuple[int, int]) -> bytes | None:
    """Returns the line, cut out of its page's image, as JPEG; None if it lies outside. `size` is the size of the page
    that the line's coordinates refer to."""
    points = np.asarray(line.polygon or line.baseline, float).reshape(-1, 2)
    if not len(points):
        return None
    high, wide = image.shape[:2]
    points = points * (wide / size[0], high / size[1])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (bottom - top) + 2
    x0, x1 = (int(np.clip(x, 0, wide)) for x in (left - margin, right + margin))
    y0, y1 = (int(np.clip(y, 0, high)) for y in (top - margin, bottom + margin))
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    scale = min(_HEIGHT / (y1 - y0), _WIDTH / (x1 - x0), 2.0)
    shape = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    packed = io.BytesIO()
    cut = Pillow.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1, ::-1]))
    cut.resize(shape, Pillow.Resampling.LANCZOS).save(packed, "JPEG", quality=70)
    return packed.getvalue()
