"""Folding and hashing: two copies of a text have the same words, whatever their dress; two texts have not the same numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm.curate.words import BREAK, fold, gram_hashes, spans, word_hashes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "aB1 .,\n\u00e9\u2019\u6cbb\u0301\u00ad", max_size=60
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is COVID-19 fatal?", "is covid 19  fatal"),
        ("Sjögren’s syndrome", "Sjogren's Syndrome"),
        ("cafe\u0301", "café"),
        ("soft\u00adhyphen", "softhyphen"),
        ("ﬁbrosis ½", "fibrosis 1 2"),
        ("Straße", "STRASSE"),
        ("鳃弓描述，错误", "鳃 弓 描 述 错 误"),
        ("a_b", "a b"),
    ],
)
def test_case_punctuation_accents_and_spaces_do_not_count(one: str, other: str) -> None:
    assert fold(one).split() == fold(other).split()


def test_digits_and_letters_count() -> None:
    assert len({fold(text) for text in ("5 mg", "6 mg", "5 kg", "五 mg")}) == 4


@given(TEXT)
def test_every_word_is_found_again_where_it_stands_in_the_text(text: str) -> None:
    words, places = fold(text).split(), spans(text)
    assert len(words) == len(places)
    for word, (start, end) in zip(words, places, strict=True):
        assert word in fold(text[start:end]).split()


@given(TEXT)
def test_what_separates_documents_is_a_word_that_no_text_has(text: str) -> None:
    assert BREAK.strip() not in fold(text).split()


@given(st.lists(st.sampled_from(["a", "ab", "b", "ba", "the", "é"]), min_size=1, max_size=30), st.integers(1, 5))
def test_runs_have_equal_numbers_exactly_where_their_words_are_equal(words: list[str], n: int) -> None:
    folded = fold("  ".join(words))
    numbers, starts = word_hashes(folded)
    assert [m.start() for m in re.finditer(rb"[^ ]+", folded)] == starts.tolist()
    grams = gram_hashes(numbers, n)
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(grams) == max(0, len(runs))
    assert len(set(grams.tolist())) == len(set(runs)) == len(set(zip(runs, grams.tolist(), strict=True)))


def test_a_word_has_the_same_number_anywhere_and_among_many_none_is_shared() -> None:
    words = [f"w{i:x}" for i in range(60_000)]
    numbers, _ = word_hashes(" ".join(words).encode())
    assert len(np.unique(numbers)) == len(words)
    alone, _ = word_hashes(b"   " + words[777].encode())
    assert alone[0] == numbers[777]


def test_nothing_has_no_words() -> None:
    assert len(word_hashes(fold(" ?! "))[0]) == 0
    assert len(gram_hashes(word_hashes(b"one two")[0], 3)) == 0
