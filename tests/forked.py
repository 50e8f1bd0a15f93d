"""Processes for tests in which the process is the point, without the ten seconds that importing torch and transformers takes.

A server, one for all workers of a test run, has imported the slow packages and does nothing else; each process is forked from it, gets its own
words, environment, folder and files, and is as alone as any other: it can be killed, has an exit code, and may sit at a terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

PROJECT = Path(__file__).parents[1]


def read(line: socket.socket) -> str:
    """Return the next line that came; empty where nobody speaks any more."""
    text = b""
    while not text.endswith(b"\n") and (more := line.recv(1)):
        text += more
    return text.decode()


class Forked:
    """A process that was asked for: its ``pid``, and its exit code once it is gone (minus the signal that killed it)."""

    def __init__(self, line: socket.socket) -> None:
        self.line, self.pid = line, int(read(line))
        self.code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.code is None and select.select([self.line], [], [], 0)[0]:
            self.wait()
        return self.code

    def wait(self, patience: float | None = None) -> int:
        """Wait (seconds of ``patience``) until it is gone; return its exit code."""
        if self.code is None:
            self.line.settimeout(patience)
            self.code = int(read(self.line))
            self.line.close()
        return self.code

    def send(self, sign: signal.Signals) -> None:
        os.kill(self.pid, sign)

    def end(self) -> None:
        """Kill it where it still runs."""
        if self.poll() is None:
            self.send(signal.SIGKILL)
            self.wait()


class Server:
    """The door to the server; ``start`` it where nobody has."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fork(self, words: Sequence[object], out: int, err: int, code: str = "", terminal: bool = False) -> Forked:
        """Fork ``healthfm WORDS``, or Python ``code`` with these arguments, that writes into open files (``terminal``: and sits at ``out``)."""
        asked = {"words": [*map(str, words)], "code": code, "terminal": terminal, "folder": str(Path.cwd()), "environment": dict(os.environ)}  # fmt: skip
        return Forked(self._connect(json.dumps(asked), [out, err]))

    @contextlib.contextmanager
    def held(self) -> Iterator[Server]:
        """Start the server unless it runs; it ends when nobody holds it any more."""
        with self.place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                line = self._connect("", [])
            except OSError:
                self.place.unlink(missing_ok=True)
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                    listener.bind(str(self.place))
                    listener.listen(16)
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.forked", str(listener.fileno())], cwd=PROJECT,
                        pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
                    )  # fmt: skip
                line = self._connect("", [])
        with line:
            yield self

    def _connect(self, message: str, files: list[int]) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(str(self.place))
        except OSError:
            line.close()
            raise
        socket.send_fds(line, [b"\n"], files)
        line.sendall(f"{message}\n".encode())
        return line


def serve(listener: socket.socket) -> None:
    """Fork what is asked for until the last connection that holds the server is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    holding: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([listener, *holding], [], [])
        if listener in ready:
            line, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(line, 1, 2)
            if not files:
                holding.append(line)
                continue
            if os.fork() == 0:
                for one in (listener, *holding):
                    one.close()
                watch(line, files, json.loads(read(line)))
            for one in files:
                os.close(one)
            line.close()
        gone = [one for one in holding if one in ready and not one.recv(1)]
        holding = [one for one in holding if one not in gone]
        if gone and not holding:
            return


def watch(line: socket.socket, files: list[int], asked: dict[str, Any]) -> NoReturn:
    """Fork the process, say its number, wait for it and say its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        line.close()
        become(files, asked)
    with contextlib.suppress(OSError):  # who asked may be gone
        line.sendall(f"{pid}\n".encode())
        for one in files:
            os.close(one)
        line.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


def become(files: list[int], asked: dict[str, Any]) -> NoReturn:
    """Be the process that was asked for, and end with its exit code."""
    code: Any = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if asked["terminal"]:
            os.login_tty(files[0])
        else:
            os.setsid()
            for number, one in enumerate(files, 1):
                os.dup2(one, number)
                os.close(one)
        sys.stdin, sys.stdout, sys.stderr = (open(i, "rw"[i > 0], encoding="utf-8", closefd=False) for i in range(3))  # noqa: SIM115
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["healthfm", *asked["words"]]
        if asked["code"]:
            exec(compile(asked["code"], "<test>", "exec"), {"__name__": "__main__"})
        else:
            from healthfm import cli

            cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    import importlib

    with socket.socket(fileno=int(sys.argv[1])) as door:
        for name in (
            "torch", "transformers.modeling_utils", "transformers.models.llama.modeling_llama", "sklearn.linear_model", "pyarrow.parquet",
            "healthfm.cli", "healthfm.evaluate.runner", "healthfm.models.language.causal_lm", "healthfm.models.vision.vit",
            "healthfm.embed.run", "healthfm.report.run",
        ):  # fmt: skip
            importlib.import_module(name)
        serve(door)
