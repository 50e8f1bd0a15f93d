"""What a reference claim rests on: the code that serves its row, the card's facts that this code uses, and the test itself.

A claim lapses when one of these changes, and not when a stranger's row does. The code is found by following names: from a
reader's generator, or a family's ``load``, to what these use of their room; to the record's class; and to the format modules
they call, whole. The doors that serve every row are no part of it. Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthfm.cards import catalog
from healthfm.models.families import FAMILIES

PROJECT = Path(__file__).parents[2]
DOORS = {
    "healthfm.datasets.dataset", "healthfm.datasets.locate", "healthfm.datasets.open", "healthfm.datasets.reader", "healthfm.models.families",
    "healthfm.models.load", "healthfm.models.model", "healthfm.errors", "tests.conftest", "tests.evidence",
}  # fmt: skip
FACTS = {
    "dataset": ("reader", "record", "files", "splits", "labels", "counts", "variants", "default_variant"),
    "model": ("run", "variants", "default_variant"),
}
# What is followed from where. A family's networks are proved on arrays and tensors: which file they came from is another claim's.
FOLLOWED = {
    "healthfm.datasets": ("healthfm.datasets", "healthfm.formats", "healthfm.records"), "healthfm.models": ("healthfm.models",),
    "healthfm.formats": ("healthfm.formats",), "healthfm.records": ("healthfm.records",), "tests": ("tests",),
}  # fmt: skip
Symbol = tuple[str, str | None]  # module, and a name at its top (None: all of it)


@dataclass(frozen=True)
class Module:
    """A module's names at the top, what it imports under which name, and its own text as a tree."""

    tree: ast.Module
    names: dict[str, list[ast.stmt]]
    imports: dict[str, Symbol]


def code_of(kind: str, slug: str, tests: Sequence[str]) -> str:
    """Return the digest of a row's code, of the facts on its card that the code uses, and of the tests that prove it."""
    entry = catalog.lookup(slug, kind)
    facts = {name: entry.get(name) for name in FACTS[kind]}
    seeds = [test_symbol(test) for test in tests]
    whole = [json.dumps(facts, sort_keys=True, default=str), *_texts(through(kind, slug)), *_texts(_reached(seeds))]
    return hashlib.sha256("\n".join(whole).encode()).hexdigest()[:16]


def through(kind: str, slug: str) -> list[Symbol]:
    """Return what serves a row: names of its room and of records, and whole modules of formats, sorted."""
    entry = catalog.lookup(slug, kind)
    if kind == "model":
        family = entry.get("run", {}).get("family")
        return _reached([(f"healthfm.models.{FAMILIES[family]}", "load")] if family else [])
    if not entry.get("reader"):
        return []
    home = f"healthfm.datasets.readers.{entry['reader']}"
    return _reached([(home, name) for name in _generators(home, slug)])


def test_symbol(test: str) -> Symbol:
    """Return where a test's function stands: "tests/x/test_y.py::test_z[1]" -> (tests.x.test_y, test_z)."""
    file, _, name = test.partition("::")
    return file.removesuffix(".py").replace("/", "."), name.split("[")[0].split("::")[0]


def _generators(module: str, slug: str) -> list[str]:
    """Return the names of the functions that a module registers as readers of a slug."""
    return [
        node.name
        for node in read(module).tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Constant) and one.value == slug for d in node.decorator_list for one in ast.walk(d))
    ]


def _file(module: str) -> Path | None:
    base = PROJECT / ("src" if module.startswith("healthfm") else "") / Path(*module.split("."))
    return next((one for one in (base.with_suffix(".py"), base / "__init__.py") if one.is_file()), None)


@functools.cache
def read(module: str) -> Module:
    """Read a module of the project."""
    path = _file(module)
    tree = ast.parse(path.read_text(encoding="utf-8")) if path is not None else ast.Module([], [])
    names: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in _bound(node):
            names.setdefault(name, []).append(node)
    return Module(tree, names, _imports(tree))


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def _imports(tree: ast.AST) -> dict[str, Symbol]:
    """Return what the project's own imports below a node bind, those inside functions too."""
    found: dict[str, Symbol] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("healthfm", "tests"):
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                found[one.asname or one.name] = (whole, None) if _file(whole) else (node.module, one.name)
    return found


def _reached(seeds: Sequence[Symbol]) -> list[Symbol]:
    """Return the names that seeds use, and those that these use, within rooms and tests; modules of formats are taken whole."""
    waiting, met = list(seeds), set[Symbol]()
    while waiting:
        one = waiting.pop()
        if one in met or any(one[0] == door or one[0].startswith(f"{door}.") for door in DOORS):
            continue
        met.add(one)
        waiting += _uses(*one)
    return sorted(met, key=lambda one: (one[0], one[1] or ""))


def _uses(name: str, symbol: str | None) -> Iterator[Symbol]:
    module = read(name)
    if name.startswith("healthfm.formats"):
        symbol = None
    if symbol is None:
        used = set(module.imports) if name.startswith("healthfm.formats") else set(module.imports) | set(module.names)
    elif name.startswith("healthfm.records"):  # of a record its bases count, not every noun that a field may hold
        classes = [node for node in module.names.get(symbol, []) if isinstance(node, ast.ClassDef)]
        used = {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}
        used |= {symbol} & set(module.imports)  # the room names its nouns again
    else:
        used = set().union(*map(_names, module.names.get(symbol, [])))
    for one in used:
        if one in module.names and (name, one) != (name, symbol):
            yield name, one
        elif one in module.imports and _followed(name, module.imports[one]):
            target, inner = module.imports[one]
            yield (target, None) if target.startswith("healthfm.formats") else (target, inner)


def _followed(at: str, target: Symbol) -> bool:
    """Say whether an import belongs to what serves a row."""
    rooms = next(rooms for room, rooms in FOLLOWED.items() if at.startswith(room))
    return target[0].startswith(rooms)


def _names(node: ast.AST) -> set[str]:
    """Return the names that a definition reads; a test's arguments are fixtures of its module."""
    found = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return found | {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}


def _texts(symbols: Sequence[Symbol]) -> list[str]:
    """Return the code behind names, without comments and docstrings."""
    texts = []
    for module, name in symbols:
        nodes: Sequence[ast.stmt] = read(module).tree.body if name is None else read(module).names.get(name, [])
        texts.append(f"{module}:{name}:" + "".join(ast.dump(_plain(node)) for node in nodes))
    return texts


def _plain(node: ast.stmt) -> ast.AST:
    """Return a copy of a statement without docstrings."""
    copy = ast.parse(ast.unparse(node))
    for one in ast.walk(copy):
        body: Any = getattr(one, "body", None)
        if isinstance(one, ast.FunctionDef | ast.ClassDef | ast.Module) and body and _is_text(body[0]):
            del body[0]
    return copy


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def of_paths(*paths: Path) -> str:
    """Return a short digest of files' contents (folders: of every file below)."""
    whole = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                whole.update(file.read_bytes())
    return whole.hexdigest()[:16]


def of_source() -> str:
    """Return the digest of all that a test run depends on in this project; the record of evidence is not among it."""
    whole = hashlib.sha256()
    for top in ("src", "tests", "examples"):
        for file in sorted((PROJECT / top).rglob("*")):
            parts = file.relative_to(PROJECT).parts
            if file.is_file() and "__pycache__" not in parts and "evidence" not in parts[3:4]:
                whole.update("/".join(parts).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]
