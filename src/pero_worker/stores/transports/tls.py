"""Which authorities our TLS clients trust."""

from __future__ import annotations

import ssl

from pero_worker.errors import StageError
from pero_worker.stores.location import StoreAccess


def client_context(access: StoreAccess) -> ssl.SSLContext:
    """Returns a client's TLS context. Raises `StageError` if the CA certificate is missing or is not one."""
    try:
        return ssl.create_default_context(cafile=access.ca_cert)
    except OSError as error:
        raise StageError(f"cannot use the CA certificate {access.ca_cert}: {error}") from error
