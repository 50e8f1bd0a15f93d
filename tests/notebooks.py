"""The notebooks of examples/: their cells run in this process, without a kernel; ``python -m tests.notebooks`` writes what they show into them."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def execute(path: Path) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """Run a notebook's code cells in their order; return the outputs of each, as the file keeps them, and the names at the end."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _run("".join(cell["source"]), f"{path.name}, cell {cell['id']}", names)
        outputs: list[dict[str, Any]] = []
        if printed.getvalue():
            outputs.append(
                {"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)}
            )
        if value is not None:
            html = getattr(value, "_repr_html_", None)
            data = {"text/plain": [repr(value)]} if html is None else {"text/html": [html()]}
            outputs.append(
                {"data": data, "execution_count": len(shown) + 1, "metadata": {}, "output_type": "execute_result"}
            )
        shown.append(outputs)
    return shown, names


def _run(source: str, where: str, names: dict[str, Any]) -> Any:
    """Run a cell and return the value of its last line, where that is an expression."""
    tree = ast.parse(source, where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names) if isinstance(last, ast.Expr) else None


def main() -> None:
    """Write what each cell shows into the files."""
    for path in NOTEBOOKS:
        book = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            outputs, _ = execute(path)
        for number, (cell, shown) in enumerate(
            zip([c for c in book["cells"] if c["cell_type"] == "code"], outputs, strict=True), 1
        ):
            cell |= {"outputs": shown, "execution_count": number}
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
