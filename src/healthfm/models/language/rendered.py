"""``Rendered``: a prompt that a card's template made, as ``generate`` takes it beside plain text and conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from healthfm.cards.schema import Prompt
from healthfm.records import Message

BORDER = "\x1f"  # in a template: the owner's code encodes what stands on either side apart


@dataclass(frozen=True)
class Rendered:
    """A prompt made from a card's template: its ``text``, the ``parts`` that are encoded apart, and the card's ``prompt``, which says
    how it becomes token ids, how the answer is decoded, where it stops and what of it is kept.
    """

    text: str
    parts: tuple[str, ...]
    prompt: Prompt

    @classmethod
    def of(cls, prompt: Prompt, text: str) -> Rendered:
        """Wrap what a template was filled to; borders leave the text and part it."""
        return cls(text.replace(BORDER, ""), tuple(text.split(BORDER)), prompt)

    def __str__(self) -> str:
        return self.text


Asked = str | Rendered | Sequence[Message]


def text_given(prompt: str | Rendered) -> str:
    """Return a prompt's text, however it was made."""
    return prompt.text if isinstance(prompt, Rendered) else prompt
