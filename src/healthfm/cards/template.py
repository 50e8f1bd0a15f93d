"""Templates of cards (a dataset's protocols, a model's prompts), filled in a sandbox that cannot change what it is given."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from healthfm.errors import RunError

_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


def slots(what: str, template: str) -> frozenset[str]:
    """Return the names that a template reads (question, options, context ...). Raises ``RunError`` as ``fill`` does."""
    return _opened(what, template)[1]


def fill(what: str, template: str, values: Mapping[str, Any]) -> str:
    """Return a template's text. Raises ``RunError``: ``what`` cannot be filled, and why, in words of the template alone."""
    opened, known = _opened(what, template)
    try:
        return opened.render(values)
    except Exception as error:  # a template can raise anything, and the message can repeat a record's text
        lost = ", ".join(f"'{one}'" for one in sorted(known - set(values))) if isinstance(error, UndefinedError) else ""
        why = type(error).__name__ + (f": {lost} {'are' if ', ' in lost else 'is'} undefined" if lost else "")
    raise RunError(f"{what} cannot be filled: {why} (its slots: {', '.join(sorted(known)) or 'none'})")


@functools.lru_cache(maxsize=64)
def _opened(what: str, template: str) -> tuple[Template, frozenset[str]]:
    """Return a template ready to be filled, and its slots."""
    try:
        read = meta.find_undeclared_variables(_SANDBOX.parse(template))
        return _SANDBOX.from_string(template), frozenset(read - set(_SANDBOX.globals))
    except TemplateSyntaxError as error:  # nothing is filled in yet
        raise RunError(
            f"{what} cannot be filled: {type(error).__name__} in line {error.lineno}: {error.message}"
        ) from None
