"""``healthfm generate`` as a user meets it: one prompt, a file, a pipe, and a chat in a terminal."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import pty
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm import cli
from healthfm.cli import generate
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.load import load_model
from healthfm.models.model import Model
from healthfm.records import Message
from tests.forked import Server

MODEL = "smollm2-135m-instruct"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(smollm2: CausalLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, with the model that the tests have loaded already."""

    def load(name: str, *args: Any, **words: Any) -> Model:
        return smollm2 if name == MODEL else load_model(name, *args, **words)

    def call(*words: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("healthfm.models.load.load_model", load)
        monkeypatch.setattr(sys, "argv", ["healthfm", "generate", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as end:
            cli.main()
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err

    return call


def test_a_prompt_is_answered_and_continued_raw(run: Run) -> None:
    code, out, _ = run(MODEL, "The capital of France is", "--raw", "--max-new-tokens", 2, "--json")
    found = json.loads(out)
    assert code == 0 and found["text"].startswith(" Paris")
    assert found["temperature"] == 0 and found["max_new_tokens"] == 2 and "Q4_1" in found["weights"]
    asked = run(MODEL, "What is the capital of France?", "--max-new-tokens", 8)[1]
    assert "Paris" in asked and asked.endswith("\n")


def test_a_pipe_is_one_prompt(run: Run) -> None:
    assert run(MODEL, "--raw", "--max-new-tokens", 1, stdin="The capital of France is")[1] == " Paris\n"


def test_a_stop_string_ends_the_answer(run: Run) -> None:
    long = run(MODEL, "Count: one two three", "--raw", "--max-new-tokens", 7)[1].removesuffix("\n")
    word = long.split()[3]
    assert (
        run(MODEL, "Count: one two three", "--raw", "--max-new-tokens", 7, "--stop", word)[1]
        == long[: long.index(word)] + "\n"
    )


def test_a_file_is_answered_line_by_line(run: Run, tmp_path: Path) -> None:
    plain = tmp_path / "prompts.txt"
    plain.write_text("The capital of France is\n\nThe capital of Italy is\n")
    lines = run(MODEL, "--file", plain, "--raw", "--max-new-tokens", 1, "--json")[1].splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    assert json.loads(lines[0])["text"] == " Paris"
    rows = tmp_path / "prompts.jsonl"
    rows.write_text('{"prompt": "Hi"}\n{"messages": [{"role": "user", "content": "Hi"}]}\n')
    first, second = run(MODEL, "--file", rows, "--max-new-tokens", 3, "--json")[1].splitlines()
    assert json.loads(first)["text"] == json.loads(second)["text"] != ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nosuchmodel", "a"), "no model is called 'nosuchmodel'"),
        ((MODEL, "a", "--file", "x.txt"), "not both"),
        ((MODEL, "a", "--prompt", "b", "--raw"), "not both"),
        ((MODEL, "--file", "/nonexistent"), "/nonexistent: cannot be read"),
        ((MODEL, "a", "--prompt", "alpaca"), "has no prompt 'alpaca' (prompts: none)"),
        ((MODEL, "a", "--raw", "--system", "b"), "no place for a system text"),
        ((MODEL, "a", "--max-new-tokens", "0"), "max_new_tokens is 0"),
        ((MODEL, "a", "--temperature", "-1"), "temperature is -1"),
        (("med-palm", "a"), "cannot run med-palm"),
        ((MODEL, "--raw"), "an empty prompt cannot be continued"),
    ],
)
def test_a_mistake_is_one_clear_line(run: Run, words: tuple[str, ...], says: str) -> None:
    code, _, err = run(*words)
    lines = [line for line in err.splitlines() if line.startswith("healthfm: ")]
    assert code == 2 and len(lines) == 1 and says in lines[0], err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json\n", ":1: not a line of JSON"),
        ("\n[1]\n", ":2: an object is needed"),
        ('{"a": 1}\n', "prompt 1: needs 'prompt'"),
        ("", "has no prompts"),
    ],
)
def test_a_bad_line_of_a_file_is_named_but_not_shown(run: Run, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(text)
    code, _, err = run(MODEL, "--file", file)
    assert code == 2 and says in err


def test_a_chat_keeps_its_turns_until_it_is_cleared(
    small_llama: CausalLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = iter(["My name is Ada.", "What is my name?", "/clear", "What is my name?", "/exit"])
    monkeypatch.setattr(builtins, "input", lambda _: next(said))
    generate._chat(small_llama, "Be brief.", {"max_new_tokens": 8})
    out = capsys.readouterr().out

    def answer(*turns: Message) -> str:
        return small_llama.generate([[Message("system", "Be brief."), *turns]], max_new_tokens=8)[0]  # type: ignore[no-any-return]

    name, again = Message("user", "My name is Ada."), Message("user", "What is my name?")
    first = answer(name)
    second, third = answer(name, Message("assistant", first), again), answer(again)
    assert second != third
    assert out == "".join(f"{MODEL}: {one}\n" for one in (first, second, third))


class Terminal:
    """A program in a real terminal; nothing of it is left when the block ends."""

    def __init__(self, server: Server, *words: str, code: str = "") -> None:
        self.screen, its = pty.openpty()
        self.child = server.fork(words, its, its, code, terminal=True)
        os.close(its)
        self.seen, self.read = "", 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.end()
        os.close(self.screen)

    def wait(self, text: str, patience: float = 240) -> str:
        """Wait (seconds of ``patience``) until the screen shows a text behind what was waited for before; return what stands between."""
        deadline = time.monotonic() + patience
        while text not in self.seen[self.read :]:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, self.seen
            self.seen += os.read(self.screen, 4096).decode(errors="replace")
        between, _, _ = self.seen[self.read :].partition(text)
        self.read += len(between) + len(text)
        return between

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def end(self) -> int:
        """Wait until the program is gone; return its exit code."""
        with contextlib.suppress(OSError):  # the screen closes when the program is gone
            self.wait("never shown")
        return self.child.wait()


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(
    small_llama: CausalLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C behind the second piece: the line ends, nothing more is made, and the next turn knows what was said."""
    said = iter(["Tell me a long story about the sea.", "Go on.", "/exit"])
    monkeypatch.setattr(builtins, "input", lambda _: next(said))
    whole = small_llama.generate
    made: list[str] = []
    heard: list[Any] = []

    def stopped(prompts: Any, *args: Any, **words: Any) -> Any:
        heard.append(prompts[0])
        for piece in whole(prompts, *args, **words):
            if len(heard) == 1 and len(made) == 2:
                raise KeyboardInterrupt
            made.append(piece)
            yield piece

    monkeypatch.setattr(small_llama, "generate", stopped)
    generate._chat(small_llama, None, {"max_new_tokens": 6})
    first = "".join(made[:2])
    assert capsys.readouterr().out == f"{MODEL}: {first}\n{MODEL}: {''.join(made[2:])}\n"
    assert [(turn.role, turn.content) for turn in heard[1]] == [
        ("user", "Tell me a long story about the sea."), ("assistant", first), ("user", "Go on."),
    ]  # fmt: skip


def test_a_chat_in_a_terminal_streams_and_edits(forked: Server, small_at_home: Path) -> None:
    """One chat, as somebody types it: a slip, an unknown command, a line from the history, the end."""
    with Terminal(forked, "generate", MODEL, "--max-new-tokens", "6") as chat:
        chat.wait("you: ")
        assert "loading" in chat.seen and "research use only" in chat.seen
        chat.type("/halp\n")
        chat.wait("no command /halp; /clear forgets")
        chat.wait("you: ")
        chat.type("Say helloo\x7f to Ada.\n")
        chat.wait(f"{MODEL}: ")
        assert chat.wait("you: ").strip()
        chat.type("\x1b[A\n")
        chat.wait("Say hello to Ada.")
        chat.wait(f"{MODEL}: ")
        chat.wait("you: ")
        chat.type("\x04")
        assert chat.end() == 0 and "Traceback" not in chat.seen


def test_a_chat_ends_on_ctrl_c_without_a_traceback(forked: Server, small_at_home: Path) -> None:
    with Terminal(forked, "generate", MODEL) as chat:
        chat.wait("you: ")
        chat.type("\x03")
        assert chat.end() == 130 and "Traceback" not in chat.seen


MISSED = """
import signal, threading, time
from healthfm.cli import generate

def press():
    time.sleep(1)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    print("pressed", flush=True)

threading.Thread(target=press, daemon=True).start()
try:
    generate._ask("you: ")
except KeyboardInterrupt:
    print("heard", flush=True)
"""


def test_a_ctrl_c_that_the_wait_for_a_key_missed_is_heard(forked: Server) -> None:
    """The signal goes to another thread: it is noted, and the wait for a key is not interrupted by it."""
    with Terminal(forked, code=MISSED) as program:
        program.wait("pressed")
        program.wait("heard", 60)
        assert program.end() == 0


def test_a_prompt_keeps_the_marks_within_it(tmp_path: Path) -> None:
    marks = "one\u2028two\x0cthree\x85four"
    (tmp_path / "p.txt").write_text(f"\ufeff{marks}\nfive\n", encoding="utf-8")
    assert generate._lines(tmp_path / "p.txt") == [marks, "five"]
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": marks}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert generate._lines(tmp_path / "p.jsonl") == [{"prompt": marks}]
