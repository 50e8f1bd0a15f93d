"""What may leave this machine: by the data's access, by its card's flag, by the host that was allowed, each alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.errors import RunError
from healthfm.models.remote import client as clients
from healthfm.models.remote.client import Client, Endpoint, keep_in_house

REMOTE, HERE = Client("https://llm.example.invalid/v1"), Client("http://127.0.0.1:1/v1")


def data(access: str, remote_ok: bool) -> DatasetCard:
    """An open dataset's card with another access and flag, as no card of the catalogue may have them together."""
    found = catalog.card("medqa", "dataset")
    assert isinstance(found, DatasetCard)
    return found.model_copy(update={"access": access, "remote_ok": remote_ok})


@pytest.mark.parametrize("access", ["credentialed", "registration", "own"])
def test_the_access_alone_keeps_data_here_even_where_the_flag_says_that_it_may_go(access: str) -> None:
    with pytest.raises(RunError, match=f"stays on this machine \\(access {access}\\).*nothing was sent"):
        keep_in_house(data(access, True), REMOTE, None)
    keep_in_house(data(access, True), HERE, None)


def test_the_flag_alone_keeps_open_data_here() -> None:
    with pytest.raises(RunError, match=r"medqa stays on this machine \(access open\)"):
        keep_in_house(data("open", False), REMOTE, None)
    keep_in_house(data("open", False), HERE, None)
    keep_in_house(data("open", True), REMOTE, None)


@pytest.mark.parametrize("allowed", ["llm.example.invalid", "LLM.Example.invalid.", " llm.example.invalid "])
def test_the_host_that_is_named_is_allowed(allowed: str) -> None:
    keep_in_house(data("credentialed", False), REMOTE, allowed)


@pytest.mark.parametrize(
    "allowed", [None, "", "*", "invalid", "example.invalid", "m.example.invalid", "llm.example", "llm.example.invalid.other.invalid", "127.0.0.1", "localhost"]
)  # fmt: skip
def test_no_other_host_is(allowed: str | None) -> None:
    with pytest.raises(RunError, match=r"llm\.example\.invalid is not this machine"):
        keep_in_house(data("credentialed", False), REMOTE, allowed)


@pytest.fixture
def large() -> Iterator[str]:
    """A server on this machine whose answer is a JSON object of 64 KiB."""

    class Large(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"text": "' + b"a" * (64 << 10) + b'"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Large)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_answer_without_end_is_not_read(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(Endpoint(large, retries=0, timeout=5))
    assert len(client.ask("/")["text"]) == 64 << 10
    monkeypatch.setattr(clients, "LARGEST_ANSWER", 32 << 10)
    with pytest.raises(RunError, match="an answer of more than 0 MiB; refused"):
        client.ask("/")


def test_a_key_is_not_sent_in_the_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clients.KEY, "secret")
    with pytest.raises(RunError, match="not sent in the clear to another machine") as caught:
        Client("http://192.0.2.1:80/v1")
    assert "secret" not in str(caught.value)
    assert Client("http://127.0.0.1:1/v1").addresses and Client("https://192.0.2.1/v1").https
