"""The example of CONTRIBUTING.md: its card and its generator, as they stand there, pass the test that stands beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.datasets import reader

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(toml|python)\n(.*?)```", TEXT[TEXT.index("## Add a dataset") :], re.DOTALL)
CARD = next(text for kind, text in BLOCKS if kind == "toml")
GENERATOR, IMPORTS, PROOF = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture
def wardquiz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The card among one's own, the generator registered as its module would."""
    for kinds in ("models", "datasets"):
        (tmp_path / "cards" / kinds).mkdir(parents=True)
    (tmp_path / "cards/datasets/wardquiz.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    exec("from __future__ import annotations\n" + IMPORTS + GENERATOR, {})
    yield
    reader.READERS.pop("wardquiz")


def test_the_example_passes_its_own_proof(wardquiz: None, tmp_path: Path) -> None:
    proof = {"pytest": pytest, "Path": Path, "json": json, "open_dataset": open_dataset}
    exec(
        "from __future__ import annotations\n" + PROOF.replace('@pytest.mark.evidence("wardquiz", "layout")\n', ""),
        proof,
    )
    (tmp_path / "root").mkdir()
    proof["test_wardquiz_reads_its_layout"](tmp_path / "root")


def test_a_ward_that_the_card_does_not_know_is_an_error_of_its_row_without_its_words(
    wardquiz: None, tmp_path: Path
) -> None:
    (tmp_path / "root/wardquiz").mkdir(parents=True)
    row = {"qid": "w1", "stem": "Which?", "choices": {"A": "a", "B": "b"}, "key": "B", "ward": "Anna's room"}
    lines = [row, {**row, "qid": "w2", "ward": "sur"}]
    (tmp_path / "root/wardquiz/train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    opened = open_dataset("wardquiz", tmp_path / "root", on_error="collect")
    assert [(one.id, one.labels) for one in opened] == [("w2", {"ward": "surgery"})]
    [error] = map(str, opened.errors)
    assert "train.jsonl, row 1: cannot be read: 'ward' has a value that the card does not know" in error
    assert "Anna" not in error
