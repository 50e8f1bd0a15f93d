"""``healthfm evaluate`` and ``report`` as a user meets them: one clear line for a mistake, nothing lost."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import run

MODEL = "smollm2-135m-instruct"


def assert_one_clear_line(result: subprocess.CompletedProcess[str], *says: str) -> None:
    assert result.returncode == 2, result
    lines = [line for line in result.stderr.splitlines() if line.startswith("healthfm: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert all(one in lines[0] for one in says), lines[0]


def test_a_run_prints_its_numbers_and_a_second_one_resumes(
    pubmedqa_root: Path, small_at_home: Path, tmp_path: Path
) -> None:
    words = (
        "evaluate",
        MODEL,
        "pubmedqa",
        "--root",
        pubmedqa_root,
        "--limit",
        4,
        "--output",
        tmp_path / "run",
        "--json",
    )
    first, second = run(*words), run(*words)
    assert first.returncode == second.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found == json.loads(second.stdout)
    assert {"accuracy", "macro_f1"} <= set(found["metrics"])
    assert found["majority"]["accuracy"] == 0.552
    assert Path(found["report"]).is_file()
    plain = run("report", tmp_path / "run")
    assert "Wilson score" in plain.stdout
    assert "always 'yes' is right for 55.2% of the 500 questions" in plain.stdout
    assert "contamination:" in plain.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "smolm2", "pubmedqa"), ("no model is called 'smolm2'", "smollm2")),
        (("evaluate", MODEL, "pubmedq"), ("no dataset is called 'pubmedq'", "pubmedqa")),
        (("evaluate", MODEL, "pubmedqa@cot"), ("no protocol 'cot'", "reasoning-free")),
        (("evaluate", MODEL, "pubmedqa:pqa-x"), ("no variant 'pqa-x'", "pqa-l")),
        (("evaluate", MODEL, "pubmedqa", "--root", "/nonexistent"), ("no folder /nonexistent",)),
        (("evaluate", "git-mol", "pubmedqa", "--root", "examples/pubmedqa"), ("cannot run git-mol yet",)),
        (("evaluate", MODEL, "s2orc"), ("no reader for this dataset yet",)),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--split", "exam"), ("split 'exam' is absent",)),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--limit", "0"), ("limit is 0",)),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--weights", "/none.gguf"), ("no weights at /none.gguf",)),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--dtype", "float8"), ("dtype", "float8")),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--device", "tpu"), ("device", "tpu")),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--task", "ordinal"), ("predictions made elsewhere",)),
        (("evaluate", MODEL, "pubmedqa", "--root", "examples/pubmedqa", "--judge", MODEL), ("answer key of its own",)),
        (("report", "/nonexistent"), ("not a run folder",)),
        (("evaluate", MODEL), ("Missing argument",)),
        (("evaluate", MODEL, "pubmedqa", "--limit", "many"), ("--limit", "integer")),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(words: tuple[str, ...], says: tuple[str, ...], tmp_path: Path) -> None:
    more = ("--output", str(tmp_path / "run")) if words[0] == "evaluate" else ()
    assert_one_clear_line(run(*words, *more), *says)


def test_a_read_only_place_is_one_clear_line(pubmedqa_root: Path) -> None:
    words = ("evaluate", MODEL, "pubmedqa", "--root", pubmedqa_root, "--limit", 2, "--output", "/proc/healthfm-run")
    assert_one_clear_line(run(*words), "/proc/healthfm-run: cannot write there")


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_what_was_written_and_the_run_goes_on_later(
    pubmedqa_root: Path, small_folder: Path, tmp_path: Path
) -> None:
    words = (
        "evaluate", MODEL, "pubmedqa", "--root", pubmedqa_root, "--weights", small_folder, "--limit", 12,
        "--output", tmp_path / "run",
    )  # fmt: skip
    with small_files(4_000):
        stopped = run(*words)
    assert_one_clear_line(stopped, "cannot be written", "make room")
    assert run(*words).returncode == 0


def test_a_pickle_that_wants_to_run_code_is_one_clear_line(pubmedqa_root: Path, tmp_path: Path) -> None:
    import os
    import pickle

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'it-ran'}",)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    words = (
        "evaluate",
        MODEL,
        "pubmedqa",
        "--root",
        pubmedqa_root,
        "--limit",
        2,
        "--weights",
        tmp_path / "pytorch_model.bin",
    )
    assert_one_clear_line(run(*words, "--output", tmp_path / "run"), "wants to run code", "refused")
    assert not (tmp_path / "it-ran").exists()


def test_weights_that_do_not_fit_are_one_clear_line(pubmedqa_root: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"model.embed_tokens.weight": torch.zeros(4, 4)}, tmp_path / "model.safetensors")
    words = ("evaluate", MODEL, "pubmedqa", "--root", pubmedqa_root, "--limit", 2, "--weights", tmp_path)
    assert_one_clear_line(
        run(*words, "--output", tmp_path / "run"), "does not fit LlamaForCausalLM", "missing keys", "wrong shapes"
    )


def test_hostile_text_in_own_data_stays_text(small_folder: Path, tmp_path: Path) -> None:
    rows = "question,A,B,answer\n<script>alert(1)</script>?,<b>yes</b>,no,A\nplain?,yes,no,B\n"
    (tmp_path / "own.csv").write_text(rows)
    words = ("evaluate", MODEL, tmp_path / "own.csv", "--weights", small_folder, "--output", tmp_path / "run")
    result = run(*words, "--show-inputs")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "run/report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_free_text_with_a_judge_and_people_beside_it(small_at_home: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(
        '{"id": "q1", "question": "Which vitamin prevents scurvy?", "answers": ["vitamin C"]}\n'
    )
    (tmp_path / "human.csv").write_text("id,score\nq1,1\n")
    toml = 'files = { test = "own.jsonl" }\ndefault_protocol = "short"\n[protocols.short]\nsummary = "Short."\ntask = "free-text"\n'
    (tmp_path / "dataset.toml").write_text(toml + 'max_new_tokens = 8\nfollows = "us"\ntemplate = "{{ question }}"\n')
    words = (
        "evaluate",
        MODEL,
        tmp_path,
        "--judge",
        MODEL,
        "--human",
        tmp_path / "human.csv",
        "--output",
        tmp_path / "run",
    )
    result = run(*words, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["request"]["judge"]["model"] == MODEL and found["request"]["judge"]["weights"].startswith("sha256:")
    stored = json.loads((tmp_path / "run/run.json").read_text())
    assert stored["judge"]["asked"] == 1 and stored["judge"]["agreement"]["scored_by_people"] == 1
    assert [one.get("role") for one in stored["environments"]] == [None, "judge"]


def test_perplexity_is_asked_by_its_name(few_pubmedqa: Path, tmp_path: Path) -> None:
    """The packaged weights, as the command finds them by the row's name."""
    words = ("evaluate", MODEL, "pubmedqa", "--root", few_pubmedqa, "--task", "perplexity", "--limit", 1)
    result = run(*words, "--output", tmp_path / "run", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["bits_per_byte"]["value"] < 2
