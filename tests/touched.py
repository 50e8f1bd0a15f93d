"""The test files of what was touched: by the last commit, and in the working tree.

    python -m pytest $(python -m tests.touched)

A changed test is taken itself; a file of ``src/healthfm/ROOM/NAME.py`` is tested by ``tests/ROOM/test_NAME.py``, or by its whole
room where no test has its name; a helper or data of the tests, by the tests beside it. Everything else is left to ``make test``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def changed() -> list[str]:
    """Return the paths that the last commit or the working tree changed, new files too."""
    asked = (["diff", "--name-only", "HEAD~1"], ["ls-files", "--others", "--exclude-standard"])
    said = [subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=True) for words in asked]
    return sorted({line for one in said for line in one.stdout.splitlines()})


def tests_of(path: str, root: Path = PROJECT) -> list[str]:
    """Return the test files or folders, below ``root``, of one changed path; none where no rule says."""
    file = Path(path)
    if file.suffix != ".py" or file.parts[0] not in ("src", "tests"):
        return []
    if file.parts[0] == "tests":
        found = file if file.name.startswith("test_") else file.parent
        return [str(found)] if found != Path("tests") and (root / found).exists() else []
    room = Path("tests", *file.parts[2:-1])
    while room != Path("tests") and not (root / room).is_dir():  # the tests of a room's rooms stand beside one another
        room = room.parent
    exact = sorted(one for one in (root / room).rglob(f"test_{file.stem}*.py"))
    if exact:
        return [str(one.relative_to(root)) for one in exact]
    return [str(room)] if room != Path("tests") else []


def chosen(paths: Iterable[str], root: Path = PROJECT) -> list[str]:
    """Return what to run for changed paths; a file of a folder that is run is not named beside it."""
    found = {one for path in paths for one in tests_of(path, root)}
    return sorted(one for one in found if not any(str(above) in found for above in Path(one).parents))


if __name__ == "__main__":
    print(" ".join(chosen(changed())) or "tests/test_spelling.py")
