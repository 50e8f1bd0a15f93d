"""The runner of small wrong changes, on a project of one function: what it finds, refuses, and leaves as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutations import run as runner
from tests.mutations.run import Change, Wrong, changes, choose, run

LARGER = "def larger(a, b):\n    return a if a > b else b\n"
CHECK = "from made_for_this import larger\n\ndef test_larger():\n    assert larger(1, 2) == 2 == larger(2, 1)\n"
TURNED = Change("turned", "src/made_for_this.py", "a > b", "a < b", ("checks/test_larger.py",))
EQUAL = replace(TURNED, name="equal ones", new="a >= b")
HANGS = replace(TURNED, name="hangs", old="return", new="import time; time.sleep(600)\n    return")
BROKEN = replace(TURNED, name="no Python", new="a >")
NAMED = replace(TURNED, name="no import", old="def larger", new="def other")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing others' plugins costs more than these tests
    (tmp_path / "src").mkdir()
    (tmp_path / "checks").mkdir()
    (tmp_path / "src/made_for_this.py").write_text(LARGER)
    (tmp_path / "checks/test_larger.py").write_text(CHECK)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def told(printed: str) -> list[str]:
    return [line.split()[1] for line in printed.splitlines()[1:]]


def test_what_is_noticed_and_what_survives(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasoned = replace(EQUAL, name="equal again", survives="of equal numbers either is the larger")
    assert run([TURNED, EQUAL, reasoned], project) == [EQUAL]
    assert told(capsys.readouterr().out) == ["noticed", "SURVIVES", "survives"]
    assert (project / "src/made_for_this.py").read_text() == LARGER


def test_what_takes_too_long_is_no_survivor_and_is_told_apart(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow machine may end a change's tests too early: what was seen to be noticed is another word."""
    whole = runner.outcome

    def impatient(root: Path, tests: Sequence[str], log: Path, longest: float) -> int | None:
        return whole(root, tests, log, 0.5 if "sleep" in (root / "src/made_for_this.py").read_text() else longest)

    monkeypatch.setattr(runner, "outcome", impatient)
    assert run([HANGS], project) == []
    assert told(capsys.readouterr().out) == ["hangs"]
    assert (project / "src/made_for_this.py").read_text() == LARGER


def test_data_that_is_not_in_order_is_refused(project: Path) -> None:
    """Every change is looked at, also after a wrong one."""
    wrong = {
        replace(TURNED, name="many", old="a"): "many: its old text stands 4 times",
        replace(TURNED, name="none", old="c"): "none: its old text stands 0 times",
        replace(TURNED, name="same", new="a > b"): "same: changes nothing",
        replace(TURNED, name="reasoned", survives="said so"): "reasoned: said to survive, and was noticed",
        BROKEN: "no Python: src/made_for_this.py can then not be read at all",
        NAMED: "no import: its tests could not run",
    }
    with pytest.raises(Wrong) as found:
        run(list(wrong), project)
    assert [one for one in wrong.values() if one not in str(found.value)] == []
    assert (project / "src/made_for_this.py").read_text() == LARGER


def test_tests_that_are_not_there_are_refused(project: Path) -> None:
    with pytest.raises(Wrong, match="before any change, the tests fail"):
        run([replace(TURNED, tests=("checks/test_gone.py",))], project)


def test_tests_that_fail_before_any_change_notice_nothing(project: Path) -> None:
    (project / "checks/test_larger.py").write_text(CHECK.replace("== 2", "== 3"))
    with pytest.raises(Wrong, match=r"before any change, the tests fail \(pytest's exit code 1\)"):
        run([TURNED], project)


def test_the_data_is_read_field_by_field(tmp_path: Path) -> None:
    fields = 'name = "one"\nfile = "a.py"\nold = "1"\nnew = "2"\ntests = ["t"]\n'
    (tmp_path / "a.toml").write_text(f"[[change]]\n{fields}")
    assert changes(tmp_path) == [Change("one", "a.py", "1", "2", ("t",))]
    for wrong in (
        fields,
        fields.replace("one", "two") + 'why = "?"\n',
        'name = "two"\n',
        fields.replace("one", "two").replace('["t"]', "[]"),
    ):
        (tmp_path / "b.toml").write_text(f"[[change]]\n{wrong}")
        with pytest.raises(Wrong, match=r"^b\.toml: "):
            changes(tmp_path)


def test_a_draw_is_the_same_for_a_seed() -> None:
    every = [replace(TURNED, name=str(i)) for i in range(40)]
    drawn = choose(every, "", 20, 1)
    assert len(drawn) == 20 and drawn == choose(every, "", 20, 1) != choose(every, "", 20, 2)
    assert [one.name for one in choose(every, "made_for", None, 0)] == [str(i) for i in range(40)]
    with pytest.raises(Wrong, match="holds 'nowhere'"):
        choose(every, "nowhere", None, 0)


def test_every_change_of_this_folder_is_named_once_and_names_tests_that_are_there() -> None:
    """That its old text is there too is held where the changes are made: another's mend need not wait for this data."""
    for one in changes():
        assert (runner.PROJECT / one.file).is_file() and all((runner.PROJECT / test.partition("::")[0]).is_file() for test in one.tests), one.name  # fmt: skip
