"""Answers that a model writes: which prompt asks for them, in which form it goes to the model, which rule reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from healthfm.cards.schema import ModelCard, Prompt, Protocol
from healthfm.errors import RunError
from healthfm.evaluate import parsers
from healthfm.evaluate.stated import stated_answer
from healthfm.models.language import prompts as card_prompts
from healthfm.models.language.rendered import Asked, Rendered, text_given
from healthfm.models.model import Model
from healthfm.records import Message, Record
from healthfm.score.tasks import TASKS

CHARACTERS_PER_TOKEN = 4  # a rule of thumb, for the size of a part only
DEFAULT_TOKENS = 256  # what a model writes at most where neither card says


@dataclass(frozen=True)
class Writing:
    """The prompts of a run whose answers are written. ``rule`` is the parser's name, ``how`` what the run says of all this.

    ``own`` prompts, of the model's card, are decoded as that card says; the others greedily, to the protocol's limits.
    """

    given: Sequence[str | Rendered]
    rule: str
    how: Mapping[str, Any]
    own: bool
    limit: int
    stop: tuple[str, ...] = ()

    @classmethod
    def by_card(cls, name: str, prompt: Prompt, records: Sequence[Record]) -> Writing:
        """Ask by a prompt of the model's card."""
        assert prompt.parser is not None
        made = [card_prompts.render(prompt, **_values(prompt, record)) for record in records]
        how = {"by": "the model's card", "name": name, "digest": digest_of(prompt.template), "parser": prompt.parser}
        return cls(made, prompt.parser, how, True, prompt.decode.max_new_tokens or DEFAULT_TOKENS)

    @classmethod
    def by_protocol(cls, protocol: Protocol, made: Sequence[str]) -> Writing:
        """Ask by the template of the dataset's protocol; a model with a chat form is asked in that form."""
        if protocol.parser not in RULES:
            raise RunError(f"no rule '{protocol.parser}' to read answers by (rules: {', '.join(RULES)})")
        how = {
            "by": "the dataset's protocol, in the model's chat form where it has one", "name": None,
            "digest": digest_of(protocol.template), "parser": protocol.parser,
        }  # fmt: skip
        return cls(made, protocol.parser, how, False, protocol.max_new_tokens, protocol.stop)

    @property
    def prompts(self) -> list[str]:
        """The texts that are asked, before a chat form."""
        return [text_given(one) for one in self.given]

    @property
    def characters(self) -> int:
        """About how many characters an answer may have."""
        return self.limit * CHARACTERS_PER_TOKEN

    @property
    def asked(self) -> dict[str, Any]:
        """What the request adds: another prompt or rule is another request."""
        return {"prompt": dict(self.how)}

    @property
    def facts(self) -> dict[str, Any]:
        """What the run says beside the request."""
        return {"max_new_tokens": self.limit, "stop": list(self.stop)}

    def write(self, model: Model, rows: range, seed: int) -> list[str]:
        """Return what the model writes for some of the prompts. Raises ``RunError``: another number of texts, or no texts."""
        asked = self.given[rows.start : rows.stop]
        if not self.own:
            return generate(model, [text_given(one) for one in asked], self.limit, self.stop, seed)
        return _texts(
            model.generate(asked, max_new_tokens=self.limit, temperature=None, stop=None, seed=seed), len(asked)
        )

    def read(self, text: str, options: Mapping[str, str]) -> str | None:
        """Return the key of the option that the rule reads in a text, or None. Only healthfm's own rule looks at the options' texts."""
        rule = RULES[self.rule]
        return stated_answer(text, tuple(options), options) if rule is stated_answer else rule(text, tuple(options))


def generate(
    model: Model, asked: Sequence[str | Sequence[Message]], limit: int, stop: Sequence[str], seed: int
) -> list[str]:  # fmt: skip
    """Return what a model writes, greedily. A text is given in its chat form, or as it is where it has none.

    A conversation goes turn by turn to a model whose tokenizer, or server, has a chat template; to others as one text.
    """
    formed = [_in_form(model, one) for one in asked]
    default = card_prompts.default(model.card)
    stops = [*stop, *(default.stop if default is not None else ())]
    return _texts(
        model.generate(formed, max_new_tokens=limit, temperature=0, stop=stops or None, seed=seed), len(asked)
    )


def _texts(found: Sequence[Any], n: int) -> list[str]:
    """Return what a model wrote, "" where it wrote nothing (None). Raises ``RunError``: not ``n`` texts."""
    if isinstance(found, str) or len(found) != n:
        raise RunError("the model returned another number of texts than there were prompts")
    if strange := {type(one).__name__ for one in found if one is not None and not isinstance(one, str)}:
        raise RunError(f"the model returned {', '.join(sorted(strange))} where texts were asked for")
    return ["" if one is None else one for one in found]


def written_columns(texts: Sequence[str]) -> dict[str, pa.Array]:
    """Return the columns of what a model wrote: ``output`` (null where it wrote nothing) and ``finish_reason`` (null where nobody says)."""
    return {
        "output": pa.array([str(text) or None for text in texts], pa.string()),
        "finish_reason": pa.array([getattr(text, "finish", None) for text in texts], pa.string()),
    }


def _in_form(model: Model, asked: str | Sequence[Message]) -> Asked:
    tokenizer = getattr(model, "tokenizer", None)
    served = (
        getattr(model, "client", None) is not None and tokenizer is None and card_prompts.chats(model)
    )  # the server knows it
    if isinstance(asked, str):
        return [Message("user", asked)] if served else card_prompts.prepare(model, asked)
    if served or getattr(tokenizer, "chat_template", None):
        return asked
    return card_prompts.prepare(model, "\n\n".join(card_prompts.text_of(turn) for turn in asked))


def own_prompt(card: ModelCard, task: str) -> tuple[str, Prompt] | None:
    """Return the first prompt of a model's card that fits a task and names the rule to read its answers by, or None."""
    needed = TASKS[task].slots
    if not needed:
        return None
    for name, prompt in card.prompts.items():
        slots = card_prompts.slots(prompt)
        if prompt.parser in RULES and slots >= needed and ("options" in slots) == ("options" in needed):
            return name, prompt
    return None


def _values(prompt: Prompt, record: Record) -> dict[str, Any]:
    """Return a question's values for the slots of a prompt; a context without a slot stands before the question."""
    slots = card_prompts.slots(prompt)
    values: dict[str, Any] = {
        name: getattr(record, name, "") for name in ("question", "options", "context") if name in slots
    }
    context = getattr(record, "context", "")
    if context and "context" not in slots:
        values["question"] = f"{context}\n{values['question']}"
    return values


def digest_of(text: str) -> str:
    """Return a short fingerprint of a prompt's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


RULES: Mapping[str, parsers.Parser] = {**parsers.PARSERS, "stated-answer": stated_answer}
