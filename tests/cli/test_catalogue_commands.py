"""The commands that ask the cards, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from healthfm.cli import app
from tests.cli.command import run

COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)  # type: ignore[union-attr]
CARDS_ONLY = ("find", "show", "lineage", "coverage")


def healthfm(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(*words, **{"COLUMNS": "200", **environment})


def printed(*words: str) -> str:
    done = healthfm(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def answer(*words: str) -> Any:
    return json.loads(printed(*words, "--json"))


def refusal(*words: str, **environment: str) -> str:
    """Return the one line with which a wrong call ends."""
    done = healthfm(*words, **environment)
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.endswith("\n") and done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# find -----------------------------------------------------------------------------------------------------------------


def test_find_prints_a_row_a_card_in_full() -> None:
    lines = printed("find", "esm-2", "--kind", "model").splitlines()
    assert lines[0].split()[:3] == ["kind", "slug", "group"]
    assert lines[1].split()[:3] == ["model", "esm-2", "protein-molecule"]
    summary = next(row["summary"] for row in answer("find", "esm-2") if row["slug"] == "esm-2")
    assert lines[1].endswith(summary)
    assert lines[-1].startswith(f"{len(lines) - 2} rows")


def test_find_as_json() -> None:
    found = answer("find", "pubmedqa", "--has-runner")
    assert found[0]["slug"] == "pubmedqa" and found[0]["kind"] == "dataset"
    assert {"kind", "slug", "name", "group", "modalities", "tasks", "access", "summary", "has_runner"} <= set(found[0])
    assert all(row["has_runner"] for row in found)
    assert not any(row["has_runner"] for row in answer("find", "--no-runner"))


def test_find_takes_words_and_filters() -> None:
    found = answer(
        "find", "h&e", "slides", "--kind", "model", "--group", "vision", "--access", "gated", "--modality", "image"
    )
    assert "uni" in {row["slug"] for row in found}
    assert {(row["kind"], row["group"], row["access"]) for row in found} == {("model", "vision", "gated")}
    assert {
        row["slug"] for row in answer("find", "--task", "segmentation", "--licence", "apache", "--kind", "model")
    } < {row["slug"] for row in answer("find", "--task", "segmentation", "--kind", "model")}


def test_find_says_when_nothing_matches() -> None:
    assert "nothing on the cards matches" in printed("find", "xqzjvkwy")
    assert answer("find", "xqzjvkwy") == []


@pytest.mark.parametrize("words", [("find",), ("coverage",), ("show", "uni")])
def test_unknown_kind_is_a_wrong_call(words: tuple[str, ...]) -> None:
    assert "no kind is called 'modle'" in refusal(*words, "--kind", "modle")


# show -----------------------------------------------------------------------------------------------------------------


def test_show_a_dataset() -> None:
    text = printed("show", "medqa")
    assert text.startswith("MedQA (dataset medqa)\n")
    for words in ("us-4-options (default)", "letters (default)", "he-2024", "https://github.com/jind11/MedQA"):
        assert words in text
    assert "may not" not in text and "may not" in printed("show", "mimic-iv")


def test_show_a_model_repeats_what_was_not_verified() -> None:
    shown = " ".join(printed("show", "pmc-llama").split())
    assert "PMC-LLaMA (model pmc-llama)" in shown
    assert "MedQA train questions, inside MedC-I, 13B only = medqa, train only (fine-tuning)" in shown
    assert "MedC-K books: 30,000 medical books, not released (pretraining) (unverified)" in shown


def test_show_as_json_is_the_whole_card() -> None:
    model, dataset = answer("show", "pmc-llama"), answer("show", "medqa")
    assert (model["kind"], model["slug"], model["access"]) == ("model", "pmc-llama", "open")
    assert {one["dataset"] for one in model["trained_on"]} >= {"medqa", "medc-i"}
    assert (dataset["kind"], dataset["remote_ok"], dataset["reader"]) == ("dataset", True, "multiple_choice")
    assert dataset["default_variant"] in dataset["variants"]


def test_show_takes_the_kind_where_both_have_the_name() -> None:
    assert answer("show", "retfound")["kind"] == "model"
    assert answer("show", "retfound", "--kind", "dataset")["slug"] == "retfound-data"


# lineage --------------------------------------------------------------------------------------------------------------


def test_lineage_prints_every_step_with_its_evidence() -> None:
    text = printed("lineage", "pmc-llama", "medqa")
    assert text.startswith("direct: ") and "(only its train split)" in text
    assert "  pmc-llama > medc-i > medqa\n" in text
    assert "huggingface.co/datasets/axiong/pmc_llama_instructions" in text
    assert text.splitlines()[-2].endswith(" paths")
    assert (
        "the pre-training data of LLaMA-7B" in text.splitlines()[-1]
        and "the cards cannot tell" in text.splitlines()[-1]
    )


def test_lineage_as_json() -> None:
    found = answer("lineage", "pmc-clip", "pmc-vqa")
    assert found[0]["path"] == ["pmc-clip", "pmc-oa", "pmc-vqa"] and found[0]["kind"] == "contained"
    for one in found:
        assert set(one) == {"kind", "meaning", "path", "steps", "evidence", "splits"}
        assert len(one["steps"]) == len(one["evidence"]) == len(one["path"]) - 1


def test_lineage_without_a_path_is_not_called_proof() -> None:
    assert "not proof" in printed("lineage", "smollm2", "medqa")
    assert answer("lineage", "smollm2", "medqa") == []


# coverage and doctor --------------------------------------------------------------------------------------------------


def test_coverage_counts_all_rows() -> None:
    text = printed("coverage")
    assert " of 63 models" in text and " of 144 datasets" in text
    assert "datasets" not in printed("coverage", "--kind", "model")


def test_coverage_as_json() -> None:
    found = answer("coverage")
    assert len(found) == 207
    assert all({"kind", "slug", "name", "group", "ticks", "evidence", "where"} <= set(row) for row in found)
    assert {row["kind"] for row in answer("coverage", "--kind", "dataset")} == {"dataset"}


def test_doctor_says_what_is_installed(own_home: Path) -> None:
    text = printed("doctor")
    found = answer("doctor")
    assert set(found) >= {"versions", "hardware", "device", "home", "cards", "extras"}
    assert found["home"] == str(own_home) and str(own_home) in text
    assert found["versions"]["healthfm"] in text
    assert found["cards"]["model"] >= 63 and found["cards"]["dataset"] >= 144
    assert {"models", "imaging", "pathology", "bio"} <= set(found["extras"])
    assert all(extra["installed"] == (not extra["missing"]) for extra in found["extras"].values())


# Every command --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_of_the_command(command: str) -> None:
    text = " ".join(printed(command, "--help").split())
    assert f"Example: healthfm {command} " in f"{text} "


@pytest.mark.parametrize("command", CARDS_ONLY)
def test_example_in_the_help_runs(command: str) -> None:
    text = printed(command, "--help")
    example = next(line for line in text.splitlines() if line.strip().startswith("Example: "))
    assert printed(*example.split()[2:])


def test_help_names_every_command() -> None:
    text = printed("--help")
    assert {"find", "show", "lineage", "coverage", "doctor"} <= set(COMMANDS)
    for command in COMMANDS:
        assert f"\n  {command} " in text


@pytest.mark.parametrize(
    "words",
    [("show", "medqaa"), ("show", "medqaa", "--json"), ("lineage", "uni", "medqaa"), ("lineage", "medqaa", "medqa")],
)
def test_unknown_name_is_one_line_and_exit_2(words: tuple[str, ...]) -> None:
    assert refusal(*words).startswith("healthfm: no ") and "'medqaa'" in refusal(*words)


def test_near_names_are_offered() -> None:
    said = refusal("show", "medqaa")
    assert "near names: medqa" in said and "HEALTHFM_CARDS=FOLDER" in said


def test_broken_own_card_is_one_line_and_exit_2_where_it_is_asked_for(tmp_path: Path) -> None:
    card = tmp_path / "models" / "quokka.toml"
    card.parent.mkdir()
    card.write_text('slug = "quokka"\n', encoding="utf-8")
    assert f"{card}: name: " in refusal("show", "quokka", HEALTHFM_CARDS=str(tmp_path))
    found = run("find", "slide", HEALTHFM_CARDS=str(tmp_path))
    assert (
        found.returncode == 0
        and found.stderr.startswith(f"healthfm: left out: {card}: name: ")
        and " uni " in found.stdout
    )
    card.write_text("slug = \n", encoding="utf-8")
    assert "not valid TOML" in refusal("show", "quokka", HEALTHFM_CARDS=str(tmp_path))
    assert "no folder" in refusal("find", "quokka", HEALTHFM_CARDS=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("words", [["--help"], ["find", "slide"], ["find", "slide", "--json"], ["find", "--help"]])
def test_help_and_find_load_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from healthfm.cli import main\n"
        f"sys.argv = ['healthfm', *{words!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'polars', 'transformers', 'pyarrow', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.stderr.write(' '.join(sorted(heavy)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
