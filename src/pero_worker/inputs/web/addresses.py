"""Which addresses may be requested: strangers' documents must not lead into the network the program runs in."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pero_worker.errors import PageError

_LOGIN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s]*@")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")
_METADATA = frozenset({"100.100.100.200", "fd00:ec2::254"})
"""Cloud services that hand out credentials; others have link-local addresses."""


def without_login(url: str) -> str:
    """Removes the login from an address, for reports."""
    return _LOGIN.sub(r"\1", url, count=1)


def shown(url: str) -> str:
    """Returns an address for messages: without a login, and no longer than people read."""
    return without_login(url)[:500]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """Which addresses are allowed."""

    allow_private: bool = False
    """Whether private networks and this machine are allowed; metadata services never are."""
    named: frozenset[str] = frozenset()
    """Hosts that the user named, which are allowed wherever they are, except as metadata services."""
    plain: bool = True
    """Whether addresses without TLS are allowed; otherwise only those of named hosts are."""

    def check_url(self, url: str) -> str:
        """Returns the host's name. Raises a permanent `PageError` if the address may not be requested."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").lower()
            _ = parts.port
        except ValueError:
            raise PageError(f"{shown(url)[:200]!r} is no address", permanent=True) from None
        if parts.scheme not in {"http", "https"} or not host:
            raise PageError(
                f"only addresses that begin with http:// or https:// are followed, not {shown(url)[:200]!r}",
                permanent=True,
            )
        if parts.scheme == "http" and not self.plain and host not in self.named:
            raise PageError("only addresses that begin with https:// are followed", permanent=True)
        if host == "localhost" or host.endswith(_LOCAL_NAMES):
            self._refuse_unless_wanted(host, host)
        else:
            try:
                self.check_ip(host, host)
            except ValueError:
                return host  # A name: its addresses are checked once it is resolved.
        return host

    def check_ip(self, address: str, host: str) -> None:
        """Checks that `address`, of `host`, may be contacted.

        Raises a permanent `PageError` if it may not, `ValueError` if it is not an IP address.
        """
        ip = ipaddress.ip_address(address.partition("%")[0])
        inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
        if ip.is_link_local or str(ip) in _METADATA or (inner is not None and inner.is_link_local):
            raise PageError(
                f"{address} is an address for machines to ask about themselves, and is never followed", permanent=True
            )
        if not ip.is_global or ip.is_multicast or (inner is not None and not inner.is_global):
            self._refuse_unless_wanted(host, address)

    def _refuse_unless_wanted(self, host: str, address: str) -> None:
        if not self.allow_private and host not in self.named:
            raise PageError(
                f"{address} is an address of this machine or of a private network: --allow-private follows it",
                permanent=True,
            )
