"""What a reference claim rests on: its own code and facts, and no stranger's."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from healthfm.cards import catalog
from tests.evidence import digests

LIVEQA = "tests/datasets/test_free_answers.py::test_the_whole_liveqa_test_set"


def code(**facts: Any) -> str:
    return digests.code_of("dataset", "liveqa", [LIVEQA])


def changed(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> str:
    """Return the digest with a module's text changed."""
    path = digests._file(module)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert old in text
    tree = ast.parse(text.replace(old, new))
    names: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in digests._bound(node):
            names.setdefault(name, []).append(node)
    real, other = digests.read, digests.Module(tree, names, digests._imports(tree))
    with monkeypatch.context() as patch:
        patch.setattr(digests, "read", lambda name: other if name == module else real(name))
        return code()


def test_a_reader_rests_on_its_function_its_record_and_the_formats_it_calls() -> None:
    modules = {name for name, _ in digests.through("dataset", "medqa")}
    assert modules == {
        "healthfm.datasets.readers.multiple_choice", "healthfm.formats.jsonl", "healthfm.formats.source", "healthfm.formats.archive", "healthfm.formats.packed",
        "healthfm.records", "healthfm.records.record", "healthfm.records.text",
    }  # fmt: skip
    names = {name for module, name in digests.through("dataset", "medqa") if module.endswith("multiple_choice")}
    assert names == {"medqa"}


def test_a_familys_network_rests_on_its_room() -> None:
    modules = {name for name, _ in digests.through("model", "uni")}
    assert {
        "healthfm.models.vision.vit",
        "healthfm.models.vision.vit_keys",
        "healthfm.models.vision.transform",
    } <= modules
    assert not any("causal" in one or "formats" in one for one in modules)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("healthfm.datasets.readers.free_answers", "def liveqa(", "def liveqa(more, "), ("healthfm.datasets.readers.free_answers", "INDENT = ", "INDENT = 1, "),
        ("healthfm.formats.xml", "huge_tree", "huge"), ("healthfm.records.text", "class QA(TextRecord):", "class QA(TextRecord, Other):"),
        ("tests.datasets.test_free_answers", "def test_the_whole_liveqa_test_set(", "def test_the_whole_liveqa_test_set(x, "),
    ],
)  # fmt: skip
def test_a_claim_lapses_with_what_it_rests_on(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> None:
    assert changed(monkeypatch, module, old, new) != code()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("healthfm.datasets.readers.free_answers", "def medinstruct(", "def medinstruct(more, "), ("healthfm.formats.npz", "def ", "def x"),
        ("healthfm.records.pixels", "class Volume(", "class Volume(Other, "), ("healthfm.datasets.readers.free_answers", "import Iterator\n", "import Iterator  # why\n"),
        ("tests.datasets.test_free_answers", "def test_medquad", "def test_other"),
    ],
)  # fmt: skip
def test_a_strangers_edit_lapses_nothing(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> None:
    assert changed(monkeypatch, module, old, new) == code()


@pytest.mark.parametrize(
    ("field", "lapses"), [("counts", True), ("files", True), ("splits", True), ("summary", False), ("homepage", False)]
)
def test_facts_of_the_card_that_the_reader_uses_count(
    monkeypatch: pytest.MonkeyPatch, field: str, lapses: bool
) -> None:
    before = code()
    entry = {**catalog.lookup("liveqa", "dataset"), field: "another"}
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "lookup", lambda name, kind=None: entry)
        assert (code() != before) is lapses


def test_the_digest_of_the_source_sees_code_cards_and_tests_and_not_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "PROJECT", tmp_path)
    seen = {digests.of_source()}
    for number, file in enumerate(
        ("src/healthfm/a.py", "src/healthfm/cards/models/a.toml", "tests/data/a.json", "tests/a.py")
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1")
        seen.add(digests.of_source())
        assert len(seen) == number + 2
    (tmp_path / "src/healthfm/cards/evidence/model").mkdir(parents=True)
    (tmp_path / "src/healthfm/cards/evidence/model/a.json").write_text("{}")
    assert digests.of_source() in seen
