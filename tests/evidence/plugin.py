"""Collects, while tests run, which rows they prove: a pytest plugin.

A test marked ``@pytest.mark.evidence("medqa", "files")`` claims a tick for a row. After a run, a claim stands when every
test that makes it was collected, ran and passed. ``where="reference"`` marks a claim whose proof needs what CI has not.
Marks and outcomes travel with pytest's own reports, so that parallel workers' are merged. The result says of which source it is,
and whether the run was whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm.cards import catalog, coverage
from healthfm.errors import CardError
from tests.evidence import digests

RESULT = digests.PROJECT / "build" / "evidence.json"
MARKED = ("ci", "reference")  # the words a test may say; "contributed" is for files that others give
Tick = tuple[str, str, str]  # kind, slug, tick


class Evidence:
    """Marked tests and outcomes of one run."""

    def __init__(self) -> None:
        self.tests: dict[Tick, dict[str, str]] = {}
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.data: dict[str, set[str]] = {}

    def note(self, report: pytest.TestReport) -> None:
        """Take in what a test's report says."""
        for name, value in report.user_properties:
            if name == "evidence":
                kind, slug, tick, where = str(value).split(" ")
                self.tests.setdefault((kind, slug, tick), {})[report.nodeid] = where
            if name == "evidence data":
                self.data.setdefault(report.nodeid, set()).add(str(value))
        if report.outcome != "passed":
            self.failed.add(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)

    def collected(self) -> list[dict[str, Any]]:
        """Return every claim that tests make, whether proved or not, with each test's word for where."""
        return [
            {"kind": kind, "slug": slug, "tick": tick, "tests": dict(sorted(tests.items()))}
            for (kind, slug, tick), tests in sorted(self.tests.items())
        ]

    def claims(self) -> list[dict[str, Any]]:
        """Return the claims all of whose tests ran and passed."""
        found = []
        for (kind, slug, tick), tests in sorted(self.tests.items()):
            if not self.passed.issuperset(tests) or self.failed.intersection(tests):
                continue
            where = "reference" if "reference" in tests.values() else "ci"
            claim: dict[str, Any] = {"kind": kind, "slug": slug, "tick": tick, "where": where, "tests": sorted(tests)}
            if where == "reference":
                claim["code"] = digests.code_of(kind, slug, sorted(tests))
                claim["data"] = sorted(set().union(*(self.data.get(test, set()) for test in tests)))
            found.append(claim)
        return found


EVIDENCE = Evidence()
SOURCE = digests.of_source()  # as it is when the run begins


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "evidence(slug, tick, where='ci'): the test proves this tick of this row")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("evidence"):
            item.user_properties.append(("evidence", claimed(item.nodeid, mark)))


def claimed(test: str, mark: pytest.Mark) -> str:
    """Return what a mark claims: kind, slug, tick and where. Raises ``UsageError`` that names the test."""
    try:
        slug, tick = mark.args
        kind = coverage.speaks_of(tick)
        slug = catalog.lookup(slug, kind)["slug"]
    except (ValueError, CardError) as error:
        raise pytest.UsageError(f"{test}: its evidence mark is wrong: {error}") from None
    where = mark.kwargs.get("where", "ci")
    if where not in MARKED or set(mark.kwargs) - {"where"}:
        raise pytest.UsageError(f"{test}: its evidence mark says {mark.kwargs}; where is one of {', '.join(MARKED)}")
    return f"{kind} {slug} {tick} {where}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    EVIDENCE.note(report)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workerinput"):  # the controller hears every report
        return
    RESULT.parent.mkdir(exist_ok=True)
    result = {
        "source": SOURCE, "whole": whole(session.config, exitstatus), "claims": EVIDENCE.claims(), "collected": EVIDENCE.collected(),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def whole(config: pytest.Config, exitstatus: int) -> bool:
    """Say whether a run took every test of the project: nothing chosen, nothing left out, not stopped."""
    option = config.option
    chosen = (
        option.keyword or option.markexpr or option.deselect or option.ignore or option.ignore_glob or option.maxfail
    )
    last = getattr(option, "lf", False) or getattr(option, "stepwise", False)
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return everything and not chosen and not last and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


@pytest.fixture
def proves_with(request: pytest.FixtureRequest) -> Any:
    """A function that notes the digest of the data a claim rests on: ``proves_with(path)``."""

    def note(*paths: Path) -> None:
        request.node.user_properties.append(("evidence data", f"{paths[0].name} {digests.of_paths(*paths)}"))

    return note
