"""What a file that cannot be read looks like, judged by its first bytes, and what to do about it."""

from __future__ import annotations

_TEXT_MODE = "that was copied as text, which changes bytes: copy it again in binary mode"
_STARTS = (
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"<!doctype html", "an HTML page, perhaps what a server says about a missing file"),
    (b"<html", "an HTML page, perhaps what a server says about a missing file"),
    (b"<?xml", "XML"),
    (b"<svg", "an SVG drawing: convert it to PNG"),
    (b"version https://git-lfs", "a placeholder of Git LFS: fetch the file itself with git lfs pull"),
    (b"data:image/", "a picture written as text (base64): decode it"),
    (b"%!ps", "PostScript: convert it to PDF"),
    (b"{\\rtf", "a text document (RTF): save it as PDF"),
    (b"\xd0\xcf\x11\xe0", "an office document: save it as PDF"),
    (b"\xff\x0a", "JPEG XL: convert it to PNG or TIFF"),
    (b"\0\0\0\x0cjxl ", "JPEG XL: convert it to PNG or TIFF"),
    (b"ii\xbc", "JPEG XR: convert it to PNG or TIFF"),
    (b"\xff\xd8\xff\xf7", "JPEG-LS: convert it to PNG or TIFF"),
    (b"\x97jb2", "JBIG2: convert it to PNG or TIFF"),
    (b"at&tform", "DjVu: convert it to PDF"),
    (b"8bps", "a Photoshop file: save it as TIFF"),
    (b"gimp xcf", "a GIMP file: export it as TIFF"),
    (b"v/1\x01", "OpenEXR: convert it to PNG or TIFF"),
    (b"p7\n", "a PAM picture: convert it to PNG or TIFF"),
    (b"pf\n", "a PFM picture: convert it to PNG or TIFF"),
    (b"sqlite format 3", "a database"),
    (b"\x89png\n", f"a PNG {_TEXT_MODE}"),
    (b"\x89png\r\r", f"a PNG {_TEXT_MODE}"),
    (b"\x89png\r\n\x1a\r", f"a PNG {_TEXT_MODE}"),
    (b"\tpng", f"a PNG {_TEXT_MODE}"),
    (b"\xef\xbf\xbd", "binary data that a program took for text and destroyed: get the file again"),
)
"""First bytes, compared without regard to case, and what they mean."""
_PICTURES = (b"\x89PNG\r\n\x1a\n", *(b"P%d" % kind for kind in range(1, 7)), b"GIF8", b"II*\0", b"MM\0*")
"""Not described: the error already says what is wrong with these."""
_FILMS = (b"ftypisom", b"ftypmp4", b"ftypqt", b"ftypm4v", b"ftyp3gp", b"ftypavc1")
_DICOM = 128, b"dicm"


def looks_like(head: bytes) -> str:
    """Describes a file by its first kilobyte; '' if it looks like nothing in particular."""
    if head.startswith(_PICTURES):
        return ""
    start = head.removeprefix(b"\xef\xbb\xbf").lower()
    for text in (start, start.lstrip()):
        if found := next((name for magic, name in _STARTS if text.startswith(magic.lower())), ""):
            return found
    if start[4:].startswith(_FILMS):
        return "a film: save its pictures"
    if start[_DICOM[0] :].startswith(_DICOM[1]):
        return "DICOM: convert it to PNG or TIFF"
    try:
        text_of = head.decode("utf-8", "strict") if len(head) < 1024 else head[:1000].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return ""
    return "plain text" if all(letter.isprintable() or letter in "\r\n\t" for letter in text_of) else ""


_ENOUGH_FEEDS = 16


def copied_as_text(data: bytes) -> bool:
    """Whether every line feed follows a carriage return, as after a copy in text mode.

    Among random bytes, only one line feed in 256 does.
    """
    return (feeds := data.count(b"\n")) >= _ENOUGH_FEEDS and feeds == data.count(b"\r\n")
