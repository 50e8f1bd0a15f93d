"""Log-likelihoods of options given prompts, with a causal language model.

The boundary rule is lm-evaluation-harness's: prompt and option are encoded together and cut where the prompt alone ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from healthfm.errors import RunError
from healthfm.models.model import Float64
from healthfm.models.text import TextModel

TOKENS_PER_BATCH = 4096
Tokens = tuple[int, ...]


def score(model: TextModel, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Float64]:
    """Return the summed log-likelihood of each prompt's options.

    Equal rows are computed once (the single-token options of a question share one row), rows are sorted by length,
    and the vocabulary projection is applied only where a log-probability is needed.
    """
    if len(prompts) != len(options):
        raise RunError(f"{len(prompts)} prompts but {len(options)} lists of options")
    rows: dict[Tokens, list[tuple[int, int, Tokens]]] = {}
    for p, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
        for o, (context, continuation) in enumerate(pairs(model, prompt, choices)):
            rows.setdefault(context + continuation[:-1], []).append((p, o, continuation))
    scores = [np.zeros(len(choices)) for choices in options]
    for batch in _batches(sorted(rows, key=lambda row: (len(row), row))):
        needed = [max(len(c) for _, _, c in rows[row]) for row in batch]
        for row, hidden in zip(batch, _hidden(model, batch, needed), strict=True):
            for p, o, continuation in rows[row]:
                scores[p][o] = _log_likelihood(model, hidden[-len(continuation) :], continuation)
    return scores


def pairs(model: TextModel, prompt: str, options: Sequence[str]) -> list[tuple[Tokens, Tokens]]:
    """Return (context, continuation) token ids for each option. Raises ``RunError``: empty prompt or option, too long."""
    context = prompt.rstrip()
    if not context:
        raise RunError("an empty prompt cannot be scored")
    tail = prompt[len(context) :]
    start = model.encode(context)
    found = []
    for option in options:
        whole = model.encode(context + tail + option)
        continuation = whole[len(start) :]
        if not continuation:
            raise RunError("an option adds no token to its prompt")
        if len(whole) > model.max_length + 1:
            raise RunError(
                f"a prompt with its option has {len(whole)} tokens; {model.name} takes {model.max_length}: "
                "use fewer shots or a shorter context"
            )
        found.append((tuple(whole[: len(start)]), tuple(continuation)))
    return found


@torch.inference_mode()
def _hidden(model: TextModel, rows: Sequence[Tokens], needed: Sequence[int]) -> list[torch.Tensor]:
    batch = {name: one.to(model.network.device) for name, one in model.pad(rows).items()}
    hidden = model.network.get_decoder()(**batch, use_cache=False).last_hidden_state
    return [hidden[i, len(row) - n : len(row)] for i, (row, n) in enumerate(zip(rows, needed, strict=True))]


@torch.inference_mode()
def _log_likelihood(model: TextModel, hidden: torch.Tensor, continuation: Tokens) -> float:
    logits = model.network.get_output_embeddings()(hidden).float()
    chosen = torch.log_softmax(logits, dim=-1)[torch.arange(len(continuation)), torch.tensor(continuation)]
    return float(chosen.double().sum())


def _batches(rows: Sequence[Tokens]) -> list[list[Tokens]]:
    """Cut rows, sorted by length, into batches of at most ``TOKENS_PER_BATCH`` padded tokens."""
    batches: list[list[Tokens]] = []
    for row in rows:
        if batches and (len(batches[-1]) + 1) * len(row) <= TOKENS_PER_BATCH:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
