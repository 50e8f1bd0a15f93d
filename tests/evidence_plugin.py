"""Evidence: which rows the passed tests prove, kept in ``healthfm/cards/evidence.json`` and shown by ``healthfm coverage``.

A test marked ``@pytest.mark.evidence("medqa", "files")`` claims a tick for a row. After a run, a claim stands when every
test that makes it passed. ``where="reference"`` marks a claim whose proof needs what CI has not; CI does not repeat it,
and it lapses when the code it was made from changes.

Files that ``healthfm verify`` wrote on the owner's weights can be contributed to ``healthfm/cards/reproduced/``: one that is
complete and repeats its card's number claims ``reproduced`` (``where="contributed"``); it lapses when card and file disagree.

    python -m tests.evidence_plugin check build/evidence.json     fail when the record claims more than is proved
    python -m tests.evidence_plugin record build/evidence.json    put what was proved into the record and docs/coverage.md
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest

from healthfm.cards import catalog, coverage
from healthfm.evaluate.verify import problems as disagreements

PROJECT = Path(__file__).parent.parent
SOURCE = PROJECT / "src" / "healthfm"
RESULT = PROJECT / "build" / "evidence.json"


def digest(*paths: Path) -> str:
    """Return a short digest of files' contents (folders: of every file below)."""
    whole = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


@functools.cache
def imports() -> grimp.ImportGraph:
    """Return which module of the package imports which."""
    return grimp.build_graph("healthfm", cache_dir=None)


def code_of(kind: str, slug: str) -> str:
    """Return the digest of a row's card and of the code that serves it: its reader or family, and what that imports of its
    own room and of ``formats``.
    """
    entry = catalog.lookup(slug, kind)
    name = entry.get("reader") if kind == "dataset" else entry.get("run", {}).get("family")
    if not name:
        return digest(Path(entry["path"]))
    room = f"healthfm.{'datasets' if kind == 'dataset' else 'models'}."
    used = imports().find_upstream_modules(f"{room}{name}") | {f"{room}{name}"}
    mine = sorted(one for one in used if one.startswith((room, "healthfm.formats.")))
    return digest(Path(entry["path"]), *(SOURCE.joinpath(*one.split(".")[1:]).with_suffix(".py") for one in mine))


class Evidence:
    """Collects marked tests and their outcomes."""

    def __init__(self) -> None:
        self.tests: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.passed: set[str] = set()
        self.failed: set[str] = set()
        self.data: dict[str, list[str]] = {}

    def claims(self) -> list[dict[str, Any]]:
        """Return the claims all of whose tests ran and passed."""
        found = []
        for (slug, tick), tests in sorted(self.tests.items()):
            if not all(test in self.passed and test not in self.failed for test in tests):
                continue
            kind = coverage.kind_of(tick)
            where = "reference" if any(mark.get("where") == "reference" for mark in tests.values()) else "ci"
            data = sorted({one for test in tests for one in self.data.get(test, [])})
            found.append({
                "kind": kind, "slug": catalog.lookup(slug, kind)["slug"], "tick": tick, "where": where,
                "date": datetime.date.today().isoformat(), "code": code_of(kind, slug), "data": data, "tests": sorted(tests),
            })  # fmt: skip
        return found


EVIDENCE = Evidence()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "evidence(slug, tick, where='ci'): the test proves this tick of this row")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("evidence"):
            slug, tick = mark.args
            catalog.lookup(slug, coverage.kind_of(tick))
            EVIDENCE.tests.setdefault((slug, tick), {})[item.nodeid] = dict(mark.kwargs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.outcome != "passed":
        EVIDENCE.failed.add(item.nodeid)
    elif report.when == "call":
        EVIDENCE.passed.add(item.nodeid)
    return report  # type: ignore[return-value]


def pytest_sessionfinish() -> None:
    RESULT.parent.mkdir(exist_ok=True)
    proved = {"claims": EVIDENCE.claims(), "collected": sorted({f"{slug} {tick}" for slug, tick in EVIDENCE.tests})}
    RESULT.write_text(json.dumps(proved, indent=1) + "\n", encoding="utf-8")


@pytest.fixture
def proves_with(request: pytest.FixtureRequest) -> Any:
    """A function that notes the digest of the data a claim rests on: ``proves_with(path)``."""

    def note(*paths: Path) -> None:
        EVIDENCE.data.setdefault(request.node.nodeid, []).append(f"{paths[0].name} {digest(*paths)}")

    return note


# The record -----------------------------------------------------------------------------------------------------------


def contributed(folder: Path = SOURCE / "cards" / "reproduced") -> tuple[list[dict[str, Any]], list[str]]:
    """Return the claims of contributed evidence files, and what is wrong with the others."""
    claims: dict[str, dict[str, Any]] = {}
    problems = []
    for path in sorted(folder.glob("*.json")):
        try:
            evidence = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            evidence = None
        if wrong := disagreements(evidence):
            problems.append(f"{path.name}: does not count: {'; '.join(wrong)}")
            continue
        data = [f"{evidence['dataset']} {evidence['split']}", evidence["digest"]]
        claims[evidence["row"]] = {
            "kind": "model", "slug": evidence["row"], "tick": "reproduced", "where": "contributed", "date": evidence["date"],
            "code": digest(path), "data": data, "tests": [],
        }  # fmt: skip
    return list(claims.values()), problems


def _key(claim: dict[str, Any]) -> tuple[str, str, str]:
    return claim["kind"], claim["slug"], claim["tick"]


def overclaims(record: list[dict[str, Any]], proved: list[dict[str, Any]]) -> list[str]:
    """Return what the record claims but may not: CI claims that were not proved now, reference claims that lapsed."""
    fresh = {_key(claim) for claim in proved}
    given, problems = contributed()
    for claim in record:
        name = f"{claim['kind']} {claim['slug']}, {claim['tick']}"
        if claim["where"] == "contributed" and claim not in given:
            problems.append(f"{name}: the record claims it, no contributed evidence file proves it now")
        if claim["where"] == "ci" and _key(claim) not in fresh:
            problems.append(f"{name}: the record claims it, this run did not prove it")
        if (
            claim["where"] == "reference"
            and _key(claim) not in fresh
            and claim["code"] != code_of(claim["kind"], claim["slug"])
        ):
            problems.append(
                f"{name}: lapsed, its card or code changed since it was proved on {claim['date']}: run make reference"
            )
    return problems


def check(result: Path) -> int:
    """Hold the committed record against what a run proved; print what it may not claim."""
    proved = json.loads(result.read_text(encoding="utf-8"))["claims"]
    problems = overclaims(list(coverage.claims()), proved)
    unrecorded = [c for c in proved if _key(c) not in {_key(r) for r in coverage.claims()}]
    if not problems and (PROJECT / "docs" / "coverage.md").read_text(encoding="utf-8") != page(list(coverage.claims())):
        problems.append("docs/coverage.md is not what the record says: run make coverage")
    for claim in unrecorded:
        print(f"proved but not in the record (make coverage adds it): {' '.join(_key(claim))}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(
        f"evidence: {len(coverage.claims())} claims on record, {len(proved)} proved by this run, {len(problems)} problems"
    )
    return 1 if problems else 0


def record(result: Path) -> int:
    """Write what a run proved into the record: its CI claims replace the old ones, reference claims that still hold stay."""
    proved = json.loads(result.read_text(encoding="utf-8"))["claims"]
    fresh = {_key(claim) for claim in proved}
    old = {_key(c): c for c in coverage.claims()}
    kept = [
        c
        for c in coverage.claims()
        if c["where"] == "reference" and _key(c) not in fresh and c["code"] == code_of(c["kind"], c["slug"])
    ]
    same = [{**c, "date": old[_key(c)]["date"]} if _unchanged(old.get(_key(c)), c) else c for c in proved]
    given, problems = contributed()
    for problem in problems:
        print(problem, file=sys.stderr)
    claims = sorted([*same, *kept, *given], key=_key)
    coverage.RECORD.write_text(json.dumps({"claims": claims}, indent=1) + "\n", encoding="utf-8")
    coverage.claims.cache_clear()
    (PROJECT / "docs" / "coverage.md").write_text(page(claims), encoding="utf-8")
    print(f"{len(claims)} claims on record")
    return 0


def _unchanged(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    return old is not None and all(old[key] == new[key] for key in ("where", "code", "data", "tests"))


def page(claims: list[dict[str, Any]]) -> str:
    """Return ``docs/coverage.md``."""
    rows = coverage.rows(tuple(claims))
    out = [(PROJECT / "docs" / "coverage.head.md").read_text(encoding="utf-8")]
    for kind in ("model", "dataset"):
        mine = [row for row in rows if row["kind"] == kind]
        levels = [row["evidence"] for row in mine]
        summary = ", ".join(f"{levels.count(level)} {level}" for level in sorted(set(levels)))
        out.append(
            f"\n## {kind.capitalize()}s: {summary}\n\n| {kind} | group | evidence | ticks |\n|---|---|---|---|\n"
        )
        out += [
            f"| {r['name']} (`{r['slug']}`) | {r['group']} | {r['evidence']} | {', '.join(r['ticks'])} |\n"
            for r in mine
        ]
    return "".join(out)


if __name__ == "__main__":
    sys.exit({"check": check, "record": record}[sys.argv[1]](Path(sys.argv[2])))
