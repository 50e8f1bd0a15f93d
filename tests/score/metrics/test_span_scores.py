"""Exact match and token F1 beside the published scorers of MLQA (seven languages) and CMRC 2018 (Chinese) on the same answers.

``tests/references/make_span_scores.py`` ran their code; what it gave stands in ``span_scores.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from healthfm.score.metrics import text
from tests.references.span_answers import CASES, CHINESE, DIFFERENT, OTHERS

THEIRS = json.loads((Path(__file__).parents[2] / "data/expected/span_scores.json").read_text(encoding="utf-8"))
MLQA = dict(zip(CASES, THEIRS["mlqa"], strict=True))
WIDE = OTHERS[0]


def ours(answer: str, written: str) -> list[float]:
    return [text.exact_match(written, [answer]), text.token_f1(written, [answer])]


@pytest.mark.parametrize("case", [one for one in CASES if one not in (*DIFFERENT, WIDE)])
def test_both_are_mlqas_in_chinese_and_in_languages_with_blanks(case: tuple[str, str, str]) -> None:
    assert ours(*case[1:]) == pytest.approx(MLQA[case])


def test_full_width_letters_are_the_same_letters_where_mlqa_takes_them_for_others() -> None:
    assert ours(*WIDE[1:]) == [1, 1] and MLQA[WIDE][0] == 0


def test_signs_decimal_points_and_the_letter_a_count_where_mlqa_drops_them() -> None:
    for case in DIFFERENT:
        assert MLQA[case] == [1, 1] and ours(*case[1:])[0] == 0 and ours(*case[1:])[1] < 1


def test_exact_match_is_cmrcs_and_its_f1_of_the_longest_shared_run_is_never_above_ours() -> None:
    for pair, (exact, f1) in zip(CHINESE, THEIRS["cmrc"], strict=True):
        assert ours(*pair)[0] == exact
        assert ours(*pair)[1] >= f1 - 1e-12
    at = CHINESE.index(("急性阑尾炎", "阑尾炎"))
    assert THEIRS["cmrc"][at][1] == pytest.approx(ours(*CHINESE[at])[1])  # one run: the same
