"""The notebooks of examples/ run, and show what they say they show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import draw
from tests.notebooks import NOTEBOOKS, execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda one: one.stem)
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it keeps is what its cells show now."""
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], {cell["cell_type"] for cell in book["cells"]}) == (4, {"code", "markdown"})
    kept = [cell["outputs"] for cell in book["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(tmp_path)
    draw(10_000, monkeypatch)  # as users' runs do
    shown, names = execute(path)
    assert [[one["output_type"] for one in outputs] for outputs in shown] == [
        [one["output_type"] for one in outputs] for outputs in kept
    ]
    first, now = (
        ["".join(one["text"]) for outputs in some for one in outputs if "text" in one] for some in (kept, shown)
    )
    assert first == now
    assert "/tmp" not in json.dumps(kept)
    if path.stem == "own_table":
        assert 0.5 < names["run"].metrics["accuracy"]["value"] < 1 and names["page"].is_file()
        assert any("the model beats it: no" in text for text in now)
    else:
        assert names["comparison"].ranking[0]["run"] == "parts" and any("robustness index" in text for text in now)


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["own_table", "pictures"]
