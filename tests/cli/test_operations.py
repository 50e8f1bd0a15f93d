"""How much is said, which code it is, completion, and what a refused request leaves behind."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from healthfm import __version__, home
from tests.cli.command import run

ASK = ("evaluate", "python:tests.cli.mine:score", "./q.csv")


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    rows = [f"Mr Smith {i},Is it?,{'yes' if i % 2 else 'no'}" for i in range(8)]
    (tmp_path / "q.csv").write_text("id,question,answer\n" + "\n".join(rows) + "\n")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    yield
    logging.getLogger("healthfm").handlers[:] = []
    run("find", "--help")  # quiet no more


@pytest.mark.parametrize("words", [("-v", *ASK), (*ASK, "-v"), (*ASK, "--verbose")], ids=["before", "behind", "word"])
def test_v_says_what_is_done_without_a_word_of_the_data(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "8 samples of split test, task closed-answer" in done.stderr and "part 1 of" not in done.stderr
    assert (
        "Smith" not in done.stderr
        and "part 1 of 1 in predictions, 8 rows" in run(*ASK, "-vv", "--output", "other").stderr
    )


def test_healthfm_log_is_a_level_and_a_file(tmp_path: Path) -> None:
    assert "8 samples of split test" not in run(*ASK, "--output", "a").stderr
    done = run(*ASK, "--output", "b", HEALTHFM_LOG=f"DEBUG:{tmp_path / 'log'}")
    logged = (tmp_path / "log").read_text()
    assert (
        done.returncode == 0
        and "8 samples" not in done.stderr
        and "INFO healthfm.evaluate.runner" in logged
        and "DEBUG" in logged
    )
    assert "Smith" not in logged
    both = run("-v", *ASK, "--output", "c", HEALTHFM_LOG=f"error:{tmp_path / 'errors'}")  # each as it was asked for
    assert "8 samples of split test" in both.stderr and (tmp_path / "errors").read_text() == ""
    wrong = run("find", "x", HEALTHFM_LOG="loud")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "healthfm: HEALTHFM_LOG is 'loud'; use debug, info, warning, error, or LEVEL:FILE\n",
    )
    assert run("find", "x", HEALTHFM_LOG="info:/no/such/folder/log").stderr.count("\n") == 1


def test_quiet_draws_no_bar_and_words_behind_two_dashes_are_the_commands_own() -> None:
    assert "python:tests" in run(*ASK, "--output", "a").stderr
    quiet = run("--quiet", *ASK, "--output", "b")
    assert quiet.returncode == 0 and quiet.stderr == "" and "accuracy" in quiet.stdout
    from healthfm.cli.console import set_up

    assert set_up(["generate", "-v", "m", "--", "-v", "-q"]) == ["generate", "m", "--", "-v", "-q"]


def test_the_version_names_the_commit_where_it_is_known(tmp_path: Path) -> None:
    made_of = home.commit()
    assert run("--version").stdout.strip() == (
        __version__ if made_of is None else f"{__version__} (commit {made_of[:12]})"
    )
    if shutil.which("git") is None:
        pytest.skip("git is not here")

    def git(*words: str, at: Path = tmp_path / "repo") -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=at,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    (tmp_path / "repo").mkdir()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert home._checked_out(tmp_path / "repo/.git") == head
    git("worktree", "add", "-q", str(tmp_path / "second"))
    assert home._checked_out(tmp_path / "second/.git") == head
    git("pack-refs", "--all")
    assert home._checked_out(tmp_path / "repo/.git") == head
    git("checkout", "-q", "--detach")
    assert home._checked_out(tmp_path / "repo/.git") == head
    with pytest.raises(OSError, match="No such file"):
        home._checked_out(tmp_path / "none")


def test_completion_knows_the_commands() -> None:
    done = run(_HEALTHFM_COMPLETE="complete_bash", COMP_WORDS="healthfm eva", COMP_CWORD="1")
    assert done.stdout.split() == ["evaluate"]


def completed(line: str, **environment: str) -> list[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    return run(_HEALTHFM_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1), **environment).stdout.split()  # fmt: skip


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("healthfm evaluate smollm2-", ["smollm2-135m-instruct"]),
        ("healthfm evaluate smollm2-135m-instruct medq", ["medqa", "medquad"]),
        ("healthfm weights ctran", ["ctranspath"]),
        ("healthfm fetch pubmedq", ["pubmedqa"]),
        ("healthfm show pubmedq", ["pubmedqa"]),
        ("healthfm lineage pmc-ll", ["pmc-llama"]),
        ("healthfm lineage pmc-llama medqa", ["medqa"]),
        ("healthfm contamination medqa --against pubmedq", ["pubmedqa"]),
        ("healthfm embed uni medqu", ["medquad"]),
        ("healthfm check ctran", []),  # a model is no dataset
        ("healthfm evaluate hf:./", []),  # the shell's own files
        ("healthfm evaluate", ["evaluate"]),
    ],
)
def test_completion_knows_the_rows(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_completion_offers_every_row_and_a_users_own_cards_and_stays_silent_where_they_are_not_there(
    tmp_path: Path,
) -> None:
    shipped = completed("healthfm check ")
    assert len(shipped) >= 144 and "pubmedqa" in shipped and "uni" not in shipped
    (tmp_path / "models/language").mkdir(parents=True)
    (tmp_path / "models/language/ward-llama.toml").write_text("not read for it")
    assert completed("healthfm generate ward", HEALTHFM_CARDS=str(tmp_path)) == ["ward-llama"]
    assert completed("healthfm generate ward", HEALTHFM_CARDS=str(tmp_path / "none")) == []


def test_a_shell_that_asks_loads_one_verb_and_nothing_heavy() -> None:
    code = "import sys\nfrom healthfm import cli\ntry:\n cli.main()\nexcept SystemExit: pass\nprint(sorted({one.split('.')[0] for one in sys.modules} & {'torch', 'numpy', 'polars', 'pyarrow', 'rich'}), sorted(one for one in sys.modules if one.startswith('healthfm.cli.')))"
    told = {"_HEALTHFM_COMPLETE": "complete_bash", "COMP_WORDS": "healthfm show pubmedq", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **told}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == [
        "pubmedqa",
        "[] ['healthfm.cli.console', 'healthfm.cli.options', 'healthfm.cli.show']",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "python:tests.cli.mine:score", "./q.csv", "--task", "closed-answer-generated"),
        ("evaluate", "python:tests.cli.mine:score", "./q.csv", "--task", "linear-probe"),
        ("evaluate", "python:tests.cli.mine:score", "./none.csv"),
        ("evaluate", "smollm2-135m-instruct", "./q.csv", "--weights", "no-such-folder"),
        ("embed", "uni", "q.csv", "--weights", "no-such-folder"),
    ],
)  # fmt: skip
def test_a_refused_request_leaves_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run(*words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and sorted(tmp_path.rglob("*")) == before
    (tmp_path / "mine").mkdir()
    assert run(*words, "--output", tmp_path / "mine/deep/run").returncode == 2
    assert list((tmp_path / "mine").iterdir()) == []
