"""What a server's reply says: its text, and why the text ended. A reply without text is no answer; nothing stands in for it.

The rules (docs/runs.md tells them to users): content that is absent, null or blank is an unanswered question, and so is a reply
whose ``choices`` are empty or whose choice holds no message. Of a list of parts the text parts are read and the thoughts left
out. A reply or a part that the protocol does not have is refused by name. No message here repeats what a server wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from healthfm.errors import RunError
from healthfm.records import USUAL, Answer

WRITTEN = frozenset({"text", "output_text", "input_text"})
THOUGHT = frozenset({"reasoning", "reasoning_text", "thinking", "redacted_thinking", "summary_text"})
CALLED = frozenset({"tool_use", "tool_call", "function_call"})
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}")


def read(reply: Mapping[str, Any], url: str) -> Answer:
    """Return the answer in a reply of the chat or the completions protocol, or in one event of a streamed one.

    Raises ``RunError``: it is not in the protocol's form.
    """
    if "choices" not in reply:
        raise RunError(f"{url}: its answer holds no choices; this is not the protocol's form")
    choices = reply["choices"]
    if not choices:
        return Answer("", "no choice")
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, Mapping):
        raise RunError(f"{url}: its choices are not in the protocol's form")
    said = _word(choice.get("finish_reason"))
    message = next((choice[name] for name in ("message", "delta") if choice.get(name) is not None), None)
    if message is None:
        text, instead = _text(choice.get("text"), url)
        instead = instead or "no message"
    elif isinstance(message, Mapping):
        text, instead = _text(message.get("content"), url)
        instead = instead or _instead(message)
    else:
        raise RunError(f"{url}: its message is not in the protocol's form")
    if text.strip() or (said is not None and said not in USUAL):
        return Answer(text, said)
    return Answer(text, instead or said)


def _text(content: Any, url: str) -> tuple[str, str | None]:
    """Return the text of a content, and what it held beside."""
    if content is None or isinstance(content, str):
        return content or "", None
    found, beside = [], None
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str) or part is None:
            found.append(part or "")
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else None
        if kind in WRITTEN:
            text = part.get("text")
            text = text.get("value") if isinstance(text, Mapping) else text
            if text is not None and not isinstance(text, str):
                raise RunError(f"{url}: its answer holds a text part without a text")
            found.append(text or "")
        elif kind == "refusal":
            beside = "refusal"
        elif kind in CALLED:
            beside = beside or "tool_calls"
        elif kind in THOUGHT:
            beside = beside or "reasoning only"
        else:
            raise RunError(f"{url}: its answer holds a part of the kind '{_word(kind)}', which is no text")
    return "".join(found), beside


def _instead(message: Mapping[str, Any]) -> str | None:
    """Return what a message without text holds instead."""
    if message.get("refusal"):
        return "refusal"
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_calls"
    thoughts = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
    return "reasoning only" if any(message.get(name) for name in thoughts) else None


def _word(value: Any) -> str | None:
    """Return a server's own word where it is a plain one; "other" where it is anything else, so that no text gets in by it."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else "other"
