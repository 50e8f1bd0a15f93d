"""Log-likelihoods of options given prompts, with a causal language model.

The boundary rule is lm-evaluation-harness's: prompt and option are encoded together and cut where the prompt alone ends; a
prompt that begins with the start token's own text gets no other. An end token that the tokenizer adds is left off both.

What several rows share is computed once: the tokens that all prompts begin with (their keys and values are kept for the
next call), the question for all of its options (packed behind it, each blind to the others), and the projection to the
vocabulary only where a log-probability is needed. Networks without rotary positions take the plain road: one row an
option, and so do those of which nothing is known (``TextModel.packs``), by their own logits; where the positions' frequencies
depend on the longest row, one row at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import transformers

from healthfm.errors import RunError
from healthfm.models.arithmetic import onednn, shared_prefix
from healthfm.models.language import framing
from healthfm.models.language.rendered import Rendered, text_given
from healthfm.models.language.text_model import TextModel
from healthfm.models.model import Float64

TOKENS_PER_BATCH = {"cpu": 512, "cuda": 16_384}  # padded tokens of one pass: what a cache holds, or what fills a GPU
KEPT_PER_BATCH = 32_768  # tokens whose keys and values one pass may hold
PREFIX_STEP = 32  # a shared beginning is cut to a multiple of this, so that its cache serves the next call
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """A prompt's token ids and those of its options."""

    context: Tokens
    continuations: tuple[Tokens, ...]

    @property
    def branches(self) -> list[Tokens]:
        """What must be read after the prompt: each option but its last token, none twice."""
        return list(dict.fromkeys(c[:-1] for c in self.continuations if len(c) > 1))

    @property
    def length(self) -> int:
        """Tokens of the packed row."""
        return len(self.context) + sum(map(len, self.branches))


def score(model: TextModel, prompts: Sequence[str | Rendered], options: Sequence[Sequence[str]]) -> list[Float64]:
    """Return the summed log-likelihood of each prompt's options.

    The numbers do not depend on what else is scored beside a prompt, to float32 rounding.
    """
    if len(prompts) != len(options):
        raise RunError(f"{len(prompts)} prompts but {len(options)} lists of options")
    questions = [encode(model, text_given(prompt), choices) for prompt, choices in zip(prompts, options, strict=True)]
    if not _can_pack(model, questions):
        return _score_plain(model, questions)
    prefix = common_prefix([question.context for question in questions])
    scores: list[Float64] = [np.zeros(0)] * len(questions)
    with torch.inference_mode(), onednn.packed_linear(model.network) if model.fast_linear else nullcontext():
        for batch in _batches(model, [question.length - len(prefix) for question in questions], len(prefix)):
            hidden = _forward(model, prefix, [questions[i] for i in batch])
            for i, sums in zip(batch, _sums(model, [questions[i] for i in batch], hidden), strict=True):
                scores[i] = sums
    return scores


def encode(model: TextModel, prompt: str, options: Sequence[str]) -> Question:
    """Return a prompt and its options as token ids. Raises ``RunError``: empty prompt or option, or too long."""
    context = prompt.rstrip()
    if not context:
        raise RunError("an empty prompt cannot be scored")
    start = framing.once_opened(model, context)
    found = []
    for option in options:
        continuation = framing.once_opened(model, prompt + option)[len(start) :]
        if not continuation:
            raise RunError("an option adds no token to its prompt")
        if len(start) + len(continuation) > model.max_length + 1:
            raise RunError(
                f"a prompt with its option has {len(start) + len(continuation)} tokens; {model.name} takes {model.max_length}: "
                "use fewer shots or a shorter context"
            )
        found.append(tuple(continuation))
    return Question(tuple(start), tuple(found))


def common_prefix(contexts: Sequence[Tokens]) -> Tokens:
    """Return the tokens that all contexts begin with, cut to a multiple of ``PREFIX_STEP`` and short of any whole context."""
    if len(contexts) < 2:
        return ()
    first, last = min(contexts), max(contexts)
    shortest = min(map(len, contexts)) - 1
    same = next((i for i in range(shortest) if first[i] != last[i]), shortest)
    return first[: max(0, same) // PREFIX_STEP * PREFIX_STEP]


def _can_pack(model: TextModel, questions: Sequence[Question]) -> bool:
    """Whether rows may be packed: their positions are rotary, and the mask that a packed row spells out hides no sliding window."""
    if not model.packs:
        return False
    window = getattr(model.network.config, "sliding_window", None)
    rotary = hasattr(model.network.get_decoder(), "rotary_emb") and not _stretches(model)
    return rotary and (window is None or all(question.length <= window for question in questions))


def _stretches(model: TextModel) -> bool:
    """Whether the positions' frequencies follow from the longest row of a batch, so that rows are not independent."""
    rope = getattr(model.network.config, "rope_parameters", None) or {}
    return rope.get("rope_type") in ("dynamic", "longrope")


def _batches(model: TextModel, lengths: Sequence[int], prefix: int) -> Iterator[list[int]]:
    """Yield indices of rows, shortest first, in batches that fit both budgets."""
    budget = 1 if _stretches(model) else TOKENS_PER_BATCH.get(model.network.device.type, TOKENS_PER_BATCH["cuda"])
    if not model.packs:  # logits of every token are held
        budget = min(budget, TOKENS_PER_BATCH["cpu"])
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        rows = len(batch) + 1
        if batch and (rows * lengths[i] > budget or rows * (lengths[i] + prefix) > KEPT_PER_BATCH):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _forward(model: TextModel, prefix: Tokens, batch: Sequence[Question]) -> list[torch.Tensor]:
    """Return, for each question, the hidden states [length without prefix, d] of its packed row."""
    device = model.network.device
    rows = [_pack(question, len(prefix)) for question in batch]
    longest = max(len(tokens) for tokens, _, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, (tokens, places, _) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        positions[i, : len(tokens)] = torch.tensor(places)
        positions[i, len(tokens) :] = torch.arange(longest - len(tokens)) + places[-1] + 1
    seen = None
    if any(question.branches for question in batch):
        seen = torch.stack([_visible(starts, len(tokens), longest) for tokens, _, starts in rows])[:, None]
    decoder, given = model.network.get_decoder(), {"input_ids": ids.to(device), "position_ids": positions.to(device)}
    if not prefix:
        out = decoder(**given, use_cache=False, attention_mask=None if seen is None else seen.to(device))
    elif shared_prefix.available(model.network):
        blind = (
            None if seen is None else torch.zeros(seen.shape, dtype=model.network.dtype).masked_fill(~seen, -torch.inf)
        )
        kept = _kept(model, prefix)
        with shared_prefix.attending(model.network):
            out = decoder(**given, use_cache=False, attention_mask=blind, shared_prefix=kept)
    else:
        if seen is not None:
            before = torch.ones(len(rows), 1, longest, len(prefix), dtype=torch.bool)
            seen = torch.cat([before, seen], dim=3).to(device)
        out = decoder(**given, use_cache=True, attention_mask=seen, past_key_values=_past(model, prefix, len(rows)))
    return [out.last_hidden_state[i, : len(tokens)] for i, (tokens, _, _) in enumerate(rows)]


def _pack(question: Question, skip: int) -> tuple[Tokens, list[int], list[int]]:
    """Return a row's tokens without the shared prefix, their positions, and where each branch starts."""
    own = question.context[skip:]
    tokens, places, starts = list(own), list(range(skip, len(question.context))), []
    for branch in question.branches:
        starts.append(len(tokens))
        tokens += branch
        places += range(len(question.context), len(question.context) + len(branch))
    return tuple(tokens), places, starts


def _visible(starts: Sequence[int], length: int, longest: int) -> torch.Tensor:
    """Return which token sees which, bool [longest, longest]: the past, but never another branch."""
    seen = torch.ones(longest, longest, dtype=torch.bool).tril()
    for start, end in itertools.pairwise([*starts, length]):
        seen[start:end, starts[0] : start] = False
    return seen


def _kept(model: TextModel, prefix: Tokens) -> shared_prefix.Layers:
    """Return the keys and values of the shared prefix; the last prefix's are kept on the model."""
    if model.kept_prefix is None or model.kept_prefix[0] != prefix:
        ids = torch.tensor([prefix], device=model.network.device)
        past = model.network.get_decoder()(input_ids=ids, use_cache=True).past_key_values
        model.kept_prefix = (prefix, [(layer.keys, layer.values) for layer in past.layers])
    return model.kept_prefix[1]


def _past(model: TextModel, prefix: Tokens, rows: int) -> transformers.DynamicCache:
    """Return a copy of the shared prefix's keys and values for each row of a batch."""
    cache = transformers.DynamicCache()
    for i, (keys, values) in enumerate(_kept(model, prefix)):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), i)
    return cache


def _sums(model: TextModel, batch: Sequence[Question], hidden: Sequence[torch.Tensor]) -> Iterator[Float64]:
    """Yield the log-likelihoods of each question's options from its row's hidden states."""
    counts = [sum(map(len, question.branches)) + 1 for question in batch]  # the prompt's last token, then every branch
    logs = _logs(model, torch.cat([states[-count:] for states, count in zip(hidden, counts, strict=True)]))
    for question, mine in zip(batch, logs.split(counts), strict=True):
        starts, at = {(): 1}, 1
        for branch in question.branches:
            starts[branch] = at
            at += len(branch)
        sums = []
        for tokens in question.continuations:
            start = starts[tokens[:-1]]
            rows = [0, *range(start, start + len(tokens) - 1)]
            sums.append(float(mine[rows, list(tokens)].double().sum()))
        yield np.array(sums)


def _logs(model: TextModel, states: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of every token behind each hidden state, float32 [n, vocabulary]."""
    return torch.log_softmax(model.network.get_output_embeddings()(states).float(), dim=-1)


def _score_plain(model: TextModel, questions: Sequence[Question]) -> list[Float64]:
    """Score with one row an option, equal rows once."""
    rows: dict[Tokens, list[tuple[int, int]]] = {}
    for q, question in enumerate(questions):
        for o, tokens in enumerate(question.continuations):
            rows.setdefault(question.context + tokens[:-1], []).append((q, o))
    scores = [np.zeros(len(question.continuations)) for question in questions]
    order = sorted(rows, key=lambda row: (len(row), row))
    with torch.inference_mode(), onednn.packed_linear(model.network) if model.fast_linear else nullcontext():
        for batch in _batches(model, [len(row) for row in order], 0):
            inputs = {name: one.to(model.network.device) for name, one in model.pad([order[i] for i in batch]).items()}
            if model.packs:
                found = model.network.get_decoder()(**inputs, use_cache=False).last_hidden_state
            else:
                found = model.network(**inputs, use_cache=False).logits
            for i, states in zip(batch, found, strict=True):
                for q, o in rows[order[i]]:
                    tokens = questions[q].continuations[o]
                    needed = states[len(order[i]) - len(tokens) : len(order[i])]
                    logs = _logs(model, needed) if model.packs else torch.log_softmax(needed.float(), dim=-1)
                    scores[q][o] = float(logs[range(len(tokens)), list(tokens)].double().sum())
    return scores
