"""``healthfm verify`` as a user meets it: a verdict, an evidence file, an exit code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from healthfm.evaluate.verify import FIELDS
from healthfm.models.language.causal_lm import CausalLM
from tests.cli import command
from tests.evaluate.test_verify import write_card


def run(cards: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return command.run(*words, HEALTHFM_CARDS=str(cards), COLUMNS="200")


@pytest.mark.parametrize(("value", "code", "says"), [(0.25, 0, "sample agrees"), (0.99, 1, "sample differs")])
def test_the_exit_code_is_the_verdict(
    small_llama: CausalLM, small_folder: Path, short_medqa: Path, tmp_path: Path, value: float, code: int, says: str
) -> None:
    write_card(tmp_path / "cards", "checked", value, "medqa@letters", small_llama.provenance["digest"])
    words = ("verify", "checked", "--weights", small_folder, "--root", short_medqa, "--limit", 6, "--output", tmp_path / "run")  # fmt: skip
    found = run(tmp_path / "cards", *words)
    assert found.returncode == code, found.stderr
    assert says in found.stdout
    assert "as on the card" in found.stdout
    evidence = json.loads((tmp_path / "run/evidence.json").read_text())
    assert set(evidence) == set(FIELDS)
    again = run(tmp_path / "cards", *words, "--json")
    assert again.returncode == code
    assert json.loads(again.stdout)["verdict"] == says


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("verify", "uni", "--weights", "/none"), "uni: its card has no recipe"),
        (("verify", "biomistral", "--weights", "/none", "--root", "/nonexistent"), "no folder /nonexistent"),
        (("verify", "biomistral", "--weights", "/none", "--root", "examples/pubmedqa"), "no weights at /none"),
        (("verify", "biomistral", "--dataset", "medqq"), "no dataset is called 'medqq'"),
        (("verify", "biomistrl"), "no model is called 'biomistrl'"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "cards/models").mkdir(parents=True)
    found = run(tmp_path / "cards", *words)
    assert found.returncode == 2, found
    lines = [line for line in found.stderr.splitlines() if line.startswith("healthfm: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in found.stderr


def test_wrong_weights_are_one_clear_line(small_folder: Path, medqa_root: Path, tmp_path: Path) -> None:
    write_card(tmp_path / "cards", "checked", 0.3, "medqa@letters", "sha256:" + "0" * 64)
    found = run(tmp_path / "cards", "verify", "checked", "--weights", small_folder, "--root", medqa_root)
    assert found.returncode == 2
    assert "these are not the weights its card names" in found.stderr
