"""The command line: one module a verb; each parses, calls the library and shows. No logic lives here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from healthfm import __version__
from healthfm.cli import console
from healthfm.errors import HealthfmError
from healthfm.home import commit

VERBS = (
    "find", "show", "weights", "fetch", "lineage", "read", "check", "generate", "embed", "search", "evaluate", "run", "runs", "compare", "leaderboard",
    "contamination", "report", "heatmap", "verify", "coverage", "doctor",
)  # fmt: skip


def command_line(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """Return the command line with these verbs. One call needs one of them, and a shell that completes words waits for no other."""
    made = typer.Typer(
        name="healthfm", rich_markup_mode=None, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Find, read, run, evaluate and compare healthcare foundation models and datasets.\n\nResearch use only; not a medical device. Nothing is downloaded or sent anywhere unless asked.\n\n"
        "With every command: -v says on standard error what is done (-vv more), --quiet draws no progress bar; HEALTHFM_LOG=LEVEL[:FILE] logs the same.",
    )  # fmt: skip
    made.callback()(_several)
    for verb in verbs:
        import_module(f"{__name__}.{verb}").register(made)
    return made


def __getattr__(name: str) -> typer.Typer:
    """``app``: the whole command line, made when it is asked for."""
    if name == "app":
        return command_line()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _several() -> None:
    """Without a callback a command line of one verb would be that verb."""


def _asked(words: Sequence[str]) -> Sequence[str]:
    """Return the verbs that a call needs: its own, also where a shell asks how its words go on; all where it names none."""
    told = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    if "_HEALTHFM_COMPLETE" in os.environ:
        words = told.split()[1:] if told[-1:].isspace() else told.split()[1:-1]
    return [words[0]] if words and words[0] in VERBS else VERBS


WrongCall = typer.BadParameter.__base__  # the usage error of the click that typer carries
assert WrongCall is not None


def main() -> None:
    """Run the command line. A user's mistake is one line on standard error and exit code 2; Ctrl-C is 130."""
    words = sys.argv[1:]
    if words == ["--version"]:
        made_of = commit()
        print(f"{__version__} (commit {made_of[:12]})" if made_of is not None else __version__)
        return
    verb = words[0] if words and words[0] in VERBS else ""
    try:
        words = console.set_up(words)
        code = command_line(_asked(words))(args=words or ["--help"], prog_name="healthfm", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except HealthfmError as error:
        _fail(str(error), 2)
    except WrongCall as error:
        _fail(f"{error.format_message()} (see {' '.join(filter(None, ('healthfm', verb, '--help')))})", 2)  # type: ignore[attr-defined]
    except typer.Abort:
        _fail("stopped", 130)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("healthfm"):
            raise
        _fail(
            f"this needs the package {error.name}: pip install 'healthfm[all]', or the extra that holds it (healthfm doctor)",
            2,
        )
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    print(f"healthfm: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
