"""What a raw value of the owner's files means is on the card, and readers ask it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from healthfm.cards.schema import DatasetCard
from healthfm.datasets.locate import Files
from healthfm.errors import BadValue, CardError
from healthfm.records import MISSING, UNCERTAIN

SPACES = [
    {"name": "finding", "kind": "binary", "classes": ["no tumour", "tumour"], "codes": {"no tumour": "1", "tumour": "0"}, "missing": ["-9"]},
    {"name": "marks", "kind": "multi-label", "classes": ["oedema", "cyst"], "codes": {"oedema": "O", "cyst": "C"}},
    {"name": "size", "kind": "number", "missing": ["999"]},
    {"name": "report type", "kind": "multi-class"},
    {"name": "nodule", "kind": "binary", "classes": ["absent", "present"], "codes": {"absent": "0", "present": "1"}, "uncertain": ["-1"]},
    {"name": "grade", "kind": "ordinal", "classes": ["low", "high"], "variant": "first"},
    {"name": "grade", "kind": "ordinal", "classes": ["low", "high"], "codes": {"low": "high", "high": "low"}, "variant": "second"},
    {"name": "first", "kind": "multi-class", "classes": ["a", "b"]},
]  # fmt: skip


def files(variant: str = "first") -> Files:
    fields: dict[str, Any] = {
        "slug": "ward", "name": "Ward", "summary": "A card.", "group": "text", "modalities": ["text"], "record": "QA", "owner": "we",
        "access": "open", "shareable_inputs": True, "shareable_outputs": True, "remote_ok": True, "default_variant": "first",
        "variants": {"first": {"summary": "one"}, "second": {"summary": "two"}}, "labels": SPACES,
    }  # fmt: skip
    return Files(DatasetCard(**fields).of_variant(variant), variant, {})


@pytest.mark.parametrize(
    ("space", "raw", "meant"),
    [
        ("finding", "0", "tumour"), ("finding", 0, "tumour"), ("finding", np.int64(1), "no tumour"), ("finding", 1.0, "no tumour"),
        ("finding", np.float32(0), "tumour"), ("finding", " tumour ", "tumour"), ("finding", None, MISSING), ("finding", "", MISSING),
        ("finding", float("nan"), MISSING), ("finding", -9, MISSING), ("finding", "-9", MISSING),
        ("marks", ["O", "cyst"], frozenset({"oedema", "cyst"})), ("marks", [], frozenset()), ("marks", "C", frozenset({"cyst"})),
        ("marks", ["O", "O"], frozenset({"oedema"})), ("marks", None, MISSING),
        ("nodule", "-1", UNCERTAIN), ("nodule", -1.0, UNCERTAIN), ("nodule", "", MISSING), ("nodule", 1.0, "present"), ("nodule", "0", "absent"),
        ("size", "3.5", 3.5), ("size", 4, 4.0), ("size", 999, MISSING), ("report type", "letter", "letter"), ("report type", " ", MISSING),
    ],
)  # fmt: skip
def test_a_raw_value_means_what_the_card_says(space: str, raw: object, meant: object) -> None:
    found = files().label(space, raw)
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize(
    ("space", "raw"),
    [("finding", "Tumour"), ("finding", "Anna B."), ("finding", 2), ("finding", 0.5), ("finding", True), ("finding", ["0"]),
     ("marks", ["O", "Anna B."]), ("marks", ["O", ""]), ("marks", {"O": 1}), ("size", "Anna B."), ("size", "inf")],
)  # fmt: skip
def test_a_value_that_the_card_does_not_know_is_refused_by_the_spaces_name_alone(space: str, raw: object) -> None:
    with pytest.raises(BadValue, match=f"^'{space}' ") as caught:
        files().label(space, raw)
    assert "Anna" not in str(caught.value) and "Tumour" not in str(caught.value)


def test_the_codes_are_those_of_the_variant_and_a_code_wins_over_a_name() -> None:
    assert (files("first").answer("grade", "low"), files("second").answer("grade", "low")) == ("low", "high")
    assert files("second").answer("grade", None) is None
    with pytest.raises(BadValue, match=re.escape("the card of variant second does not know (it knows high, low)")):
        files("second").answer("grade", 7)
    assert [one.name for one in files("second").card.labels][
        -1
    ] == "grade"  # "first" is the other variant's, by its name


def test_a_reader_that_asks_for_a_space_the_card_lacks_is_told_so_and_not_row_by_row() -> None:
    with pytest.raises(
        CardError, match=r"ward: its reader needs the label space 'stage' \(on the card: finding, marks"
    ):
        files().label("stage", "II")
