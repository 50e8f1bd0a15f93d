"""Scores of options: equal to lm-evaluation-harness's, and the same whatever stands beside them in a batch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CapabilityError, RunError, evaluate, load_model, open_dataset
from healthfm.evaluate.protocols import Item, make_items, sample
from healthfm.models.arithmetic import onednn, shared_prefix
from healthfm.models.language import likelihood
from healthfm.models.language.causal_lm import CausalLM


@functools.cache
def harness(model: CausalLM) -> Any:
    """lm-evaluation-harness over the same network and tokenizer."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model.network, tokenizer=model.tokenizer, batch_size=4, device="cpu")


def lm_eval_scores(model: CausalLM, items: list[Item]) -> list[np.ndarray]:
    """lm-evaluation-harness's log-likelihoods of (prompt, option) pairs."""
    from lm_eval.api.instance import Instance

    pairs = list(dict.fromkeys((item.prompt, option) for item in items for option in item.continuations))
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    found = harness(model).loglikelihood(requests, disable_tqdm=True)
    known = {pair: value for pair, (value, _) in zip(pairs, found, strict=True)}
    return [np.array([known[item.prompt, option] for option in item.continuations]) for item in items]


def medqa_items(root: Path, protocol: str, n: int) -> list[Item]:
    records = list(open_dataset("medqa", root, "test"))
    card = open_dataset("medqa", root).card
    return make_items([records[i] for i in sample(len(records), n, 0)], card.protocols[protocol])


# Questions of any length by a small network in which every token counts, and short ones by real weights.
BOTH = pytest.mark.parametrize(
    ("weights", "root", "count"), [("small_llama", "medqa_root", 8), ("smollm2", "short_medqa", 2)]
)


@BOTH
def test_letters_of_medqa_questions_score_as_in_lm_eval(
    weights: str, root: str, count: int, request: pytest.FixtureRequest
) -> None:
    model: CausalLM = request.getfixturevalue(weights)
    items = medqa_items(request.getfixturevalue(root), "letters", count)
    ours = model.score([i.prompt for i in items], [i.continuations for i in items])
    theirs = lm_eval_scores(model, items)
    assert max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) <= 1e-4
    assert [a.argmax() for a in ours] == [b.argmax() for b in theirs]


@BOTH
def test_option_texts_of_medqa_questions_score_as_in_lm_eval(
    weights: str, root: str, count: int, request: pytest.FixtureRequest
) -> None:
    model: CausalLM = request.getfixturevalue(weights)
    items = medqa_items(request.getfixturevalue(root), "text", count // 2)
    ours = model.score([i.prompt for i in items], [i.continuations for i in items])
    for a, b in zip(ours, lm_eval_scores(model, items), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-5)


def test_a_run_by_option_texts_gives_lm_evals_acc_norm(small_llama: CausalLM, medqa_root: Path, tmp_path: Path) -> None:
    """Accuracy and ``acc_norm`` of a run, beside lm_eval's task class over lm_eval's own likelihoods of the same weights."""
    import datasets
    from lm_eval.api.task import ConfigurableTask

    run = evaluate(small_llama, "medqa@text", root=medqa_root, limit=5, output=tmp_path / "run")
    items = medqa_items(medqa_root, "text", 5)
    assert [item.record.id for item in items] == run.predictions["id"].to_pylist()
    docs = [{"q": i.record.id, "c": list(i.record.options.values()), "gold": i.keys.index(i.target)} for i in items]
    names = ("acc", "acc_norm")
    task = ConfigurableTask(config={
        "task": "here", "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(docs)}, "test_split": "test",
        "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_target": "gold", "doc_to_choice": "{{c}}",
        "metric_list": [{"metric": name} for name in names],
    })  # fmt: skip
    theirs = [
        task.process_results(doc, [(float(one), False) for one in row])
        for doc, row in zip(docs, lm_eval_scores(small_llama, items), strict=True)
    ]
    for ours, name in (("accuracy", "acc"), ("acc_norm", "acc_norm")):
        assert run.metrics[ours]["value"] == pytest.approx(sum(row[name] for row in theirs) / len(theirs))


def test_scores_do_not_depend_on_batch_or_order(
    small_llama: CausalLM, medqa_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = medqa_items(medqa_root, "text", 4)
    prompts, options = [i.prompt for i in items], [i.continuations for i in items]
    together = small_llama.score(prompts, options)
    backwards = small_llama.score(prompts[::-1], options[::-1])[::-1]
    monkeypatch.setitem(likelihood.TOKENS_PER_BATCH, "cpu", 1)
    alone = small_llama.score(prompts, options)
    for a, b, c in zip(together, backwards, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-4)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize(
    ("weights", "protocol", "shots", "count"),
    [("small_llama", "letters", 0, 5), ("small_llama", "text", 0, 5), ("small_llama", "letters", 3, 5), ("small_llama", "text", 3, 5),
     ("smollm2", "letters", 2, 2)],
)  # fmt: skip
def test_packing_and_prefix_sharing_change_nothing(
    weights: str, protocol: str, shots: int, count: int, request: pytest.FixtureRequest
) -> None:
    model: CausalLM = request.getfixturevalue(weights)
    root = request.getfixturevalue("medqa_root" if weights == "small_llama" else "short_medqa")
    opened = open_dataset("medqa", root, "test")
    records = list(opened)
    items = make_items(records[5 : 5 + count], opened.card.protocols[protocol], records[:shots])  # type: ignore[arg-type]
    prompts, options = [i.prompt for i in items], [i.continuations[:count] for i in items]
    questions = [likelihood.encode(model, p, o) for p, o in zip(prompts, options, strict=True)]
    prefix = likelihood.common_prefix([q.context for q in questions])
    assert (len(prefix) > 100) == (shots > 0)
    plain = likelihood._score_plain(model, questions)
    for _ in range(2):  # the second time the prefix is kept
        for a, b in zip(model.score(prompts, options), plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-4)


def test_a_kept_prefix_gives_the_same_bytes_as_a_new_one(small_llama: CausalLM, medqa_root: Path) -> None:
    opened = open_dataset("medqa", medqa_root, "test")
    records = list(opened)
    items = make_items(records[5:9], opened.card.protocols["letters"], records[:2])  # type: ignore[arg-type]
    prompts, options = [i.prompt for i in items], [i.continuations for i in items]
    small_llama.kept_prefix = None
    new = small_llama.score(prompts, options)
    kept = small_llama.score(prompts, options)
    small_llama.score(["Something else entirely, and long enough. " * 20 + end for end in "ab"], [[" x", " y"]] * 2)
    again = small_llama.score(prompts, options)
    for a, b, c in zip(new, kept, again, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


@pytest.mark.parametrize("protocol", ["letters", "text"])
def test_attending_to_a_prefix_that_stands_once_equals_attending_to_copies_of_it(
    small_llama: CausalLM, medqa_root: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    opened = open_dataset("medqa", medqa_root, "test")
    records = list(opened)
    items = make_items(records[5:9], opened.card.protocols[protocol], records[:2])  # type: ignore[arg-type]
    prompts, options = [i.prompt for i in items], [i.continuations for i in items]
    assert shared_prefix.available(small_llama.network)
    once = small_llama.score(prompts, options)
    monkeypatch.setattr(shared_prefix, "available", lambda network: False)
    for a, b in zip(once, small_llama.score(prompts, options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-4)


def test_a_prefix_that_gets_half_the_weight_would_score_otherwise(
    small_llama: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of joining the two softmaxes by their log-sum-exp."""
    start = (
        "The patient has had a cough and a fever for three days and lives with two dogs and an old parrot in town. " * 2
    )
    prompts, options = (
        [start + "The likely organ is the", start + "The likely animal is the"],
        [[" lung", " parrot"]] * 2,
    )
    right = small_llama.score(prompts, options)
    monkeypatch.setattr(torch, "sigmoid", lambda x: torch.full_like(x, 0.5))
    wrong = small_llama.score(prompts, options)
    assert max(np.abs(a - b).max() for a, b in zip(right, wrong, strict=True)) > 0.1


def test_a_branch_that_saw_its_siblings_would_score_otherwise(
    small_llama: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the packed mask."""
    prompt, options = "Metformin is a drug for", [" high blood pressure of the lung", " type 2 diabetes in adults"]
    right = small_llama.score([prompt], [options])[0]
    monkeypatch.setattr(
        likelihood, "_visible", lambda starts, length, longest: torch.ones(longest, longest, dtype=torch.bool).tril()
    )
    assert np.abs(small_llama.score([prompt], [options])[0] - right).max() > 0.1


def test_options_that_repeat_or_begin_alike_are_scored_alike(smollm2: CausalLM) -> None:
    first, again, longer = smollm2.score(["The heart pumps"], [[" blood", " blood", " blood through the body"]])[0]
    assert first == again
    assert longer < first


def test_the_network_is_unchanged_after_scoring(smollm2: CausalLM) -> None:
    before = {name: module.forward for name, module in smollm2.network.named_modules()}
    smollm2.score(["a b c"], [[" d", " e"]])
    after = {name: module.forward for name, module in smollm2.network.named_modules()}
    assert before == after


def test_changed_weights_are_packed_anew() -> None:
    layer = torch.nn.Linear(8, 8)
    network = torch.nn.Sequential(layer)
    x = torch.randn(3, 8)
    with torch.inference_mode(), onednn.packed_linear(network):
        first = network(x)
    with torch.no_grad():
        layer.weight.mul_(2)
    with torch.inference_mode(), onednn.packed_linear(network):
        second = network(x)
    torch.testing.assert_close(second - layer.bias, 2 * (first - layer.bias))
    torch.testing.assert_close(second, network(x))


def test_a_score_is_the_sum_over_the_logits(smollm2: CausalLM) -> None:
    prompt, option = "Aspirin is used to treat", " mild pain and fever"
    context, whole = smollm2.encode(prompt), smollm2.encode(prompt + option)
    logits = torch.from_numpy(smollm2.logits([whole])[0]).double().log_softmax(-1)
    expected = sum(float(logits[i - 1, whole[i]]) for i in range(len(context), len(whole)))
    # float32 of two kinds of products (``fast_linear``): 1.1e-4 apart on one thread, where float64 lies between them
    assert smollm2.score([prompt], [[option]])[0][0] == pytest.approx(expected, abs=2e-4)


def test_white_space_at_the_prompts_end_moves_to_the_option(smollm2: CausalLM) -> None:
    spaced, plain = smollm2.score(["The answer is ", "The answer is"], [["yes", "no"], [" yes", " no"]])
    np.testing.assert_allclose(spaced, plain, atol=1e-5)
    kept = smollm2.score(["The answer is"], [["yes", "no"]])[0]
    assert np.abs(kept - plain).max() > 0.5


def test_preprocess_pads_on_the_right(smollm2: CausalLM) -> None:
    batch = smollm2.preprocess(["one two three", "one"])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["attention_mask"].sum(1).tolist() == [len(smollm2.encode("one two three")), len(smollm2.encode("one"))]


def test_too_long_a_prompt_is_refused_not_cut(smollm2: CausalLM) -> None:
    with pytest.raises(RunError, match=r"takes 8192: use fewer shots"):
        smollm2.score(["word " * 9000], [[" a", " b"]])


@pytest.mark.parametrize(
    ("prompts", "options", "reason"), [([""], [["a"]], "empty prompt"), (["a"], [], "lists of options")]
)
def test_calls_that_make_no_sense_are_refused(
    smollm2: CausalLM, prompts: list[str], options: list[list[str]], reason: str
) -> None:
    with pytest.raises(RunError, match=reason):
        smollm2.score(prompts, options)


def test_verbs_it_lacks_are_refused() -> None:
    def constant(prompts: list[str], options: list[list[str]]) -> list[np.ndarray]:
        return [np.zeros(len(choices)) for choices in options]

    model = load_model(constant, verb="score", card={"slug": "constant", "name": "Constant"})
    assert model.capabilities == {"score"}
    assert model.score(["a"], [["b", "c"]])[0].tolist() == [0, 0]
    with pytest.raises(CapabilityError, match="constant cannot logits; it can score"):
        model.logits([[1]])
    with pytest.raises(CapabilityError, match="say which verb"):
        load_model(constant, card={"slug": "constant"})
