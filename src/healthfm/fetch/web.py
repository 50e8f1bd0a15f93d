"""One HTTP request for a file or a part of it: what the server says of it, and its bytes.

Standard library only (``urllib``): it honours the proxies of the environment and checks certificates, and the core of healthfm has no
other client. A redirect is followed where the bytes stay as trustworthy as they were: never to another scheme, from https to http,
or to another host, unless the owner's server is known to keep its files there or the file's digest is known.
Specification: RFC 9110, sections 10.2.3 (Retry-After), 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import email.utils
import functools
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from healthfm.errors import FetchError

LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone
BLOCK = 1 << 18
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
# Where the servers of owners keep their files: host -> ends of the hosts that it hands over to.
KEEPS_FILES = {
    "huggingface.co": (".huggingface.co", ".hf.co"),
    "github.com": (".githubusercontent.com", "codeload.github.com"),
}
HUB = "huggingface.co"


@dataclass(frozen=True)
class Manners:
    """How servers are asked: seconds without a byte before giving up, tries without progress, the first pause, bytes of a part, connections."""

    timeout: float = 60.0
    tries: int = 6
    pause: float = 0.5
    part: int = 8 << 20
    connections: int = 4


class Broken(Exception):
    """The connection or the server failed; asking again may help, after ``wait`` seconds where the server says."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


USUAL = Manners()


@dataclass
class Reply:
    """What a server says of a file: the bytes ``start`` to ``end`` of ``total`` (None: it does not say), and their version."""

    url: str
    partial: bool
    start: int
    end: int | None
    total: int | None
    version: str | None  # its ETag, or when it was last changed
    headers: Mapping[str, str]
    body: http.client.HTTPResponse = field(repr=False)

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes. Raises ``Broken``: fewer came than were promised; ``FetchError``: more follow than were promised."""
        came, promised = 0, None if self.end is None else self.end - self.start
        try:
            while block := self.body.read(BLOCK if promised is None else min(BLOCK, promised - came)):
                came += len(block)
                yield block
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Broken(f"the connection broke off ({type(error).__name__})") from None
        if promised is None:
            return
        if came != promised:
            raise Broken(f"{came} bytes came where {promised} were promised")
        if not self.partial and self._goes_on():
            raise FetchError(f"{self.url}: more bytes come than the server promised; refused")

    def _goes_on(self) -> bool:
        """Whether a byte follows those promised: the connection was to be closed behind them."""
        try:
            self.body.length = 1
            return bool(self.body.read(1))
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.body.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def __init__(self, anywhere: bool) -> None:
        self.anywhere = anywhere

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
            raise FetchError(f"{req.full_url}: redirected to {after.scheme or 'no'} address; refused")
        ends = KEEPS_FILES.get(before.hostname or "", ())
        if (
            after.hostname != before.hostname
            and not self.anywhere
            and not (after.hostname or "").endswith(ends or "\0")
        ):
            raise FetchError(
                f"{req.full_url}: redirected to another host ({after.hostname}), and no digest of the file is known; refused"
            )
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and after.hostname != before.hostname:
            made.headers = {name: one for name, one in made.headers.items() if name.lower() != "authorization"}
        return made


@functools.cache  # the certificates of the system are read once
def _opener(anywhere: bool) -> urllib.request.OpenerDirector:
    """Return what opens http and https addresses, and no other: neither files of this machine nor ftp."""
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler(), _Redirects(anywhere),
    ):  # fmt: skip
        made.add_handler(handler)
    return made


def ask(
    url: str, manners: Manners, part: tuple[int, int] | None = None, version: str | None = None, anywhere: bool = False
) -> Reply:
    """Open an address. ``part``: the bytes wanted, from and up to; ``version``: they are of no use where it is not this one any more.

    ``anywhere``: the file's digest is known, so that it may come from whichever host. Raises ``Broken`` (ask again), or
    ``FetchError``: the server says no, or what it says makes no sense.
    """
    request = urllib.request.Request(url, headers=_headers(url, part, version))
    try:
        found = _opener(anywhere).open(request, timeout=manners.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError) or "unknown url type" in str(reason):
            raise FetchError(
                f"{url}: {getattr(reason, 'verify_message', None) or 'not an http address'}; refused"
            ) from None
        raise Broken(f"no connection ({getattr(reason, 'strerror', None) or type(reason).__name__})") from None
    try:
        return _reply(url, found, part)
    except BaseException:
        found.close()
        raise


def _headers(url: str, part: tuple[int, int] | None, version: str | None) -> dict[str, str]:
    headers = {"User-Agent": "healthfm", "Accept-Encoding": "identity"}
    if part is not None:
        headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        if version is not None and not version.startswith("W/"):  # a weak one does not hold for parts
            headers["If-Range"] = version
    token = os.environ.get("HF_TOKEN")
    if token and urlsplit(url).hostname == HUB and urlsplit(url).scheme == "https":
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    code = error.code
    if code in BUSY:
        wait = _wait(error.headers.get("Retry-After"))
        if wait is not None and wait > LONGEST_WAIT:
            return FetchError(
                f"{url}: the server is busy and asks to wait {wait:.0f} seconds (HTTP {code}); try again then"
            )
        return Broken(f"HTTP {code}", wait)
    if code in (401, 403):
        gate = (
            ": accept the owners' terms at its page with an account, and set HF_TOKEN to that account's token"
            if urlsplit(url).hostname == HUB
            else ""
        )
        return FetchError(f"{url}: the server gives it to those it knows only (HTTP {code}){gate}")
    if code in (404, 410):
        return FetchError(f"{url}: it is not there (HTTP {code})")
    if 300 <= code < 400:
        return FetchError(f"{url}: redirected in circles, or to what is no http address (HTTP {code}); refused")
    return FetchError(f"{url}: refused by the server (HTTP {code})") if code != 416 else Unsatisfiable(url)


class Unsatisfiable(FetchError):
    """The file has no such bytes: it is empty, or shorter than it was."""


def _wait(said: str | None) -> float | None:
    """Return the seconds that a Retry-After means: a number, or the time until a date."""
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def _reply(url: str, found: Any, part: tuple[int, int] | None) -> Reply:
    coding = found.headers.get("Content-Encoding", "identity").lower()
    if coding not in ("", "identity") and not urlsplit(url).path.endswith((".gz", ".tgz", ".zst")):
        raise FetchError(f"{url}: the server packs it on the way ({coding}) though asked not to; refused")
    length = found.headers.get("Content-Length")
    if length is not None and not length.strip().isdecimal():
        raise Broken("the server states no sensible length")
    version = found.headers.get("ETag") or found.headers.get("Last-Modified")
    size = int(length) if length is not None else None
    if found.status == 200:
        reply = Reply(url, False, 0, size, size, version, found.headers, found)
    else:
        told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", found.headers.get("Content-Range", "").strip())
        if found.status != 206 or part is None or told is None:
            raise Broken(f"the server answers a part with what is none (HTTP {found.status})")
        start, end = int(told[1]), int(told[2]) + 1
        if start != part[0] or not start < end <= part[1] or (size is not None and size != end - start):
            raise Broken("the server answers with another part than was asked for")
        reply = Reply(url, True, start, end, None if told[3] == "*" else int(told[3]), version, found.headers, found)
    if size is not None:
        found.length = size + 1  # so that it stays open where the promised length ends, and shows whether more follows
    return reply


def text(url: str, manners: Manners, limit: int = 64 << 20) -> tuple[bytes, Mapping[str, str]]:
    """Return a short document, an index for example, and its headers. Raises ``FetchError``: it cannot be had, or is over ``limit`` bytes."""
    for again in range(manners.tries):
        if again:
            time.sleep(min(30.0, manners.pause * 2 ** (again - 1)))
        try:
            with ask(url, manners) as reply:
                found = bytearray()
                for block in reply.blocks():
                    found += block
                    if len(found) > limit:
                        raise FetchError(f"{url}: longer than an index may be; refused")
                return bytes(found), reply.headers
        except Broken as error:
            trouble = str(error)
            if error.wait is not None:
                time.sleep(error.wait)
    raise FetchError(f"{url}: {trouble}, {manners.tries} times; try again later")
