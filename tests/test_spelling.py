"""Which spellings mean the same class."""

from __future__ import annotations

import pytest

from healthfm.spelling import clash, fit, fold


@pytest.mark.parametrize(
    ("one", "other"),
    [("Yes", "yes"), (" benign", "benign"), ("1", "1.0"), ("1", "True"), ("0", "false"), ("caf\u00e9", "cafe\u0301"), ("\uff39\uff45\uff53", "yes"),
     ("in  situ", "in\u00a0situ"), ("non\u2013small", "non-small"), ("01", "1"), ("be\u200bnign", "benign"), ("stra\u00dfe", "STRASSE")],
)  # fmt: skip
def test_two_spellings_of_one_class_fold_to_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("A+", "A-"), ("1.5", "15"), ("1", "10"), ("1E10", "1E11"), ("-1", "1"), ("no", "none"), ("0.5", "5")]
)  # fmt: skip
def test_two_classes_stay_two(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_a_declared_class_is_found_by_any_spelling_unless_two_would_do() -> None:
    assert [fit(one, ["no", "yes"]) for one in ("YES ", "no", "maybe")] == ["yes", "no", None]
    assert [fit(one, ["a", "A"]) for one in ("a", "A", "a ")] == ["a", "A", None]


def test_a_clash_names_every_spelling_and_how_often_it_occurs() -> None:
    assert clash({"a": 3, "b": 1}) is None
    assert (
        clash({"Yes": 12, "yes": 3, "no": 9})
        == "one class is written in several ways: 'Yes' (12 rows) and 'yes' (3 rows)"
    )
    assert "'cafe\\u0301' (2 rows) and 'caf\\xe9' (1 rows)" in str(clash({"caf\u00e9": 1, "cafe\u0301": 2}))
