"""The HTTP side of an endpoint: one JSON request to a server, asked gently, and never another machine than was checked.

Standard library only: no proxy from the environment, no redirect followed, certificates checked. What a server answers
to a mistake can repeat the prompt, so no error here quotes it.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from healthfm.cards.schema import DatasetCard
from healthfm.errors import RunError
from healthfm.models.remote.address import KEY, connect, loopback, parse
from healthfm.spelling import short

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone
LARGEST_ANSWER = 256 << 20  # bytes
COUNTS = (("prompt_tokens", "prompt_tokens", "tokens_evaluated"), ("completion_tokens", "completion_tokens", "tokens_predicted"))  # fmt: skip
Job, Value = TypeVar("Job"), TypeVar("Value")


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server: ``http(s)://HOST[:PORT][/v1][#MODEL]``, and how gently to ask it (``timeout`` in seconds)."""

    url: str
    requests_per_minute: int | None = None
    timeout: float = 600.0
    retries: int = 6
    concurrency: int = 4


class Refused(RunError):
    """The server understood and said no; ``status`` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Asks one server. ``addresses`` are the loopback addresses its host had when it was made; () is another machine."""

    def __init__(self, endpoint: str | Endpoint) -> None:
        self.endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.https, self.host, self.port, self.path, self.model = parse(self.endpoint.url)
        self.addresses = loopback(self.host)
        if not self.addresses and not self.https and os.environ.get(KEY):
            raise RunError(f"{self.url}: {KEY} is not sent in the clear to another machine; use https, or unset it")
        self.usage = {"requests": 0, "retries": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self.answered: dict[str, str] = {}  # by service: the model that its replies name
        self._lock = threading.Lock()
        self._turn = 0.0

    @property
    def url(self) -> str:
        """The server's address, without the model's name."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{name}:{self.port}{self.path}"

    def many(self, function: Callable[[Job], Value], jobs: Iterable[Job]) -> list[Value]:
        """Return ``function`` of each job, in order; at most ``concurrency`` run at a time."""
        pool = ThreadPoolExecutor(max(1, self.endpoint.concurrency))
        try:
            return list(pool.map(function, jobs))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def attempt(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Ask, and return None where the server says that it has no such service."""
        try:
            return self.ask(path, body)
        except Refused as error:
            if error.status in (401, 403):
                raise
            return None

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the server's JSON answer to a POST of ``body`` (None: a GET). ``path`` counts from the host.

        Busy servers, broken connections and broken answers are asked again, later and later, or when the server says.
        Raises ``Refused``, or ``RunError`` when it keeps failing.
        """
        trouble, pause = "", 0.0
        for again in range(self.endpoint.retries + 1):
            if again:
                time.sleep(pause or min(30.0, 0.5 * 2 ** (again - 1)) * random.uniform(0.5, 1))
            self._count({"retries": int(again > 0), "requests": 1})
            trouble, pause = "it broke the connection", 0.0
            try:
                answer, data = self._send(path, body)
                found = json.loads(data) if answer.status == 200 else None
                status = _failed(found) or answer.status
                if status == 200:
                    return self._understood(found, path)
                if status not in RETRIED:
                    raise self._refused(status, data)
                trouble, pause = f"HTTP {status}", self._asked_pause(answer.getheader("Retry-After"))
            except ssl.SSLCertVerificationError as error:
                raise RunError(f"{self.url}: its certificate is not valid here ({error.verify_message})") from None
            except TimeoutError:
                trouble = f"no answer within {self.endpoint.timeout:g} seconds"
            except ConnectionRefusedError:
                trouble = "nothing listens there"
            except ValueError:
                trouble = "its answer is not a JSON object"
            except (OSError, http.client.HTTPException):
                pass
        raise RunError(
            f"{self.url}: {trouble} ({self.endpoint.retries + 1} attempts); the same command goes on later from finished parts"
        )

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the JSON events of a streamed answer (server-sent events); not asked again once begun."""
        self._count({"requests": 1})
        connection = self._connect()
        try:
            connection.request("POST", path, json.dumps(body).encode(), self._headers())
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._refused(answer.status, answer.read(1 << 16))
            if "json" in (
                answer.getheader("Content-Type") or ""
            ):  # the server does not stream: its one answer is the text
                lines: Iterable[bytes] = [b"data:" + answer.read(LARGEST_ANSWER)]
            else:
                lines = answer
            for line in lines:
                if line.startswith(b"data:") and line[5:].strip() not in (b"", b"[DONE]"):
                    event = json.loads(line[5:])
                    if status := _failed(event):
                        raise self._refused(status, line)
                    yield self._understood(event, path)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RunError(f"{self.url}: the streamed answer broke off ({type(error).__name__})") from None
        finally:
            connection.close()

    def _send(self, path: str, body: dict[str, Any] | None) -> tuple[http.client.HTTPResponse, bytes]:
        self._wait_for_turn()
        deadline = time.monotonic() + self.endpoint.timeout
        connection = self._connect()
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request("GET" if data is None else "POST", path, data, self._headers())
            answer = connection.getresponse()
            pieces, size = [], 0
            while piece := answer.read1(1 << 16):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_ANSWER:
                    raise RunError(f"{self.url}: an answer of more than {LARGEST_ANSWER >> 20} MiB; refused")
                if time.monotonic() > deadline:
                    raise TimeoutError
            if answer.length:  # read1 does not mind a body that is shorter than announced
                raise http.client.IncompleteRead(b"")
            return answer, b"".join(pieces)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        wait = self.endpoint.timeout
        connection = http.client.HTTPConnection(self.host, self.port, timeout=wait) if not self.https else (
            http.client.HTTPSConnection(self.host, self.port, timeout=wait, context=ssl.create_default_context())
        )  # fmt: skip
        if self.addresses:  # the address that was checked, whatever the name means by now
            checked = self.addresses
            connection._create_connection = lambda where, *rest: connect(checked, where[1], *rest)  # type: ignore[attr-defined]
        return connection

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(KEY, "").strip()
        plain = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "healthfm", "Connection": "close"}  # fmt: skip
        return {**plain, "Authorization": f"Bearer {key}"} if key else plain

    def _wait_for_turn(self) -> None:
        if self.endpoint.requests_per_minute is None:
            return
        with self._lock:
            at = max(time.monotonic(), self._turn)
            self._turn = at + 60 / self.endpoint.requests_per_minute
        time.sleep(max(0.0, at - time.monotonic()))

    def _asked_pause(self, header: str | None) -> float:
        if header is None:
            return 0.0
        try:
            seconds = float(header) if header.strip().isdigit() else (
                email.utils.parsedate_to_datetime(header).timestamp() - time.time()
            )  # fmt: skip
        except (ValueError, TypeError):
            return 0.0
        if seconds > LONGEST_WAIT:
            raise RunError(
                f"{self.url}: it asks to wait {seconds:.0f} seconds; the same command goes on later from finished parts"
            )
        return max(0.0, seconds)

    def _refused(self, status: int, data: bytes) -> Refused:
        if status in (401, 403):
            said = f"it refuses the key in {KEY}" if os.environ.get(KEY) else f"it wants a key: set {KEY}"
        elif 300 <= status < 400:
            said = "it sends elsewhere, which is not followed; give the final address"
        else:
            said = "it refuses the request"
        match = re.search(rb'"type"\s*:\s*"([a-z_]{3,40})"', data)  # the kind of error; never its message
        kind = f", {match.group(1).decode()}" if match else ""
        return Refused(f"{self.url}: {said} (HTTP {status}{kind})", status)

    def _understood(self, answer: Any, path: str) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        self._same_model(answer.get("model"), path)
        usage = answer["usage"] if isinstance(answer.get("usage"), dict) else answer
        for name, *fields in COUNTS:
            value = next((usage[f] for f in fields if isinstance(usage.get(f), int)), 0)
            self._count({name: value})
        return answer

    def _same_model(self, name: Any, path: str) -> None:
        """Note which model a reply says it is of. Raises ``RunError`` where an earlier reply to the same service named another."""
        if not isinstance(name, str) or not name:
            return
        with self._lock:
            before = self.answered.setdefault(path, name)
        if before != name:
            raise RunError(
                f"{self.url}: its replies named the model '{short(before)}' and now name '{short(name)}'; one run is of one model. Finished parts are kept"
            )

    def _count(self, more: dict[str, int]) -> None:
        with self._lock:
            for name, value in more.items():
                self.usage[name] += value


def _failed(answer: Any) -> int:
    """Return the HTTP status of an error that came as a good answer (some servers send 200 with an error object), else 0."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not error:
        return 0
    code = error.get("code") if isinstance(error, dict) else None
    status = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    return status if 300 <= status < 600 else 400


def keep_in_house(card: DatasetCard, client: Client, allowed: str | None) -> None:
    """Raise ``RunError`` when a dataset may not leave this machine and the server is not on it, nor the host allowed."""
    if client.addresses or not card.stays_in_house:
        return
    if allowed is not None and _plain(allowed) == _plain(client.host):
        return
    raise RunError(
        f"{card.slug} stays on this machine (access {card.access}) and {client.host} is not this machine; nothing was sent. "
        f"If the data may go there: --allow-remote {client.host}"
    )


def keep_here(client: Client, allowed: Sequence[str]) -> None:
    """Raise ``RunError`` when a server is not on this machine nor its host allowed: what a user gives a command is the user's own."""
    if not client.addresses and _plain(client.host) not in map(_plain, allowed):
        raise RunError(
            f"{client.host} is not this machine; nothing was sent. If what you give may go there: --allow-remote {client.host}"
        )


def _plain(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()
