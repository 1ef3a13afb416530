"""Tells documents apart by their first bytes, and unpacks those that are compressed without saying so."""

from __future__ import annotations

import codecs
import zlib

from pero_worker.errors import NoInputError
from pero_worker.inputs.jsontext import MAX_BYTES

_GZIP = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31
"""The window size that means gzip to zlib."""


def looks_like_book(head: bytes) -> bool:
    """Whether `head` begins a list of pictures: JSON, or XML other than a web page or a drawing."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "ignore").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in {b"{", b"["} or is_markup(head)


def is_markup(head: bytes) -> bool:
    """Whether `head` begins XML other than a web page or a drawing."""
    if head.startswith((b"\xff\xfe<\0", b"\xfe\xff\0<")):
        return True
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<") and not text.startswith((b"<!doctype html", b"<html", b"<svg"))


def start_of(head: bytes) -> bytes:
    """Returns the first bytes of the unpacked data if `head` begins a gzip file, else `head`."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(head, 1024)
    except zlib.error:
        return head


def plain(data: bytes, source: str) -> bytes:
    """Returns `data`, unpacked if it is gzip that no server announced.

    Raises `NoInputError` if it is damaged or too large.
    """
    if not data.startswith(_GZIP):
        return data
    unpacking = zlib.decompressobj(_GZIP_WINDOW)
    try:
        found = unpacking.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise NoInputError(f"{source} cannot be unpacked: {error}") from error
    if len(found) > MAX_BYTES or not unpacking.eof:
        raise NoInputError(f"{source} is cut, or larger than {MAX_BYTES // 1_000_000} MB when unpacked")
    return found
