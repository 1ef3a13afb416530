"""PDF/A-2b: what a PDF made of images needs besides its pages for long-term preservation."""

from __future__ import annotations

from functools import cache
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, String
from PIL import ImageCms

import pero_worker
from pero_worker.formats.textlayer import compressed
from pero_worker.formats.xmltext import clean_text

VERSION = "1.7"
_PLAIN = ("/DeviceGray", "/DeviceRGB")
_DATE = slice(24, 36)
"""Where a colour profile states when it was made."""


def describe(pdf: pikepdf.Pdf, title: str) -> None:
    """Adds title, producer and colours, and the claim to be PDF/A-2b where that is certain.

    It is not certain for pictures in CMYK, in JPEG 2000, or with colour profiles of their own, which may be anything.
    """
    with pdf.open_metadata(set_pikepdf_as_editor=False) as metadata:
        metadata["dc:title"] = clean_text(title)
        metadata["pdf:Producer"] = f"pero-worker {pero_worker.__version__}"
        if all(map(_is_plain, _pictures(pdf))):
            metadata["pdfaid:part"] = "2"
            metadata["pdfaid:conformance"] = "B"
    for entry in pdf.docinfo.keys() - {"/Title", "/Producer"}:
        del pdf.docinfo[entry]
    pdf.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
    profile = compressed(pdf, _srgb())
    profile.N = 3
    pdf.Root.OutputIntents = Array(
        [
            Dictionary(
                Type=Name.OutputIntent,
                S=Name.GTS_PDFA1,
                OutputConditionIdentifier=String("sRGB"),
                Info=String("sRGB"),
                DestOutputProfile=profile,
            )
        ]
    )


def _pictures(pdf: pikepdf.Pdf) -> list[Any]:
    return [
        item
        for sheet in pdf.pages
        for item in sheet.obj.Resources.get("/XObject", {}).values()
        if item.get("/Subtype") == Name.Image
    ]


def _is_plain(picture: Any) -> bool:
    colours = picture.get("/ColorSpace")
    if isinstance(colours, Array) and len(colours) > 1 and colours[0] == Name.Indexed:
        colours = colours[1]
    filters = picture.get("/Filter")
    return isinstance(colours, Name) and str(colours) in _PLAIN and "/JPXDecode" not in str(filters)


@cache
def _srgb() -> bytes:
    """Returns an sRGB profile that does not depend on the time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = b"\x07\xd0\0\x01\0\x01\0\0\0\0\0\0"  # 1 January 2000
    return bytes(profile)
