"""The command line: one module a verb; each parses, calls the library and shows. No logic lives here."""

from __future__ import annotations

import os
import sys

import typer

from healthfm.cli import check, coverage, doctor, evaluate, find, lineage, read, report, show
from healthfm.errors import HealthfmError

app = typer.Typer(
    name="healthfm", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find, read, run, evaluate and compare healthcare foundation models and datasets.\n\nResearch use only; not a medical device. Nothing is downloaded or sent anywhere unless asked.",
)  # fmt: skip
for verb in (find, show, lineage, read, check, evaluate, report, coverage, doctor):
    verb.register(app)


def main() -> None:
    """Run the command line. A user's mistake is one line on standard error and exit code 2; Ctrl-C is 130."""
    try:
        app()
    except HealthfmError as error:
        _fail(str(error), 2)
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
