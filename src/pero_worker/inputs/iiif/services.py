"""Services that an IIIF resource names: the Image API, and logins."""

from __future__ import annotations

from typing import Any

from pero_worker.inputs.books import ImageService
from pero_worker.inputs.iiif.image import base_of
from pero_worker.inputs.iiif.resources import as_list, id_of, label_of, type_of


def image_service_of(body: dict[str, Any]) -> ImageService | None:
    """Returns the first service of a picture that is an Image API service."""
    for service in as_list(body.get("service")):
        if isinstance(service, dict) and id_of(service) and _is_image_service(service, body):
            return ImageService(id=id_of(service), version=_version(service), login=login_of(service))
    return None


def _version(service: dict[str, Any]) -> int:
    kind = type_of(service)
    if kind.startswith("imageservice") and kind[-1] in "123":
        return int(kind[-1])
    texts = " ".join(str(text) for text in (*as_list(service.get("profile")), *as_list(service.get("@context"))))
    return 3 if "image/3" in texts or texts.startswith("level") else 1 if "image-api/1" in texts else 2


def service_at(address: str) -> ImageService | None:
    """Returns the service of a picture that is given by the address of its description."""
    return ImageService(id=base_of(address)) if address.endswith("/info.json") else None


def _is_image_service(service: dict[str, Any], body: dict[str, Any]) -> bool:
    if type_of(service).startswith("imageservice"):
        return True
    texts = [
        text for text in (*as_list(service.get("profile")), *as_list(service.get("@context"))) if isinstance(text, str)
    ]
    if any("/auth/" in text or "/search/" in text for text in texts):
        return False
    if any("image" in text or text.startswith("level") for text in texts):
        return True
    # Nothing says what it is, but the picture's address is one of its own.
    return not texts and id_of(body).startswith(f"{id_of(service).rstrip('/')}/")


def login_of(service: Any, depth: int = 4) -> str:
    """Returns the name of the login that a service or image description mentions (Auth 1 or 2); '' if none."""
    for inner in as_list(service.get("service")) if isinstance(service, dict) and depth else []:
        if not isinstance(inner, dict):
            continue
        profile = " ".join(text for text in as_list(inner.get("profile")) if isinstance(text, str))
        if "/auth/" in profile or type_of(inner).startswith("auth"):
            found = label_of(inner) or login_of(inner, depth - 1)
            return found or id_of(inner) or "the library"
    return ""
