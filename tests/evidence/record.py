"""The record of evidence: a file a row in ``healthfm/cards/evidence``, held against what a whole run of the tests proved.

A ``ci`` claim is proved anew by every run. A ``reference`` claim stands until what it rests on changes (``digests``). Files that
``healthfm verify`` wrote on the owner's weights can be contributed to ``healthfm/cards/reproduced/``: one that is complete and
repeats its card's number claims ``reproduced`` (``where="contributed"``); it lapses when card and file disagree.

    python -m tests.evidence.record check build/evidence.json    fail when the record claims more than is proved
    python -m tests.evidence.record record build/evidence.json   put what was proved into the record, docs/coverage.md and the README's count
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from healthfm.cards import catalog, coverage
from healthfm.errors import CardError
from healthfm.evaluate.verify import problems as disagreements
from tests.evidence import digests

SOURCE = digests.PROJECT / "src" / "healthfm"
FIELDS = {
    "ci": {"tick", "where", "tests"}, "reference": {"tick", "where", "tests", "code", "data", "date"},
    "contributed": {"tick", "where", "tests", "code", "data", "date"},
}  # fmt: skip
Claim = dict[str, Any]
Key = tuple[str, str, str]


def contributed(folder: Path = SOURCE / "cards" / "reproduced") -> tuple[list[Claim], list[str]]:
    """Return the claims of contributed evidence files, and what is wrong with the others."""
    claims: dict[str, Claim] = {}
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
            "code": digests.of_paths(path), "data": data, "tests": [],
        }  # fmt: skip
    return list(claims.values()), problems


def key(claim: Claim) -> Key:
    """Return what names a claim: kind, slug and tick."""
    return claim["kind"], claim["slug"], claim["tick"]


# Check ----------------------------------------------------------------------------------------------------------------


def unfit(result: dict[str, Any]) -> list[str]:
    """Return why a run's result proves nothing about this source; [] when it does."""
    found = []
    if result.get("source") != digests.of_source():
        found.append("the result is of another source than what is here: run make test")
    if not result.get("whole"):
        found.append("the result is of a part of the tests: run make test")
    return found


def overclaims(record: Sequence[Claim], result: dict[str, Any]) -> list[str]:
    """Return what the record claims but may not."""
    proved = {key(claim): claim for claim in result["claims"]}
    collected = {key(claim): claim["tests"] for claim in result["collected"]}
    given, problems = contributed()
    twice = [one for one, count in Counter(map(key, record)).items() if count > 1]
    problems += [f"{' '.join(one)}: claimed {Counter(map(key, record))[one]} times" for one in twice]
    for claim in record:
        name = f"{claim['kind']} {claim['slug']}, {claim.get('tick')}"
        problems += [f"{name}: {wrong}" for wrong in _wrong(claim, given, proved, collected)]
    return problems


def _wrong(
    claim: Claim, given: Sequence[Claim], proved: dict[Key, Claim], collected: dict[Key, dict[str, str]]
) -> Iterator[str]:
    if shape := _misshapen(claim):
        yield shape
        return
    if claim["where"] == "contributed":
        if claim not in given:
            yield "the record claims it, no contributed evidence file proves it now"
        return
    tests = collected.get(key(claim), {})
    words = {"reference" if "reference" in tests.values() else "ci"} if tests else set()
    if gone := sorted(set(claim["tests"]) - set(tests)):
        yield f"{len(gone)} of the {len(claim['tests'])} tests it rests on do not exist or do not claim it: {', '.join(gone[:3])}"
        return
    if words != {claim["where"]}:
        yield f"the record says {claim['where']}, its tests say {', '.join(words) or 'nothing'}"
        return
    if key(claim) in proved:
        return
    if claim["where"] == "ci":
        yield "the record claims it, this run did not prove it"
    elif set(tests) != set(claim["tests"]) or claim["code"] != digests.code_of(*key(claim)[:2], claim["tests"]):
        yield f"lapsed: its card's facts, its code or its tests changed since it was proved on {claim['date']}"


def _misshapen(claim: Claim) -> str | None:
    """Return what is wrong with a claim as it stands; None when nothing is."""
    where = claim.get("where")
    if where not in FIELDS:
        return f"no claim is proved at '{where}' (known: {', '.join(FIELDS)})"
    if set(claim) != FIELDS[where] | {"kind", "slug"}:
        return f"its fields are {', '.join(sorted(claim))}; a {where} claim has {', '.join(sorted(FIELDS[where]))}"
    try:
        if coverage.speaks_of(claim["tick"]) != claim["kind"]:
            return f"a {claim['kind']} has no tick '{claim['tick']}'"
        if catalog.lookup(claim["slug"], claim["kind"])["slug"] != claim["slug"]:
            return "its file is not named by the row's slug"
    except (ValueError, CardError) as error:
        return str(error)
    if where != "contributed" and (not claim["tests"] or len(set(claim["tests"])) != len(claim["tests"])):
        return "it names no test, or one twice"
    return None


def check(result: Path) -> int:
    """Hold the committed record against what a run proved; print what it may not claim."""
    if not result.is_file():
        print(f"{result}: no result of a test run: run make test", file=sys.stderr)
        return 1
    found = json.loads(result.read_text(encoding="utf-8"))
    stored = coverage.claims()
    problems = unfit(found) or [*overclaims(stored, found), *misfiled()]
    recorded = {key(claim): claim for claim in stored}
    for claim in found["claims"]:
        if key(claim) not in recorded:
            print(f"proved but not in the record (make coverage adds it): {' '.join(key(claim))}")
        elif more := len(set(claim["tests"]) - set(recorded[key(claim)]["tests"])):
            print(f"proved by {more} more tests than the record says (make coverage adds them): {' '.join(key(claim))}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(
        f"evidence: {len(stored)} claims on record, {len(found['claims'])} proved by this run, {len(problems)} problems"
    )
    return 1 if problems else 0


def misfiled(folder: Path | None = None) -> list[str]:
    """Return which files of the record are of no row, or say another level than their claims add up to."""
    problems = []
    levels = {(row["kind"], row["slug"]): row["evidence"] for row in coverage.rows(listed=False)}
    for path in sorted((folder or coverage.RECORD).rglob("*")):
        row = (path.parent.name, path.stem)
        if path.is_file() and (path.suffix != ".json" or row not in levels):
            problems.append(f"{path.parent.name}/{path.name}: not the evidence of a row")
        elif path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("level") != levels[row]:
            problems.append(
                f"{path.parent.name}/{path.name}: its level is not what its claims add up to ({levels[row]})"
            )
    return problems


# Record ---------------------------------------------------------------------------------------------------------------


def record(result: Path) -> int:
    """Write what a whole run proved: its claims replace the old ones, reference claims that still hold stay, what is lost is said."""
    found = json.loads(result.read_text(encoding="utf-8"))
    if problems := unfit(found):
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1
    old = {key(claim): claim for claim in coverage.claims()}
    fresh = {key(claim): _dated(claim, old.get(key(claim))) for claim in found["claims"]}
    kept = [c for c in old.values() if c["where"] == "reference" and key(c) not in fresh and not overclaims([c], found)]
    given, problems = contributed()
    claims = sorted([*fresh.values(), *kept, *given], key=key)
    now = {key(claim): claim for claim in claims}
    for one, claim in old.items():
        lost = set(claim["tests"]) - set(now[one]["tests"]) if one in now else None
        if lost is None or lost:
            what = (
                "no longer proved"
                if lost is None
                else f"weaker, {len(lost)} tests are gone: {', '.join(sorted(lost)[:3])}"
            )
            print(f"{' '.join(one)}: {what}", file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    write(claims)
    (digests.PROJECT / "docs" / "coverage.md").write_text(page(claims), encoding="utf-8")
    readme = digests.PROJECT / "README.md"
    readme.write_text(COUNTED.sub(counted(claims), readme.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{len(claims)} claims on record")
    return 0


def _dated(claim: Claim, old: Claim | None) -> Claim:
    """Return a reference claim with the day it was proved: the old one where nothing changed."""
    if claim["where"] != "reference":
        return claim
    same = old is not None and all(old.get(name) == value for name, value in claim.items())
    return {**claim, "date": old["date"] if same and old is not None else datetime.date.today().isoformat()}


def write(claims: Sequence[Claim]) -> None:
    """Write a file a row; files of rows that claim nothing any more go."""
    levels = {(row["kind"], row["slug"]): row["evidence"] for row in coverage.rows(tuple(claims), listed=False)}
    files: dict[Path, list[Claim]] = {}
    for claim in claims:
        files.setdefault(coverage.RECORD / claim["kind"] / f"{claim['slug']}.json", []).append(claim)
    for path in set(coverage.RECORD.rglob("*.json")) - set(files):
        path.unlink()
    for path, mine in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        body = [{name: value for name, value in claim.items() if name not in ("kind", "slug")} for claim in mine]
        kept = {"level": levels[path.parent.name, path.stem], "claims": body}
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    coverage.claims.cache_clear()


def page(claims: Sequence[Claim]) -> str:
    """Return ``docs/coverage.md``."""
    rows = coverage.rows(tuple(claims))
    out = [(digests.PROJECT / "docs" / "coverage.head.md").read_text(encoding="utf-8")]
    for kind in ("model", "dataset"):
        mine = [row for row in rows if row["kind"] == kind]
        levels = [row["evidence"] for row in mine]
        summary = ", ".join(f"{levels.count(level)} {level}" for level in sorted(set(levels)))
        more = " keys and sizes from |" if kind == "model" else " of its parts |"
        out.append(
            f"\n## {kind.capitalize()}s: {summary}\n\n| {kind} | group | evidence | ticks |{more}\n|---|---|---|---|---|\n"
        )
        for r in mine:
            beside = f" {r['keys_from'] or r['parts'] or ''} |"
            out.append(
                f"| {r['name']} (`{r['slug']}`) | {r['group']} | {r['evidence']} | {', '.join(r['ticks'])} |{beside}\n"
            )
    return "".join(out)


SAID = {  # of a level, what it means to who reads the README; those that are not here claim nothing
    "model": {
        "reproduced": "reached a published number", "exact": "run exactly as published, as far as could be shown", "partial": "run, with something not shown",
        "architecture": "have an architecture that runs and no published weights",
    },
    "dataset": {
        "real": "are read from their owners' whole files", "real-sample": "from a part of them", "layout": "from their documented layout",
        "assumed": "from an assumed layout", "importer": "by an importer for your own copy",
    },
}  # fmt: skip
COUNTED = re.compile(r"(?s)<!-- counted by make coverage -->.*?<!-- end -->")


def counted(claims: Sequence[Claim]) -> str:
    """Return the README's sentence that counts what works, with its marks."""
    said = []
    for kind, words in SAID.items():
        levels = [row["evidence"] for row in coverage.rows(tuple(claims)) if row["kind"] == kind]
        parts = [f"{levels.count(level)} {meaning}" for level, meaning in words.items() if level in levels]
        rest = sum(level not in words for level in levels)
        said.append(f"of the {len(levels)} {kind}s {', '.join(parts)}" + (f", {rest} have a card only" if rest else ""))
    return f"<!-- counted by make coverage -->\n{said[0][:1].upper()}{'; '.join(said)[1:]}.\n<!-- end -->"


if __name__ == "__main__":
    sys.exit({"check": check, "record": record}[sys.argv[1]](Path(sys.argv[2])))
