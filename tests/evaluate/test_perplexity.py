"""Perplexity: every token of a text asked once, and the numbers lm-evaluation-harness prints for the same texts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm import CapabilityError, evaluate, load_model
from healthfm.evaluate import perplexity
from healthfm.models.language.causal_lm import CausalLM


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 20))
def test_windows_are_those_of_the_harness(ids: list[int], longest: int) -> None:
    from lm_eval.utils import get_rolling_token_windows

    theirs = get_rolling_token_windows(ids, prefix_token=99, max_seq_len=longest, context_len=1)
    assert list(perplexity.windows(ids, 99, longest)) == [(list(given), list(asked)) for given, asked in theirs]


def test_the_numbers_are_the_harness_own(
    small_llama: CausalLM, pubmedqa_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 128 tokens, so that every text has several; ``HFLM`` with the same weights and the same limit."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity
    from lm_eval.models.huggingface import HFLM

    monkeypatch.setattr(perplexity, "WINDOW", 128)
    run = evaluate(small_llama, "pubmedqa", root=pubmedqa_root, task="perplexity", limit=3, output=tmp_path / "run")
    from healthfm import open_dataset

    texts = {r.id: perplexity.whole_text(r) for r in open_dataset("pubmedqa", pubmedqa_root, "test")}
    harness = HFLM(pretrained=small_llama.network, tokenizer=small_llama.tokenizer, max_length=128, batch_size=1)
    table = run.predictions.to_pylist()
    asked = [Instance("loglikelihood_rolling", {}, (texts[row["id"]],), 0) for row in table]
    theirs = harness.loglikelihood_rolling(asked, disable_tqdm=True)
    for row, value in zip(table, theirs, strict=True):
        assert row["log_likelihood"] == pytest.approx(value, abs=1e-2)
        assert row["tokens"] > 2 * 128
        assert row["bytes"] == len(texts[row["id"]].encode())
    by_word = [(value, row["words"]) for value, row in zip(theirs, table, strict=True)]
    by_byte = [(value, row["bytes"]) for value, row in zip(theirs, table, strict=True)]
    assert run.metrics["word_perplexity"]["value"] == pytest.approx(weighted_perplexity(by_word), rel=1e-4)
    assert run.metrics["byte_perplexity"]["value"] == pytest.approx(weighted_perplexity(by_byte), rel=1e-4)
    assert run.metrics["bits_per_byte"]["value"] == pytest.approx(bits_per_byte(by_byte), rel=1e-4)
    found = run.scores["baselines"]  # random weights know less than counts of bytes
    [rival] = found["rivals"]
    assert (found["metric"], rival["name"], found["fit_on"]) == ("bits_per_byte", "bytes", "train") and rival["n"] == 3
    assert 1.5 < rival["value"] < 3 < run.metrics["bits_per_byte"]["value"] and not found["strongest"]["beats"]


def test_a_text_in_one_window_is_the_sum_of_its_tokens(smollm2: CausalLM) -> None:
    ids = smollm2.tokenizer.encode("The heart has four chambers.", add_special_tokens=False)  # type: ignore[union-attr]
    before = smollm2.tokenizer.bos_token_id  # type: ignore[union-attr]
    logits = smollm2.logits([[before, *ids]])[0].astype(np.float64)
    logs = (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - logits.max(-1, keepdims=True)
    )
    expected = sum(logs[i, token] for i, token in enumerate(ids))
    value, tokens = perplexity.log_likelihood(smollm2, "The heart has four chambers.")
    assert tokens == len(ids) and math.isclose(value, expected, abs_tol=1e-6)


def test_a_model_without_a_tokenizer_here_is_refused(pubmedqa_root: Path, tmp_path: Path) -> None:
    bare = load_model(
        lambda ids: [np.zeros((len(one), 9)) for one in ids], verb="logits", card={"slug": "bare", "name": "B"}
    )
    with pytest.raises(CapabilityError, match="needs the model's tokenizer here"):
        evaluate(bare, "pubmedqa", root=pubmedqa_root, task="perplexity", limit=1, output=tmp_path / "run")
