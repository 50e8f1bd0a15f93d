"""Text generation, one prompt at a time: what stands beside a prompt in a call cannot change its text.

A family gives ``begin``: prompt ids -> (``step``, ids to feed first, room). ``step`` takes the newest ids and returns the
logits of the next one; it keeps its own key-value cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from healthfm.cards.schema import Decoding
from healthfm.errors import RunError
from healthfm.models import prompts as card_prompts
from healthfm.models.text import TextModel
from healthfm.records import Message

Step = Callable[[Sequence[int]], torch.Tensor]
Begin = Callable[[TextModel, Sequence[int]], tuple[Step, list[int], int]]
TAIL = 8  # prompt tokens decoded with the new ones, so that a leading blank is not lost
BROKEN = "\ufffd"  # stands for a character whose bytes are not all there yet


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen: the likeliest at temperature 0, else drawn as the card's ``Decoding`` filters."""

    temperature: float
    seed: int
    decode: Decoding

    def chooser(self) -> Callable[[torch.Tensor, Sequence[int]], int]:
        """Return a function (logits [vocabulary], ids so far) -> id, with a random generator of its own."""
        random = torch.Generator().manual_seed(self.seed)

        def choose(logits: torch.Tensor, seen: Sequence[int]) -> int:
            if self.temperature == 0:
                return int(logits.argmax())
            likely = torch.softmax(_filtered(logits.double().cpu(), self.temperature, self.decode, seen), dim=-1)
            return int(torch.multinomial(likely, 1, generator=random))

        return choose


def _filtered(logits: torch.Tensor, temperature: float, decode: Decoding, seen: Sequence[int]) -> torch.Tensor:
    """Apply repetition penalty, temperature, top-k and top-p, in transformers' order."""
    if decode.repetition_penalty:
        met = torch.tensor(sorted(set(seen)), dtype=torch.long)
        old = logits[met]
        logits[met] = torch.where(old < 0, old * decode.repetition_penalty, old / decode.repetition_penalty)
    logits = logits / temperature
    if decode.top_k:
        kept = torch.topk(logits, min(decode.top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < kept, -torch.inf)
    if decode.top_p and decode.top_p < 1:
        ordered, where = torch.sort(logits)
        gone = torch.softmax(ordered, dim=-1).cumsum(-1) <= 1 - decode.top_p
        gone[-1] = False
        logits = logits.masked_fill(torch.zeros_like(gone).scatter(0, where, gone), -torch.inf)
    return logits


def generate(
    model: TextModel, begin: Begin, prompts: Sequence[str | Sequence[Message]], max_new_tokens: int, temperature: float,
    stop: Sequence[str] | None, seed: int, stream: bool,
) -> list[str] | Iterator[str]:  # fmt: skip
    """Return the text generated for each prompt, or with ``stream`` an iterator over the pieces of one prompt's text.

    Each prompt is drawn from ``seed`` alone. ``stop`` None means the stop strings of the prompt used, else of the card's
    default prompt. Raises ``RunError``: an impossible number, an empty stop string, a prompt that is empty or too long.
    """
    _check(prompts, max_new_tokens, temperature, stop)
    streams = (_text(model, begin, one, max_new_tokens, temperature, stop, seed) for one in prompts)
    if not stream:
        return ["".join(pieces) for pieces in streams]
    if len(prompts) != 1:
        raise RunError(f"stream takes one prompt, {len(prompts)} were given")
    return next(streams)


def _check(prompts: Any, max_new_tokens: int, temperature: float, stop: Sequence[str] | None) -> None:
    if isinstance(prompts, str):
        raise RunError("generate takes a list of prompts; put the one prompt in a list")
    if max_new_tokens < 1:
        raise RunError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    if not 0 <= temperature < float("inf"):
        raise RunError(f"temperature is {temperature}; it must be 0 (greedy) or above")
    if isinstance(stop, str) or any(not one for one in stop or ()):
        raise RunError("stop is a list of strings, none of them empty")


def _text(
    model: TextModel, begin: Begin, prompt: str | Sequence[Message], max_new_tokens: int, temperature: float,
    stop: Sequence[str] | None, seed: int,
) -> Iterator[str]:  # fmt: skip
    """Yield a prompt's text piece by piece; never a stop string, nor a part of one that the next token could complete."""
    ids, made_by = card_prompts.encode(model, prompt)
    used = made_by or card_prompts.default(model.card)
    stops = tuple(stop if stop is not None else used.stop if used is not None else ())
    choice = Choice(temperature, seed, used.decode if used is not None else Decoding())
    if not ids:
        raise RunError("an empty prompt cannot be continued")
    step, first, room = begin(model, ids)
    before, given = _decoder(model, ids), ""
    new: list[int] = []
    text = ""
    for token in continuation(step, first, min(max_new_tokens, room), end_ids(model, stops), choice.chooser(), ids):
        new.append(token)
        text = before(new)
        cut = min((at for at in (text.find(one) for one in stops) if at >= 0), default=None)
        if cut is not None:
            yield text[len(given) : cut]
            return
        safe = len(text) - _held(text, stops)
        if safe > len(given) and text.startswith(given):
            piece = text[len(given) : safe]
            given += piece
            yield piece
    yield text[len(given) :]


def _held(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end must wait: an unfinished character, or what could begin a stop string."""
    broken = len(text) - len(text.rstrip(BROKEN))
    begun = max(
        (n for one in stops for n in range(1, len(one)) if text.endswith(one[:n])),
        default=0,
    )
    return max(broken, begun)


def _decoder(model: TextModel, ids: Sequence[int]) -> Callable[[Sequence[int]], str]:
    """Return a function: new ids -> their text, decoded behind the prompt's last tokens (an encoder's prompt has none)."""
    assert model.tokenizer is not None
    tail = [] if model.network.config.is_encoder_decoder else list(ids[-TAIL:])

    def decode(new: Sequence[int]) -> str:
        return str(model.tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False))  # type: ignore[union-attr]

    base = decode(tail)

    def text(new: Sequence[int]) -> str:
        whole = decode([*tail, *new])
        return whole[len(base) :] if whole.startswith(base) else decode(new)

    return text


@torch.inference_mode()
def _next(step: Step, newest: Sequence[int]) -> torch.Tensor:
    return step(newest).float()


def continuation(
    step: Step, first: Sequence[int], limit: int, ends: frozenset[int], choose: Callable[[torch.Tensor, Sequence[int]], int],
    seen: Sequence[int] = (),
) -> Iterator[int]:  # fmt: skip
    """Yield at most ``limit`` new token ids; an end id ends them and is not among them."""
    newest, history = list(first), list(seen)
    for _ in range(limit):
        token = choose(_next(step, newest), history)
        if token in ends:
            return
        yield token
        newest = [token]
        history.append(token)


def end_ids(model: TextModel, stops: Sequence[str] = ()) -> frozenset[int]:
    """Return the ids that end a text: the configuration's, the tokenizer's, and stop strings that are special tokens."""
    stated = [model.network.config.eos_token_id, model.network.generation_config.eos_token_id]
    found = {one for value in stated for one in (value if isinstance(value, list) else [value]) if one is not None}
    if model.tokenizer is not None:
        found.add(model.tokenizer.eos_token_id)
        special = set(model.tokenizer.all_special_tokens)
        found.update(model.tokenizer.convert_tokens_to_ids(one) for one in stops if one in special)
    return frozenset(found - {None})


def begin_causal(model: TextModel, ids: Sequence[int]) -> tuple[Step, list[int], int]:
    """``begin`` of a decoder-only network. Raises ``RunError`` when the prompt leaves no room for a new token."""
    room = model.max_length - len(ids)
    if room < 1:
        raise RunError(f"a prompt has {len(ids)} tokens; {model.name} takes {model.max_length}: shorten it")
    cache = transformers.DynamicCache(config=model.network.config)

    def step(newest: Sequence[int]) -> torch.Tensor:
        given = torch.tensor([list(newest)], device=model.network.device)
        out = model.network(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[0, -1]  # type: ignore[no-any-return]

    return step, list(ids), room
