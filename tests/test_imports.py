"""No circle of imports: read from the source, with the imports inside functions and the modules that strings name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in (SOURCE / "healthfm").rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports, anywhere in it, and what its strings name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("healthfm."):
            yield node.value


def edges(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which modules each names: of a name within a module, that module."""

    def home(name: str) -> str | None:
        while name and name not in texts:
            name = name.rpartition(".")[0]
        return name or None

    found = {}
    for module, text in texts.items():
        met = {home(name) for name in named(ast.parse(text))}
        found[module] = {one for one in met if one is not None and one not in (module, "healthfm")}
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the modules that can be reached from themselves, grouped (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def test_no_module_imports_itself_by_a_detour() -> None:
    assert circles(edges({name: path.read_text(encoding="utf-8") for name, path in modules().items()})) == []


def test_a_circle_is_seen_in_a_function_and_in_a_string() -> None:
    texts = {
        "healthfm.a": "def f():\n    from healthfm.b import g\n", "healthfm.b": "g = load('healthfm.c')\n",
        "healthfm.c": "import healthfm.a\n", "healthfm.d": "from healthfm import a\n",
    }  # fmt: skip
    assert circles(edges(texts)) == [["healthfm.a", "healthfm.b", "healthfm.c"]]
