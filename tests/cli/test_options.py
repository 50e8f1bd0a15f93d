"""An option that several verbs take is declared once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import healthfm.cli


def declared(text: str) -> list[tuple[str, str]]:
    """Return name and annotation of every parameter that is declared in place."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    found = [(one.arg, ast.unparse(one.annotation)) for f in functions for one in f.args.args if one.annotation]
    return [(name, annotation) for name, annotation in found if annotation.startswith("Annotated[")]


def test_no_two_verbs_declare_the_same_option() -> None:
    modules = sorted(Path(healthfm.cli.__file__).parent.glob("*.py"))
    every = Counter(one for module in modules for one in declared(module.read_text(encoding="utf-8")))
    assert len(every) > 40
    assert [one for one, times in every.items() if times > 1] == []
