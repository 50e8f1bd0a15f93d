"""Text generation, one prompt at a time: what stands beside a prompt in a call cannot change its text.

A family gives ``begin``: prompt ids -> (``step``, ids to feed first, room). ``step`` takes the newest ids and returns the
logits of the next one; it keeps its own key-value cache. Where the card's prompt says so, the likeliest text is searched by
beams: that is transformers' own search.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from healthfm.cards.schema import Decoding
from healthfm.errors import RunError
from healthfm.models.files import stated
from healthfm.models.language import prompts as card_prompts
from healthfm.models.language.rendered import Asked, Rendered
from healthfm.models.language.text_model import TextModel

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
                return int(_penalised(logits, self.decode, seen).argmax())
            likely = torch.softmax(_filtered(logits.double().cpu(), self.temperature, self.decode, seen), dim=-1)
            return int(torch.multinomial(likely, 1, generator=random))

        return choose


def _penalised(logits: torch.Tensor, decode: Decoding, seen: Sequence[int]) -> torch.Tensor:
    """Make tokens that were seen less likely: positive logits divided by the repetition penalty, negative ones times it."""
    if not decode.repetition_penalty:
        return logits
    met = torch.tensor(sorted(set(seen)), dtype=torch.long, device=logits.device)
    old = logits[met]
    new = torch.where(old < 0, old * decode.repetition_penalty, old / decode.repetition_penalty)
    return logits.index_put((met,), new)


def _filtered(logits: torch.Tensor, temperature: float, decode: Decoding, seen: Sequence[int]) -> torch.Tensor:
    """Apply repetition penalty, temperature, top-k and top-p, in transformers' order."""
    logits = _penalised(logits, decode, seen) / temperature
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
    model: TextModel, begin: Begin, prompts: Sequence[Asked], max_new_tokens: int | None,
    temperature: float | None, stop: Sequence[str] | None, seed: int, stream: bool,
) -> list[str] | Iterator[str]:  # fmt: skip
    """Return the text generated for each prompt, or with ``stream`` an iterator over the pieces of one prompt's text.

    Each prompt is drawn from ``seed`` alone. None means what the prompt used says, else the card's default prompt:
    ``max_new_tokens`` (256 where that says nothing), ``temperature`` (0), ``stop``. The card's other decoding numbers count for
    its own prompts and for conversations, never for text given as it is: the repetition penalty, the shortest text, the
    filters of draws, and at temperature 0 the number of beams.
    Raises ``RunError``: an impossible number, an empty stop string, a prompt that is empty or too long; ``CheckpointError``: the
    files ask for a choice of tokens that is not made here.
    """
    _check(prompts, max_new_tokens, temperature, stop)
    stated.refuse_unmet(model.stated_generation, model.name)
    streams = (_text(model, begin, one, max_new_tokens, temperature, stop, seed) for one in prompts)
    if not stream:
        return ["".join(pieces) for pieces in streams]
    if len(prompts) != 1:
        raise RunError(f"stream takes one prompt, {len(prompts)} were given")
    return next(streams)


def _check(prompts: Any, max_new_tokens: int | None, temperature: float | None, stop: Sequence[str] | None) -> None:
    if isinstance(prompts, str | Rendered):
        raise RunError("generate takes a list of prompts; put the one prompt in a list")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise RunError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise RunError(f"temperature is {temperature}; it must be 0 (the likeliest text) or above")
    if isinstance(stop, str) or any(not one for one in stop or ()):
        raise RunError("stop is a list of strings, none of them empty")


def _text(
    model: TextModel, begin: Begin, prompt: Asked, max_new_tokens: int | None, temperature: float | None,
    stop: Sequence[str] | None, seed: int,
) -> Iterator[str]:  # fmt: skip
    """Yield an answer piece by piece, as the prompt's owner keeps it (see ``prompts.kept``)."""
    ids, made_by = card_prompts.encode(model, prompt)
    if not ids:
        raise RunError("an empty prompt cannot be continued")
    used = made_by or card_prompts.default(model.card)
    decode = card_prompts.decoding(model.card, prompt, made_by)
    stops = tuple(stop if stop is not None else used.stop if used is not None else ())
    heat = temperature if temperature is not None else decode.temperature or 0.0
    step, first, room = begin(model, ids)
    limit = min(max_new_tokens or decode.max_new_tokens or card_prompts.LONGEST, room)
    ends = end_ids(model, stops)
    if heat == 0 and (decode.beams or 1) > 1:
        new: Iterator[int] = iter(by_beams(model, ids, limit, ends, decode))
    else:
        least = shortest(decode, len(first))
        new = continuation(step, first, limit, ends, Choice(heat, seed, decode).chooser(), least)
    yield from card_prompts.kept(model, made_by, ids, _until(new, _decoder(model, ids), stops))


def _until(new: Iterator[int], decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> Iterator[str]:
    """Yield the text of new ids piece by piece; never a stop string, nor a part of one that the next token could complete."""
    ids: list[int] = []
    text = given = ""
    for token in new:
        ids.append(token)
        text = decode(ids)
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
    sound = text.rstrip(BROKEN)
    begun = max((n for one in stops for n in range(1, len(one)) if sound.endswith(one[:n])), default=0)
    return len(text) - len(sound) + begun


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
    least: int = 0,
) -> Iterator[int]:  # fmt: skip
    """Yield at most ``limit`` new token ids; an end id ends them, is not among them, and cannot come before ``least`` of them."""
    newest, history = list(first), list(first)
    for count in range(limit):
        logits = _next(step, newest)
        if count < least:
            logits = logits.index_fill(0, torch.tensor(sorted(ends), device=logits.device), -torch.inf)
        token = choose(logits, history)
        if token in ends:
            return
        yield token
        newest = [token]
        history.append(token)


def shortest(decode: Decoding, fed: int) -> int:
    """Return how many new tokens must come before an end, with ``fed`` tokens before them."""
    return max(decode.min_new_tokens or 0, (decode.min_length or 0) - fed)


@torch.inference_mode()
def by_beams(model: TextModel, ids: Sequence[int], limit: int, ends: frozenset[int], decode: Decoding) -> list[int]:
    """Return the new ids, without their end, of the likeliest text that transformers' search with ``decode.beams`` beams finds."""
    given = torch.tensor([list(ids)], device=model.network.device)
    pad = model.network.config.pad_token_id
    how = transformers.GenerationConfig(
        num_beams=decode.beams, do_sample=False, early_stopping=bool(decode.early_stopping), max_new_tokens=limit,
        min_new_tokens=decode.min_new_tokens, min_length=decode.min_length or 0, repetition_penalty=decode.repetition_penalty or 1.0,
        eos_token_id=sorted(ends) or None, pad_token_id=pad if pad is not None else min(ends, default=0),
        decoder_start_token_id=getattr(model.network.config, "decoder_start_token_id", None),
    )  # fmt: skip
    found = model.network.generate(given, attention_mask=torch.ones_like(given), generation_config=how)[0].tolist()
    fed = 1 if model.network.config.is_encoder_decoder else len(ids)
    return list(itertools.takewhile(lambda one: one not in ends, found[fed:]))


def end_ids(model: TextModel, stops: Sequence[str] = ()) -> frozenset[int]:
    """Return the ids that end a text: the configuration's, the tokenizer's, and stop strings that are special tokens."""
    stated = [getattr(model.network.config, "eos_token_id", None), model.network.generation_config.eos_token_id]
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
