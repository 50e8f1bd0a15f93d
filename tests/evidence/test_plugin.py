"""What tests prove is collected from their reports, and a run that was not whole says so."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pytest

from tests.evidence import digests, plugin

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.evidence("medqa", "files")
def test_files(number):
    pass

@pytest.mark.evidence("hoc", "layout")
def test_good():
    pass

@pytest.mark.evidence("hoc", "layout")
def test_bad():
    assert False

@pytest.mark.evidence("liveqa", "files", where="reference")
def test_skipped():
    pytest.skip("no data")

@pytest.mark.evidence("medquad", "layout")
def test_breaks_after(broken):
    pass

@pytest.fixture
def broken():
    yield
    raise ValueError
"""
CONFTEST = """
import sys
sys.path.insert(0, {project!r})
from pathlib import Path
from tests.evidence import plugin
from tests.evidence.plugin import *
plugin.RESULT = Path({result!r})
"""
ALONE = ("-p", "no:cacheprovider", "-p", "no:unraisableexception")  # which collects the garbage of the whole process


@pytest.fixture(scope="module")
def another() -> ModuleType:
    """The plugin once more, for runs inside this one: what these find is no evidence of the project's."""
    spec = spec_from_file_location("evidence_of_another_run", plugin.__file__)
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def found(pytester: pytest.Pytester, another: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function: arguments of pytest -> what the run found out."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing others' costs more than the run
    result = pytester.path / "result.json"
    pytester.makeini("[pytest]\ntestpaths = inner\n")
    pytester.mkdir("inner")
    (pytester.path / "inner/test_suite.py").write_text(SUITE)

    def run(*arguments: str) -> dict[str, Any]:
        if "xdist" in arguments:  # whose workers are processes
            (pytester.path / "conftest.py").write_text(
                CONFTEST.format(project=str(digests.PROJECT), result=str(result))
            )
            pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
        else:
            monkeypatch.setattr(another, "RESULT", result)
            monkeypatch.setattr(another, "EVIDENCE", another.Evidence())
            pytester.runpytest_inprocess(*ALONE, *arguments, plugins=[another])
        return dict(json.loads(result.read_text()))

    return run


def proved(result: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(one["slug"], one["tick"], len(one["tests"])) for one in result["claims"]]


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "two workers"])
def test_a_claim_stands_when_every_test_that_makes_it_passed(found: Any, workers: tuple[str, ...]) -> None:
    result = found(*workers)
    assert proved(result) == [("medqa", "files", 2)]
    assert result["whole"] is True
    assert result["source"] == digests.of_source()
    collected = {(one["slug"], one["tick"]): list(one["tests"].values()) for one in result["collected"]}
    assert collected == {
        ("hoc", "layout"): ["ci", "ci"], ("liveqa", "files"): ["reference"], ("medqa", "files"): ["ci", "ci"],
        ("medquad", "layout"): ["ci"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "chosen",
    [("-k", "files"), ("inner",), ("--deselect", "inner/test_suite.py::test_bad"), ("-x",), ("-m", "evidence")],
)
def test_a_part_of_the_tests_is_no_whole_run(found: Any, chosen: tuple[str, ...]) -> None:
    assert found(*chosen)["whole"] is False


@pytest.mark.parametrize(
    "mark", ['"medqa", "speed"', '"nobody", "files"', '"medqa", "files", where="somewhere"', '"medqa"']
)
def test_a_wrong_mark_is_an_error(pytester: pytest.Pytester, found: Any, mark: str) -> None:
    (pytester.path / "inner/test_suite.py").write_text(
        f"import pytest\n@pytest.mark.evidence({mark})\ndef test(): pass\n"
    )
    assert found()["whole"] is False
