"""The command line: one module a verb; each parses, calls the library and shows. No logic lives here."""

from __future__ import annotations

import os
import sys

import typer

from healthfm import __version__
from healthfm.cli import (
    check,
    compare,
    console,
    contamination,
    coverage,
    doctor,
    embed,
    evaluate,
    fetch,
    find,
    generate,
    heatmap,
    leaderboard,
    lineage,
    read,
    report,
    run,
    runs,
    search,
    show,
    verify,
    weights,
)
from healthfm.errors import HealthfmError
from healthfm.home import commit

app = typer.Typer(
    name="healthfm", rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find, read, run, evaluate and compare healthcare foundation models and datasets.\n\nResearch use only; not a medical device. Nothing is downloaded or sent anywhere unless asked.\n\n"
    "With every command: -v says on standard error what is done (-vv more), --quiet draws no progress bar; HEALTHFM_LOG=LEVEL[:FILE] logs the same.",
)  # fmt: skip
for verb in (
    find,
    show,
    weights,
    fetch,
    lineage,
    read,
    check,
    generate,
    embed,
    search,
    evaluate,
    run,
    runs,
    compare,
    leaderboard,
    contamination,
    report,
    heatmap,
    verify,
    coverage,
    doctor,
):
    verb.register(app)


WrongCall = typer.BadParameter.__base__  # the usage error of the click that typer carries
assert WrongCall is not None


def main() -> None:
    """Run the command line. A user's mistake is one line on standard error and exit code 2; Ctrl-C is 130."""
    words = sys.argv[1:]
    if words == ["--version"]:
        made_of = commit()
        print(f"{__version__} (commit {made_of[:12]})" if made_of is not None else __version__)
        return
    verb = (
        words[0]
        if words
        and any(words[0] == command.callback.__name__ for command in app.registered_commands if command.callback)
        else ""
    )
    try:
        words = console.set_up(words)
        code = app(args=words or ["--help"], prog_name="healthfm", standalone_mode=False)
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
