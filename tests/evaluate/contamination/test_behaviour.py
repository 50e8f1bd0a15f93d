"""The probes give what the authors' scripts printed, and tell a model that knows the texts from one that does not."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import healthfm as hfm
from healthfm.curate.corpus import text_of
from healthfm.datasets.open import open_dataset
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate.contamination import behaviour, min_k, option_order
from healthfm.evaluate.contamination.min_k import min_k_plus_plus
from healthfm.records import MultipleChoice
from tests.conftest import PROJECT

EXPECTED = json.loads((PROJECT / "tests/data/expected/contamination_probes.json").read_text())


@pytest.fixture(scope="module")
def questions(medqa_root: Path) -> list[MultipleChoice]:
    return list(open_dataset("medqa", medqa_root, "test"))  # type: ignore[arg-type]


def test_min_k_plus_plus_equals_what_the_authors_script_computes(smollm2: Any, questions: list[MultipleChoice]) -> None:
    """Real weights; the script works in float32, so a hundredth of a thousandth may differ."""
    stored = zip(questions, EXPECTED["min_k"]["scores"], strict=False)
    for record, theirs in sorted(stored, key=lambda one: len(text_of(one[0])))[:2]:
        ids = smollm2.encode(text_of(record))
        assert min_k_plus_plus(smollm2.logits([ids])[0], ids) == pytest.approx(theirs, abs=2e-4)


def test_orders_of_options_have_the_likelihoods_that_the_authors_script_sums(
    smollm2: Any, questions: list[MultipleChoice]
) -> None:
    """Their sums begin behind the first letter, which no order changes, so they are equal but for a constant."""
    stored = zip(questions, EXPECTED["order"]["log_likelihoods"], strict=False)
    question, theirs = min(stored, key=lambda one: len(text_of(one[0])))
    texts = [question.options[key] for key in "ABCD"]
    blocks = ["A:{}\nB:{}\nC:{} \nD:{}\n".format(*order) for order in itertools.permutations(texts)]
    some = range(0, 24, 5)  # each is read for itself
    ours = smollm2.score([f"\n{question.question}:\n"], [[blocks[i] for i in some]])[0]
    assert ours - ours[0] == pytest.approx(np.array(theirs)[::5] - theirs[0], abs=2e-3)
    assert float(EXPECTED["order"]["printed"]) == np.mean(
        [np.argmax(sums) == 0 for sums in EXPECTED["order"]["log_likelihoods"]]
    )


def test_min_k_plus_plus_of_a_hand_worked_text() -> None:
    """Two tokens with chances 3/4 and 1/4 at each of ten places: mean and deviation of the log-chance are known."""
    logits = np.tile(np.log([0.75, 0.25]), (11, 1)).astype(np.float32)
    ids = [0] + [0] * 9 + [1]
    mean = 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    deviation = math.sqrt(0.75 * (math.log(0.75) - mean) ** 2 + 0.25 * (math.log(0.25) - mean) ** 2)
    lowest = [(math.log(0.25) - mean) / deviation, (math.log(0.75) - mean) / deviation]
    assert min_k_plus_plus(logits, ids) == pytest.approx(np.mean(lowest), abs=1e-6)
    assert math.isnan(min_k_plus_plus(logits[:5], ids[:5]))


class Knows:
    """A model over 12 characters that finds each text of ``read`` likely to go on as it does."""

    max_length = 400
    alphabet = "abcdefghijk "

    def __init__(self, read: list[str]) -> None:
        self.read = read

    def encode(self, text: str) -> list[int]:
        return [self.alphabet.index(c) for c in text.lower() if c in self.alphabet]

    def logits(self, token_ids: list[list[int]]) -> list[Any]:
        found = []
        for ids in token_ids:
            rows = np.random.default_rng(sum(ids)).normal(0, 1, (len(ids), len(self.alphabet))).astype(np.float32)
            if ids in [self.encode(text) for text in self.read]:
                rows[np.arange(len(ids) - 1), ids[1:]] += 2
            found.append(rows)
        return found


def texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(Knows.alphabet), 60)) + f" {i}" for i in range(n)]


def jsonl(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return path


CARD = {"slug": "toy", "name": "Toy", "summary": "A toy."}


def loaded(target: Any) -> hfm.Model:
    model = hfm.load_model(target, card=CARD)
    for name in ("encode", "max_length"):
        if hasattr(target, name):
            setattr(model, name, getattr(target, name))
    return model


def test_texts_a_model_knows_are_told_from_a_reference_and_others_are_not(tmp_path: Path) -> None:
    known, other, reference = texts(30, 1), texts(30, 2), jsonl(tmp_path / "reference.jsonl", texts(40, 3))
    model = loaded(Knows(known))
    seen = behaviour(model, jsonl(tmp_path / "known.jsonl", known), reference=reference)
    unseen = behaviour(model, jsonl(tmp_path / "other.jsonl", other), reference=reference)
    assert seen.min_k is not None and unseen.min_k is not None
    assert seen.min_k["reference"]["auroc"] > 0.95 and "more familiar than the reference" in seen.says[0]
    assert unseen.min_k["reference"]["low"] < 0.5 < unseen.min_k["reference"]["high"]
    assert "not told apart from the reference" in unseen.says[0]
    assert seen.min_k["mean"]["low"] < seen.min_k["mean"]["value"] < seen.min_k["mean"]["high"]
    assert min_k.CAUTION in seen.says and (seen.n, seen.min_k["n"], seen.min_k["reference"]["n"]) == (30, 30, 30)


def test_without_a_reference_the_score_is_not_judged(tmp_path: Path) -> None:
    found = behaviour(loaded(Knows([])), jsonl(tmp_path / "t.jsonl", texts(6, 1)), limit=4)
    assert found.n == 4 and "it cannot be judged" in found.says[0] and found.order is None
    with pytest.raises(RunError, match="fewer than two texts"):
        behaviour(loaded(Knows([])), tmp_path / "t.jsonl", reference=jsonl(tmp_path / "one.jsonl", ["abc"]))


class Orders:
    """Scores blocks of options at random, or the printed order of the questions it has read highest."""

    def __init__(self, read: set[str]) -> None:
        self.read = read

    def score(self, prompts: list[str], options: list[list[str]]) -> list[Any]:
        found = []
        for prompt, blocks in zip(prompts, options, strict=True):
            row = np.random.default_rng(list(prompt.encode())).normal(0, 1, len(blocks))
            row[0] += 9 * (prompt.strip().removesuffix(":") in self.read)
            found.append(row)
        return found


def exam(n: int, options: tuple[str, ...] = ("pear", "apple", "quince", "fig")) -> list[MultipleChoice]:
    rng = np.random.default_rng(n)
    return [
        MultipleChoice(id=f"q{i}", question="".join(rng.choice(list("abcdefgh"), 20 + i)), options=dict(zip("ABCDEF", options, strict=False)))
        for i in range(n)
    ]  # fmt: skip


def test_printed_orders_a_model_knows_are_counted_and_tested_exactly() -> None:
    asked = exam(60)
    known = option_order.probe(loaded(Orders({q.question for q in asked[:30]})), asked)
    assert (
        known["likeliest"] >= 30
        and known["p"] < 1e-20
        and (known["n"], known["orders"], known["left_out"]) == (60, 24, 0)
    )
    assert known["chance"] == pytest.approx(1 / 24) and known["low"] < known["share"] < known["high"]
    unknown = option_order.probe(loaded(Orders(set())), asked)
    assert unknown["p"] > 0.001 and unknown["mean_rank"]["low"] < 0.5 < unknown["mean_rank"]["high"]


@pytest.mark.parametrize(
    "options",
    [("1 mg", "2 mg", "5 mg", "10 mg"), ("30 %", "20 %", "10 %", "5 %"), ("apple", "fig", "pear", "quince"), ("pear", "apple", "fig", "None of the above"), ("b", "a")],
)  # fmt: skip
def test_orders_that_have_a_reason_are_left_out(options: tuple[str, ...]) -> None:
    found = option_order.probe(loaded(Orders(set())), exam(5, options))
    assert (found["n"], found["left_out"], found["p"]) == (0, 5, None)


def test_questions_with_other_numbers_of_options_have_their_own_chance() -> None:
    mixed = [*exam(20, ("pear", "apple", "fig")), *exam(20, ("pear", "apple", "quince", "fig", "nut"))]
    found = option_order.probe(loaded(Orders({q.question for q in mixed})), mixed)
    assert found["likeliest"] == 40 and found["chance"] == pytest.approx((1 / 6 + 1 / 24) / 2)
    assert found["p"] == pytest.approx((1 / 6) ** 20 * (1 / 24) ** 20, rel=1e-6)


@pytest.mark.parametrize("hits", range(7))
def test_the_p_of_orders_counts_as_many_hits_or_more(hits: int) -> None:
    """Also where fewer were hit than by chance: a model that knows no order is no finding. Held against every outcome, one by one."""
    for asked in ([1 / 6] * 6, [1 / 6] * 3 + [1 / 2] * 3):
        outcomes = itertools.product((True, False), repeat=6)
        expected = sum(
            math.prod(p if hit else 1 - p for p, hit in zip(asked, one, strict=True)) for one in outcomes if sum(one) >= hits
        )  # fmt: skip
        assert option_order._p_at_least(hits, asked) == pytest.approx(expected)


def test_a_tie_counts_against_the_printed_order() -> None:
    flat = loaded(type("Flat", (), {"score": lambda self, prompts, options: [np.zeros(len(o)) for o in options]})())
    assert option_order.probe(flat, exam(5))["likeliest"] == 0


def test_what_a_model_cannot_do_is_said(tmp_path: Path, medqa_root: Path) -> None:
    only_score = behaviour(loaded(Orders(set())), "medqa", root=medqa_root, split="test", limit=12)
    assert only_score.min_k is None and only_score.says[0] == "Min-K%++ was not computed: the model gives no logits."
    assert only_score.order is not None and only_score.order["n"] + only_score.order["left_out"] == 12
    assert option_order.CAUTION in only_score.says
    with pytest.raises(CapabilityError, match="gives no likelihoods to probe"):
        behaviour(loaded(Orders(set())), jsonl(tmp_path / "t.jsonl", texts(3, 1)))


def test_the_same_seed_draws_the_same_sample(medqa_root: Path) -> None:
    asked = [
        behaviour(loaded(Orders(set())), "medqa", root=medqa_root, split="test", limit=10, seed=s).asdict()
        for s in (1, 1, 2)
    ]
    assert asked[0] == asked[1] and asked[0]["order"] != asked[2]["order"]


@pytest.mark.parametrize(
    ("options", "has"),
    [
        (["500 mg", "1,000 mg", "2,500 mg", "10,000 mg"], True),
        (["−2 D", "−1 D", "1 D"], True),
        (["1,5 mg", "2 mg", "2,5 mg"], True),
        (["甲状腺", "肝", "以上都是"], True),
        (["38℃以上", "36℃", "37℃"], False),
        (["1,000 mg", "500 mg", "2,000 mg"], False),
    ],
)
def test_an_order_by_size_or_an_option_about_the_others_is_a_reason(options: list[str], has: bool) -> None:
    assert option_order._has_a_reason(options) is has
