"""What a cell of a user's own table holds, and what it means (``docs/own-data.md`` has the table)."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from healthfm.cards.schema import Labels
from healthfm.errors import BadValue
from healthfm.records import MISSING, Label
from healthfm.spelling import fit

NOTHING = {
    "na",
    "n/a",
    "#n/a",
    "<na>",
    "nan",
    "nat",
    "none",
    "null",
}  # words that programs write for nothing; text here
EXACT = 2**53  # up to which a float holds every whole number
SQUAD = {"text", "answer_start", "answer_end"}
LISTED = re.compile(r"""\s*[\[{]\s*["'{\[(]""")  # how a list, or a struct, begins in any language


def missing(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, or text without a character that is no blank."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def text(value: Any) -> str | None:
    """Return a cell as text, None where it holds nothing. Raises ``BadValue``: nested, infinite, or bytes that are no text."""
    if missing(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float | Decimal):
        if math.isinf(value):
            raise BadValue("an infinite number")
        whole = value == int(value)
        if isinstance(value, float) and whole and abs(value) >= EXACT:
            raise BadValue("a number too large for the floating point it is stored in")
        return (
            str(int(value)) if whole else format(value.normalize(), "f") if isinstance(value, Decimal) else repr(value)
        )
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise BadValue("bytes that are no UTF-8 text") from None
    raise BadValue(f"a {_noun(value)} where one text or number is needed")


def name(value: Any) -> str | None:
    """Return what names a thing (an id, a patient, a site, a split, a file), without blanks around; None for nothing."""
    found = text(value)
    return None if found is None else found.strip()


def passage(value: Any) -> str:
    """Return a context as text: several passages, a line each; "" where there is none."""
    if isinstance(value, Mapping) and isinstance(value.get("contexts"), list):
        value = value["contexts"]  # PubMedQA, as the hub has it
    if isinstance(value, list):
        return "\n".join(one for one in map(text, value) if one is not None)
    return text(value) or ""


def number(value: Any) -> float | None:
    """Return a cell as a number, None where it holds nothing. Raises ``BadValue``: none, or an infinite one."""
    found = text(value)
    try:
        read = None if found is None or isinstance(value, bool) else float(found)
    except ValueError:
        raise BadValue("no number") from None
    if isinstance(value, bool) or (read is not None and not math.isfinite(read)):
        raise BadValue("no number")
    return read


def opened(value: Any) -> Any:
    """Return the JSON list or object that a text cell holds, else the cell itself. Raises ``BadValue``: a list in another writing."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        if LISTED.match(value):
            raise BadValue('looks like a list but is no JSON; write ["a", "b"]') from None
        return value


def several(value: Any) -> tuple[str, ...]:
    """Return accepted answers: of one text, of a list (JSON in text), or of SQuAD's ``{"text": [...], "answer_start": [...]}``."""
    value = opened(value)
    if isinstance(value, Mapping):
        value = _squad(value)
    if not isinstance(value, list):
        return () if missing(value) else (str(text(value)),)
    found = [text(_squad(one) if isinstance(one, Mapping) else one) for one in value]
    return tuple(dict.fromkeys(one for one in found if one is not None))  # annotators agree: one answer


def _squad(value: Mapping[str, Any]) -> Any:
    if "text" not in value or set(value) - SQUAD:
        raise BadValue("a struct that is no SQuAD answer (text, answer_start)")
    return value["text"]


def label(value: Any, space: Labels | None) -> Label:
    """Return a label: a class, a set of them (a list, JSON in text), a number, or ``MISSING``.

    ``space``, where it is declared, says what is meant: its kind, and its classes, of which every spelling is one.
    Raises ``BadValue``: no such class, or a value that is no label.
    """
    kind = space.kind if space is not None else None
    if missing(value):
        return MISSING
    if kind == "number":
        found = number(value)
        return MISSING if found is None else found
    if kind == "text":
        return str(text(value))
    value = opened(value)
    if isinstance(value, list):
        if kind in ("binary", "multi-class", "ordinal"):
            raise BadValue(f"a list, where a {kind} label is one class")
        return _set(value, space)
    one = str(text(value))
    if kind == "multi-label":
        return _set([one], space)
    return one if space is None or not space.classes else class_of(one, space)


def _set(values: Sequence[Any], space: Labels | None) -> frozenset[str]:
    if any(missing(one) for one in values):
        raise BadValue("a list of labels with an entry that holds nothing")
    names = [str(text(one)) for one in values]
    found = {class_of(one, space) for one in names} if space is not None and space.classes else set(names)
    if len(found) < len(names):
        raise BadValue("a list of labels that has one of them twice")
    return frozenset(found)


def class_of(spelling: str, space: Labels) -> str:
    """Return the declared class that a spelling, or the owner's code for it, means. Raises ``BadValue``: none of them."""
    found = fit(spelling, space.classes)
    if found is None and (code := fit(spelling, space.codes.values())) is not None:
        found = next(one for one, its in space.codes.items() if its == code)
    if found is None:
        raise BadValue(f"none of the classes of '{space.name}' ({', '.join(space.classes)})")
    return found


def _noun(value: Any) -> str:
    return (
        "list" if isinstance(value, list | tuple) else "struct" if isinstance(value, Mapping) else type(value).__name__
    )
