"""The record of evidence refuses what was not proved: each way to forge it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm.cards import coverage
from tests.evidence import digests, record

TESTS = ["tests/x/test_a.py::test_one[1]", "tests/x/test_a.py::test_one[2]", "tests/x/test_a.py::test_two"]
CI = {"kind": "dataset", "slug": "medqa", "tick": "files", "where": "ci", "tests": TESTS}
REFERENCE_TEST = "tests/datasets/test_free_answers.py::test_the_whole_liveqa_test_set"
INVENTED = "tests/datasets/test_free_answers.py::test_invented"
REFERENCE = {
    "kind": "dataset", "slug": "liveqa", "tick": "files", "where": "reference", "tests": [REFERENCE_TEST], "data": ["x.xml 00"],
    "date": "2026-11-25", "code": digests.code_of("dataset", "liveqa", [REFERENCE_TEST]),
}  # fmt: skip
RESULT = {
    "source": digests.of_source(), "whole": True, "claims": [CI],
    "collected": [
        {"kind": "dataset", "slug": "medqa", "tick": "files", "tests": dict.fromkeys(TESTS, "ci")},
        {"kind": "dataset", "slug": "liveqa", "tick": "files", "tests": {REFERENCE_TEST: "reference"}},
    ],
}  # fmt: skip


def test_what_was_proved_and_what_still_holds_may_stand() -> None:
    assert record.unfit(RESULT) == []
    assert record.overclaims([CI, REFERENCE], RESULT) == []


def forged(claim: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**claim, **changes}


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (forged(REFERENCE, tests=["tests/x/test_b.py::test_invented"]), "do not exist or do not claim it"),
        (forged(CI, where="elsewhere"), "no claim is proved at 'elsewhere'"),
        (forged(CI, where=None), "no claim is proved at 'None'"),
        (forged(CI, where="reference", code="0" * 16, data=[], date="2026-11-25"), "its tests say ci"),
        ({**{k: v for k, v in REFERENCE.items() if k not in ("code", "data", "date")}, "where": "ci"}, "its tests say reference"),
        (forged(CI, tests=[*TESTS, "tests/x/test_a.py::test_one[3]"]), "1 of the 4 tests it rests on"),
        (forged(CI, tests=[]), "names no test"),
        (forged(CI, tests=[TESTS[0], TESTS[0]]), "or one twice"),
        (forged(CI, tick="speed"), "no tick 'speed'"),
        (forged(CI, tick="keys"), "a dataset has no tick 'keys'"),
        (forged(CI, slug="medqua"), "no dataset is called 'medqua'"),
        (forged(CI, tick="sample"), "do not exist or do not claim it"),
        (forged(CI, note="read by hand"), "its fields are"),
        (forged(REFERENCE, code="0" * 16), "lapsed"),
        (forged(REFERENCE, tests=[INVENTED], code=digests.code_of("dataset", "liveqa", [INVENTED])), "do not exist or do not claim it"),
        (forged(REFERENCE, slug="medqa", tests=TESTS, code=digests.code_of("dataset", "medqa", TESTS)), "its tests say ci"),
        (forged(REFERENCE, slug="medquad", code=digests.code_of("dataset", "medquad", [REFERENCE_TEST])), "do not exist or do not claim it"),
        (forged(REFERENCE, where="contributed", tests=[]), "no contributed evidence file proves it"),
    ],
)  # fmt: skip
def test_a_forged_claim_is_named(claim: dict[str, Any], told: str) -> None:
    problems = record.overclaims([claim], RESULT)
    assert len(problems) == 1
    assert told in problems[0]


def test_a_claim_that_stands_twice_is_named() -> None:
    assert record.overclaims([CI, CI], RESULT) == ["dataset medqa files: claimed 2 times"]


def test_a_claim_of_ci_is_proved_by_every_one_of_its_tests_in_this_run() -> None:
    failed = {**RESULT, "claims": []}
    assert "this run did not prove it" in record.overclaims([CI], failed)[0]


def test_a_reference_claim_lapses_when_a_test_was_added_to_it() -> None:
    more = {
        "kind": "dataset",
        "slug": "liveqa",
        "tick": "files",
        "tests": dict.fromkeys([REFERENCE_TEST, TESTS[2]], "reference"),
    }
    assert "lapsed" in record.overclaims([REFERENCE], {**RESULT, "collected": [more]})[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"whole": False}, "a part of the tests"), ({"source": "0" * 16}, "of another source"), ({"source": None}, "of another source")],
)  # fmt: skip
def test_a_part_of_a_run_and_an_old_one_prove_nothing(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in record.unfit({**RESULT, **changes})[0]
    before = {path: path.read_bytes() for path in coverage.RECORD.rglob("*.json")}
    (tmp_path / "result.json").write_text(json.dumps({**RESULT, **changes}))
    assert record.check(tmp_path / "result.json") == 1
    assert record.record(tmp_path / "result.json") == 1
    assert told in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in coverage.RECORD.rglob("*.json")}


def test_no_result_proves_nothing(tmp_path: Path) -> None:
    assert record.check(tmp_path / "none.json") == 1


# A record of one's own ------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record in a folder of the test's own."""
    monkeypatch.setattr(coverage, "RECORD", tmp_path / "evidence")
    coverage.claims.cache_clear()
    yield tmp_path / "evidence"
    coverage.claims.cache_clear()


def test_a_row_has_a_file_with_its_claims_and_the_level_they_add_up_to(own: Path) -> None:
    record.write([CI, REFERENCE])
    assert sorted(path.relative_to(own).as_posix() for path in own.rglob("*.json")) == [
        "dataset/liveqa.json",
        "dataset/medqa.json",
    ]
    stored = json.loads((own / "dataset/medqa.json").read_text())
    assert stored == {"level": "real", "claims": [{"tick": "files", "where": "ci", "tests": TESTS}]}
    assert coverage.claims() == (REFERENCE, CI)
    record.write([REFERENCE])
    assert [path.stem for path in own.rglob("*.json")] == ["liveqa"]


def test_a_level_that_claims_do_not_add_up_to_and_files_of_no_row_are_named(own: Path) -> None:
    record.write([forged(CI, tick="layout")])
    assert record.misfiled() == []
    file = own / "dataset/medqa.json"
    file.write_text(file.read_text().replace('"level": "layout"', '"level": "real"'))
    (own / "dataset/nobody.json").write_text('{"level": "none", "claims": []}')
    assert record.misfiled() == [
        "dataset/medqa.json: its level is not what its claims add up to (layout)", "dataset/nobody.json: not the evidence of a row",
    ]  # fmt: skip


def test_what_a_run_no_longer_proves_is_said_aloud(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "PROJECT", tmp_path)
    monkeypatch.setattr(record, "unfit", lambda _: [])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/coverage.head.md").write_text("")
    (tmp_path / "README.md").write_text("a\n<!-- counted by make coverage -->\nold\n<!-- end -->\nb\n")
    record.write([CI, REFERENCE, forged(CI, tick="layout")])
    fewer = {**RESULT, "claims": [forged(CI, tests=TESTS[:2])]}
    (tmp_path / "result.json").write_text(json.dumps(fewer))
    monkeypatch.setattr(record, "overclaims", lambda claims, _: [])
    assert record.record(tmp_path / "result.json") == 0
    told = capsys.readouterr().err
    assert f"dataset medqa files: weaker, 1 tests are gone: {TESTS[2]}" in told
    assert "dataset medqa layout: no longer proved" in told
    assert "liveqa" not in told
    kept = (tmp_path / "README.md").read_text()
    assert (
        kept.startswith("a\n<!--")
        and kept.endswith("-->\nb\n")
        and "old" not in kept
        and "are read from their owners' whole files" in kept
    )


def test_the_readme_counts_what_the_record_holds() -> None:
    readme = (digests.PROJECT / "README.md").read_text()
    assert record.counted(coverage.claims()) in readme and len(record.COUNTED.findall(readme)) == 1
    rows = [row for row in coverage.rows() if row["kind"] == "model"]
    (one,) = [line for line in record.counted(()).splitlines() if line.startswith("Of")]
    assert f"Of the {len(rows)} models" in one and f"{len(rows)} have a card only" in one
