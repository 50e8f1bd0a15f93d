"""The command line in this process: what a user would see and get, without a second Python."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

HEALTHFM = str(Path(sys.executable).with_name("healthfm"))  # for tests in which the process is the point


def run(*words: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``healthfm WORDS`` and return its exit code and what it printed; an exception that escapes is a traceback and 1."""
    from healthfm import cli

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["healthfm", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(list(map(str, words)), int(str(code)), out.getvalue(), err.getvalue())
