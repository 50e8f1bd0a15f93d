"""Counts of bytes as a language model: equal to the rule written out with dictionaries, and a distribution."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest

from healthfm.adapt.byte_model import ORDER, ByteModel

TRAIN = ["The heart has four chambers.", "The heart beats.", "naïve β-blocker", "a"]
TEST = ["The heart has rhythm.", "β", "", "zzz\n\nThe", TRAIN[0]]


def by_dictionaries(train: list[str], text: str, of: int | None = None) -> float:
    """Return the log-likelihood of a text; ``of``: the chance of this byte behind the text instead."""
    after: dict[bytes, Counter[int]] = defaultdict(Counter)
    for one in train:
        line = bytes(ORDER) + one.encode()
        for i in range(ORDER, len(line)):
            for order in range(ORDER + 1):
                after[line[i - order : i]][line[i]] += 1

    def chance(before: bytes, byte: int) -> float:
        found = 1 / 256
        for order in range(ORDER + 1):
            counts = after.get(before[len(before) - order :])
            if counts:
                n, t = sum(counts.values()), len(counts)
                found = (counts[byte] + t * found) / (n + t)
        return found

    line = bytes(ORDER) + text.encode()
    if of is not None:
        return chance(line[-ORDER:], of)
    return sum(math.log(chance(line[i - ORDER : i], line[i])) for i in range(ORDER, len(line)))


def test_it_is_witten_and_bells_rule_and_a_text_does_not_depend_on_those_beside_it() -> None:
    found = ByteModel(TRAIN).log_likelihoods(TEST)
    assert found == pytest.approx([by_dictionaries(TRAIN, one) for one in TEST], rel=1e-12)
    assert found[2] == 0 and ByteModel(TRAIN).log_likelihoods(TEST[:1]) == pytest.approx(found[:1])
    assert sum(by_dictionaries(TRAIN, "The heart ", byte) for byte in range(256)) == pytest.approx(1)
    assert ByteModel([]).log_likelihoods(["ab"]) == pytest.approx([2 * math.log(1 / 256)])
