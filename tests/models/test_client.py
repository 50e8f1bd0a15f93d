"""What may leave this machine: by the data's access, by its card's flag, by the host that was allowed, each alone."""

from __future__ import annotations

import pytest

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.errors import RunError
from healthfm.models.client import Client, keep_in_house

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
