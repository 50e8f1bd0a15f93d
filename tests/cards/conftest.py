"""Temporary cards: small, valid, and changed field by field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WriteCard = Callable[..., Path]

SMALLEST: dict[str, dict[str, Any]] = {
    "model": {"group": "language", "modalities": ["text"], "access": "open", "architecture": "Transformer"},
    "dataset": {
        "group": "text", "modalities": ["text"], "access": "open", "record": "QA", "owner": "the owner",
        "shareable_inputs": True, "shareable_outputs": True, "remote_ok": True,
    },
}  # fmt: skip


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def write_card(folder: Path, kind: str, slug: str, /, **fields: Any) -> Path:
    """Write the smallest valid card with ``fields`` changed (None leaves one out) and return its path."""
    card = {"slug": slug, "name": slug.title(), "summary": f"The card of {slug}.", **SMALLEST[kind], **fields}
    path = folder / f"{kind}s" / f"{slug}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{k} = {_toml(v)}\n" for k, v in card.items() if v is not None), encoding="utf-8")
    return path


@pytest.fixture
def own_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteCard:
    """A function (kind, slug, **fields) that adds a card to a folder of own cards."""
    folder = tmp_path / "cards"
    for kinds in ("models", "datasets"):
        (folder / kinds).mkdir(parents=True)
    monkeypatch.setenv("HEALTHFM_CARDS", str(folder))

    def write(kind: str, slug: str, /, **fields: Any) -> Path:
        return write_card(folder, kind, slug, **fields)

    return write
