"""A card's prompts: templates rendered in a sandbox, and token ids made of them as the owner's code makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from healthfm.cards import template
from healthfm.cards.schema import Decoding, ModelCard, Prompt
from healthfm.errors import CapabilityError, RunError
from healthfm.models.language.rendered import BORDER, Asked, Rendered
from healthfm.records import Message

if TYPE_CHECKING:
    from healthfm.models.language.text_model import TextModel
    from healthfm.models.model import Model

LONGEST = 256  # new tokens of an answer where neither the caller nor the card says
WHAT = "the prompt"


def choose(card: ModelCard, name: str) -> Prompt:
    """Return the card's prompt of this name. Raises ``CapabilityError`` that lists the names."""
    if name not in card.prompts:
        raise CapabilityError(f"{card.slug} has no prompt '{name}' (prompts: {', '.join(card.prompts) or 'none'})")
    return card.prompts[name]


def default(card: ModelCard) -> Prompt | None:
    """Return the prompt that the card marks as its default, or None."""
    return next((prompt for prompt in card.prompts.values() if prompt.default), None)


def decoding(card: ModelCard, prompt: Asked, made_by: Prompt | None) -> Decoding:
    """Return how a card decodes a prompt: text that is given as it is has no owner's way, and is continued plainly."""
    used = made_by or (None if isinstance(prompt, str) else default(card))
    return used.decode if used is not None else Decoding()


def slots(prompt: Prompt) -> frozenset[str]:
    """Return the names that a template reads (question, instruction, input, options, history, system ...)."""
    return template.slots(WHAT, prompt.template)


def render(prompt: Prompt, **values: Any) -> Rendered:
    """Fill a template. Raises ``RunError``: a slot it does not have, or one it needs and was not given."""
    known = slots(prompt)
    if strange := sorted(set(values) - known):
        raise RunError(f"the prompt has no place for {', '.join(strange)} (it has: {', '.join(sorted(known))})")
    borderless = {name: _without_borders(value) for name, value in values.items()}
    return Rendered.of(prompt, template.fill(WHAT, prompt.template, borderless))


def _without_borders(value: Any) -> Any:
    """Return a slot's value without U+001F, so that no user's text can move a border."""
    if isinstance(value, str):
        return value.replace(BORDER, "")
    if isinstance(value, Mapping):
        return {key: _without_borders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_borders(one) for one in value]
    return value


def prepare(model: Model, text: str, name: str | None = None, system: str | None = None, raw: bool = False) -> Asked:
    """Return what ``generate`` takes for one text of a user's: by the card's prompt ``name``, ``raw`` as it is, else as a
    chat where the tokenizer has a chat template or the card a default prompt (as it is where neither has).

    Raises ``CapabilityError`` and ``RunError`` as ``choose`` and ``render`` do, and for a system text without a place.
    """
    if name is not None:
        prompt = choose(model.card, name)
        place = next((slot for slot in ("question", "input", "instruction") if slot in slots(prompt)), "question")
        return render(prompt, **{place: text, **({"system": system} if system is not None else {})})
    if raw or not chats(model):
        if system is not None:
            raise CapabilityError(f"{model.name}: text that is only continued has no place for a system text")
        return text
    return [*([Message("system", system)] if system is not None else []), Message("user", text)]


def chats(model: Model) -> bool:
    """Whether a conversation has a form for this model: its tokenizer's chat template, its card's default prompt, or its server's form."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None and getattr(model, "converses", False):
        return True
    return bool(getattr(tokenizer, "chat_template", None)) or default(model.card) is not None


# Conversations --------------------------------------------------------------------------------------------------------


def text_of(message: Message) -> str:
    """Return a message's text. Raises ``CapabilityError`` for an image: these models read text only."""
    parts = (message.content,) if isinstance(message.content, str) else message.content
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise CapabilityError("a message holds media; this model reads text only")
    return "".join(texts)


def converse(card: ModelCard, messages: Sequence[Message]) -> Rendered:
    """Render a conversation with the card's default prompt: its last turn is the question, earlier ones the history.

    Raises ``CapabilityError`` (no default prompt, or no place in it for a system text or for earlier turns), ``RunError``
    (the turns are not user and assistant in alternation, the user's last).
    """
    prompt = default(card)
    if prompt is None:
        raise CapabilityError(
            f"{card.slug} has no chat form: its tokenizer has no chat template and its card no default prompt "
            f"(prompts by name: {', '.join(card.prompts) or 'none'}); give it text to go on from"
        )
    system = [text_of(one) for one in messages if one.role == "system"]
    turns = [one for one in messages if one.role != "system"]
    if [one.role for one in turns] != [("user", "assistant")[i % 2] for i in range(len(turns))] or len(turns) % 2 == 0:
        roles = ", ".join(one.role for one in messages) or "none"
        raise RunError(
            f"a conversation alternates user and assistant and ends with the user's turn; its roles: {roles}"
        )
    texts = [text_of(one) for one in turns]
    values: dict[str, Any] = {"question": texts[-1]}
    if len(texts) > 1:
        values["history"] = list(zip(texts[0:-1:2], texts[1:-1:2], strict=True))
    if system:
        values["system"] = "\n".join(system)
    for name, what in (("history", "earlier turns"), ("system", "a system text")):
        if name in values and name not in slots(prompt):
            raise CapabilityError(f"{card.slug}: its prompt has no place for {what}")
    return render(prompt, **values)


def chat_text(model: TextModel, messages: Sequence[Message]) -> str:
    """Return a conversation as the tokenizer's own chat template writes it, open for the model's turn.

    The template runs in transformers' sandboxed Jinja. Raises ``RunError`` when it refuses the messages.
    """
    assert model.tokenizer is not None
    plain = [{"role": one.role, "content": text_of(one)} for one in messages]
    try:
        text = model.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError, ValueError) as error:  # a template's own words can repeat a message
        roles = ", ".join(one.role for one in messages) or "none"
        raise RunError(
            f"{model.name}: its chat template refuses these turns ({type(error).__name__}; roles: {roles})"
        ) from None
    return str(text)


# Token ids ------------------------------------------------------------------------------------------------------------


def encode(model: TextModel, prompt: Asked) -> tuple[list[int], Prompt | None]:
    """Return a prompt's token ids, and the card's ``Prompt`` it was made by (None: text as given, or a chat template)."""
    if not isinstance(prompt, str | Rendered):
        if model.tokenizer is not None and getattr(model.tokenizer, "chat_template", None):
            return _bare(model, chat_text(model, prompt)), None
        prompt = converse(model.card, prompt)
    if isinstance(prompt, str):
        return model.encode(prompt), None
    ids = {"as tokenizer": model.encode, "bare": lambda text: _bare(model, text)}.get(prompt.prompt.tokens)
    found = ids(prompt.text) if ids is not None else _parts(model, prompt.parts)
    keep = prompt.prompt.decode.max_input_tokens
    return found[-keep:] if keep else found, prompt.prompt


def _bare(model: TextModel, text: str) -> list[int]:
    model.encode("")  # refuses, where there is no tokenizer
    assert model.tokenizer is not None
    ids: list[int] = model.tokenizer.encode(text, add_special_tokens=False, verbose=False)
    return ids


def _parts(model: TextModel, parts: Sequence[str]) -> list[int]:
    """Encode part by part as PULSE's ``cli_demo.py`` does: the first part without special tokens, ``</s>`` as its id,
    every other part with whatever the tokenizer adds, and of the last one only its first id."""
    ids = _bare(model, parts[0])
    for part in parts[1:-1]:
        ids += [_id_of(model, part)] if part == "</s>" else model.encode(part)
    return ids + model.encode(parts[-1])[:1]


def _id_of(model: TextModel, token: str) -> int:
    assert model.tokenizer is not None
    return int(model.tokenizer.convert_tokens_to_ids(token))


# Answers --------------------------------------------------------------------------------------------------------------


def kept(model: TextModel, prompt: Prompt | None, ids: Sequence[int], pieces: Iterable[str]) -> Iterator[str]:
    """Yield of an answer's pieces what the prompt's owner keeps; ``ids`` are the prompt's, ``pieces`` the text behind them.

    In a prompt made in "parts" the last id opens the answer and belongs to it; then ``Prompt.after`` and ``Prompt.trim``.
    """
    if prompt is None:
        yield from pieces
        return
    if prompt.tokens == "parts":
        assert model.tokenizer is not None
        pieces = itertools.chain([str(model.tokenizer.decode(ids[-1:], skip_special_tokens=True))], pieces)
    if prompt.after is not None:  # which of them is the last shows at the end
        pieces = ["".join(pieces).rpartition(prompt.after)[2]]
    if not prompt.trim:
        yield from pieces
        return
    waiting, begun = "", False
    for piece in pieces:
        waiting += piece
        sure = waiting.rstrip() if begun else waiting.strip()
        if sure:
            yield sure
            waiting, begun = waiting[len(waiting.rstrip()) :], True
