"""The address of a server: what a user writes, whether it is this machine's own, and the connection to what was checked."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import unquote, urlsplit

from healthfm.errors import CapabilityError

KEY = "HEALTHFM_API_KEY"


def parse(url: str) -> tuple[bool, str, int, str, str | None]:
    """Return (https, host, port, path up to and with /v1, model or None) of ``http(s)://HOST[:PORT][/PATH][#MODEL]``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = host is not None and re.fullmatch(r"[A-Za-z0-9._:%-]+", host) is not None
    if parts.scheme not in ("http", "https") or not plain or host is None:
        raise CapabilityError("an endpoint looks like http://127.0.0.1:8080/v1 (add #MODEL where it holds several)")
    if parts.username is not None or parts.password is not None or parts.query:
        raise CapabilityError(f"an endpoint's address holds no user, password or query; a key goes into {KEY}")
    path = parts.path.rstrip("/")
    https = parts.scheme == "https"
    return https, host, port or (443 if https else 80), path if path.endswith("/v1") else f"{path}/v1", unquote(parts.fragment) or None  # fmt: skip


def loopback(host: str) -> tuple[str, ...]:
    """Return a host's addresses when every one of them is this machine's own loopback, else ().

    A name is looked up, not judged by its spelling; 0.0.0.0 and addresses of the network are not loopback.
    """
    try:
        found = sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return ()
    return tuple(found) if found and all(map(_is_loopback, found)) else ()


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def connect(addresses: tuple[str, ...], port: int, *rest: Any) -> socket.socket:
    """Connect to the first of the checked addresses that listens. Raises ``OSError``."""
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), *rest)
        except ConnectionRefusedError:
            continue
    return socket.create_connection((addresses[-1], port), *rest)
