"""The special tokens that a tokenizer puts around a text.

A text that is there to be continued (a prompt, a prompt with its option) must stay open: with an end token behind it the model
would be asked what follows an end, and every option of a question would score the same. So the start tokens stay and the end
tokens are left off, whatever put them there: a post-processor, ``add_eos_token``, a slow tokenizer's own code, a server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from healthfm.errors import CheckpointError

if TYPE_CHECKING:
    import transformers

Encode = Callable[[str, bool], list[int]]  # a text to its ids, with (True) or without the special tokens around it
PROBES = ("a", "The patient", "1")


@dataclass(frozen=True)
class Frame:
    """The token ids before and behind every text."""

    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()


def of(encode: Encode) -> Frame:
    """Return the frame that an encoder puts around texts. Raises ``CheckpointError``: special tokens change the text's own."""
    for text in PROBES:
        whole, bare = encode(text, True), encode(text, False)
        at = next((i for i in range(len(whole)) if bare and whole[i : i + len(bare)] == bare), None)
        if at is not None:
            return Frame(tuple(whole[:at]), tuple(whole[at + len(bare) :]))
    raise CheckpointError(
        "the tokenizer cuts a text otherwise when it adds its special tokens: where it ends cannot be told"
    )


def left_open(encode: Encode, frame: Frame, text: str) -> list[int]:
    """Return a text's ids with the start tokens and without the end tokens."""
    return [*frame.start, *encode(text, False)] if frame.end else encode(text, True)


def encoder(tokenizer: transformers.PreTrainedTokenizerBase) -> Encode:
    """Return a tokenizer of transformers' as a function."""

    def encode(text: str, special: bool) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=special, verbose=False)
        return ids

    return encode


def once_opened(model: Any, text: str) -> list[int]:
    """Return ``model.encode``'s ids of a text, but no special tokens where it begins with the start token's own words.

    lm-evaluation-harness's rule; its start token is the end token where there is none.
    """
    tokenizer = model.tokenizer
    first = None
    if tokenizer is not None:
        first = tokenizer.bos_token if tokenizer.bos_token_id is not None else tokenizer.eos_token
    if first and text.startswith(first):
        return encoder(tokenizer)(text, False)
    ids: list[int] = model.encode(text)
    return ids


def notices(end: Sequence[object]) -> list[str]:
    """Return what a run says where end tokens were left off."""
    if not end:
        return []
    named = ", ".join(str(one) for one in end)
    return [
        f"the tokenizer ends every text with {named}; it was left off prompts and options, which are to be continued"
    ]
