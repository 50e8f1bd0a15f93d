"""A real HTTP server on this machine, which can misbehave the way servers do: each path has a queue of tricks, one a request."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """``files`` by path; ``tricks`` by path, each used once (the last one of a list that ends in ... is kept); ``asked`` (path, Range, headers)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tricks: defaultdict[str, list[Any]] = defaultdict(list)
        self.asked: list[tuple[str, str | None, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.ranges = self.etags = self.conditions = True
        self.version = ""
        self.delay: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def elsewhere(self) -> str:
        """The same server under another host's name."""
        return f"http://localhost:{self.server_address[1]}"

    def ranges_of(self, path: str) -> list[str | None]:
        return [one for asked, one, _ in self.asked if asked == path]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served = self.server
        with served.lock:
            served.asked.append((self.path, self.headers.get("Range"), dict(self.headers)))
            tricks = served.tricks[self.path]
            trick = None
            if tricks:
                trick = tricks[0] if tricks[1:] == [...] else tricks.pop(0)
        if callable(trick):
            trick(self)
            return
        data = served.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        self.give(data)

    def give(
        self,
        data: bytes,
        *,
        cut: int | None = None,
        length: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer as servers do; ``cut``: so many bytes, then the connection breaks; ``length``: what is said of it."""
        served = self.server
        etag = f'"{hashlib.sha1(data + served.version.encode()).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if served.ranges else None
        if wanted and served.conditions and self.headers.get("If-Range") not in (None, etag):
            wanted = None
        if wanted and int(wanted[1]) >= len(data):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {wanted[1]}-{int(wanted[1]) + len(body) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if served.etags:
            self.send_header("ETag", etag)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        served.delay()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True


def cut(count: int) -> Callable[[Handler], None]:
    """Break the connection after so many bytes of the body."""
    return lambda handler: handler.give(handler.server.files[handler.path], cut=count)


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    def trick(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return trick


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
