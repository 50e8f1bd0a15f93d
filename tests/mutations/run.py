"""Do the tests notice? Makes small wrong changes, one at a time, in a copy of the project, and runs the tests that should turn red.

The changes are data, in the TOML files of this folder, one ``[[change]]`` each: ``name``; ``file``, ``old`` and ``new`` (``old`` stands
in the file exactly once, so that the data cannot rot); ``tests``, as pytest takes them; and ``survives``, the reason, where no test can
notice. A run first holds that the tests pass without any change.

Each change's tests run in a process forked from this one, which has imported the slow packages, but nothing of healthfm.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
COPIED = (
    "src",
    "tests",
    "docs",
    "examples",
    "benchmarks",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "constraints.txt",
)
SLOW = (
    "pytest",
    "numpy",
    "scipy.stats",
    "pyarrow.parquet",
    "sklearn.linear_model",
    "hypothesis",
    "pydantic",
    "torch",
    "transformers",
)
LONGEST = 180  # seconds that a change's tests may take; it then counts as noticed: something hangs
FAILED = 1  # pytest's exit code
_CLOCK = itertools.count(
    1_000_000_000
)  # times of changed files: each differs, so that no compiled one is taken for another


class Wrong(Exception):
    """The data, or the project before any change, is not in order."""


@dataclass(frozen=True)
class Change:
    """One small wrong change, and the tests that should notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str | None = None

    def broken(self, text: str) -> str:
        """Return a file's text with the change made. Raises ``Wrong`` where ``old`` does not stand in it exactly once."""
        found = text.count(self.old)
        if found != 1:
            raise Wrong(f"{self.name}: its old text stands {found} times in {self.file}, not once")
        if self.old == self.new:
            raise Wrong(f"{self.name}: changes nothing")
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.file, "exec") if self.file.endswith(".py") else tomllib.loads(changed)
        except (SyntaxError, ValueError) as error:
            raise Wrong(f"{self.name}: {self.file} can then not be read at all ({error})") from None
        return changed


def changes(folder: Path = HERE) -> list[Change]:
    """Return every change of the folder's TOML files. Raises ``Wrong``: a field that is missing or unknown, a name met before."""
    found: dict[str, Change] = {}
    for path in sorted(folder.glob("*.toml")):
        for fields in tomllib.loads(path.read_text(encoding="utf-8"))["change"]:
            try:
                one = Change(**{**fields, "tests": tuple(fields["tests"])})
            except (TypeError, KeyError) as error:
                raise Wrong(f"{path.name}: a change's fields are not as they should be ({error})") from None
            if one.name in found or not one.tests:
                raise Wrong(f"{path.name}: '{one.name}' is there before, or names no tests")
            found[one.name] = one
    return list(found.values())


def put(path: Path, text: str) -> None:
    """Write a file, with a time that no file had before."""
    path.write_text(text, encoding="utf-8")
    now = next(_CLOCK)
    os.utime(path, (now, now))


@contextlib.contextmanager
def changed(root: Path, change: Change) -> Iterator[None]:
    """Make a change in the copy, and take it back."""
    path = root / change.file
    whole = path.read_text(encoding="utf-8")
    put(path, change.broken(whole))
    try:
        yield
    finally:
        put(path, whole)


def outcome(root: Path, tests: Sequence[str], log: Path, longest: float) -> int | None:
    """Run tests in the copy, in a process of their own; return pytest's exit code, or None where they took too long (seconds)."""
    child = os.fork()
    if child == 0:
        _become(root, tests, log)
    until = time.monotonic() + longest
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _end(child)
    os.waitpid(child, 0)
    return None


def _end(child: int) -> None:
    """End what a process started, and itself: it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _become(root: Path, tests: Sequence[str], log: Path) -> None:
    """Be the process that runs tests in the copy; does not return."""
    code = 3
    gc.freeze()  # a collection would write to, and so copy, all that came from the parent
    try:
        os.setsid()
        with log.open("w") as handle:
            for stream in (1, 2):
                os.dup2(handle.fileno(), stream)
        os.chdir(root)
        os.environ["PYTHONPATH"] = f"{root / 'src'}{os.pathsep}{root}"
        here = {str(PROJECT), str(PROJECT / "src"), str(HERE), ""}
        sys.path[:] = [str(root / "src"), str(root), *(p for p in sys.path if p not in here)]
        for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
            del sys.modules[name]
        code = int(import_module("pytest").main(["-q", "-x", "-p", "no:cacheprovider", "--disable-warnings", *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def copy(root: Path) -> None:
    """Copy what the tests need, without what was compiled."""
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, root / name)


def choose(every: Sequence[Change], only: str, count: int | None, seed: int) -> list[Change]:
    """Return the changes whose name or file holds ``only``, or a seeded draw of them."""
    found = [one for one in every if only in one.name or only in one.file]
    if not found:
        raise Wrong(f"no change's name or file holds '{only}'")
    return found if count is None else random.Random(seed).sample(found, min(count, len(found)))


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def try_change(root: Path, change: Change, log: Path) -> str:
    """Return whether the change's tests "noticed" it, it "survives", or something "hangs" (noticed too, if the machine is not just slow).

    Raises ``Wrong`` where they could not run.
    """
    with changed(root, change):
        code = outcome(root, change.tests, log, LONGEST)
    if code not in (None, 0, FAILED):
        raise Wrong(f"{change.name}: its tests could not run (pytest's exit code {code})\n{tail(log)}")
    return "hangs" if code is None else "noticed" if code else "survives"


def run(every: Sequence[Change], root: Path) -> list[Change]:
    """Make each change and say whether it was noticed; return those that were not and should have been."""
    log = root / "log"
    tests = sorted({test for one in every for test in one.tests})
    began = time.monotonic()
    code = outcome(root, tests, log, LONGEST * len(tests))
    if code != 0:
        raise Wrong(f"before any change, the tests fail (pytest's exit code {code})\n{tail(log)}")
    print(f"unchanged: {len(tests)} files or tests pass, {time.monotonic() - began:.0f} s", flush=True)
    lost: list[Change] = []
    wrong: list[str] = []
    for number, one in enumerate(every, 1):
        began = time.monotonic()
        try:
            found = try_change(root, one, log)
        except Wrong as error:
            print(f"{number:>4}/{len(every)} WRONG    {one.name}", flush=True)
            wrong.append(str(error))
            continue
        noticed = found != "survives"
        word = "SURVIVES" if not noticed and one.survives is None else found
        why = f" ({one.survives})" if not noticed and one.survives else ""
        print(f"{number:>4}/{len(every)} {word:<8} {time.monotonic() - began:5.1f} s  {one.name}{why}", flush=True)
        if noticed and one.survives:
            wrong.append(f"{one.name}: said to survive, and was noticed: take its reason out")
        if not noticed and one.survives is None:
            lost.append(one)
    if wrong:
        raise Wrong("\n".join([*wrong, *(f"{one.name}: survives" for one in lost)]))
    return lost


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 where every change was noticed or has a reason, 1 where one survives, 2 where the data is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, metavar="N", help="a draw of so many changes")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", metavar="TEXT", help="changes whose name or file holds this")
    parser.add_argument("--list", action="store_true", help="hold the data against the source, and run nothing")
    asked = parser.parse_args(arguments)
    try:
        every = changes()
        for one in every:
            one.broken((PROJECT / one.file).read_text(encoding="utf-8"))
        chosen = choose(every, asked.only, asked.random, asked.seed)
        if asked.list:
            print("\n".join(f"{one.file}: {one.name}" for one in chosen))
            return 0
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        for name in SLOW:
            import_module(name)
        with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
            copy(Path(folder))
            lost = run(chosen, Path(folder))
    except Wrong as error:
        print(error, file=sys.stderr)
        return 2
    reasons = sum(one.survives is not None for one in chosen)
    print(
        f"{len(chosen)} changes: {len(chosen) - len(lost) - reasons} noticed, {reasons} survive for a reason, {len(lost)} survive"
    )
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
