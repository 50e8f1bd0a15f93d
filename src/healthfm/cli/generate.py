"""``healthfm generate``: one prompt, a file of prompts, or a chat in the terminal."""

from __future__ import annotations

import contextlib
import importlib
import json as json_module
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_json, kept_here, progress_bar
from healthfm.cli.options import AllowRemote, Device, Dtype, JsonFlag, ModelName, Seed, Weights

if TYPE_CHECKING:
    from healthfm.models.language.rendered import Asked
    from healthfm.models.model import Model

HELP = "/clear forgets the conversation, Ctrl-C stops an answer, /exit or Ctrl-D ends the chat"


def register(app: typer.Typer) -> None:
    @app.command()
    def generate(
        model: ModelName,
        prompt: Annotated[
            str | None, typer.Argument(help="The text. Without one: standard input, or a chat in a terminal.")
        ] = None,
        file: Annotated[
            Path | None,
            typer.Option(help="Prompts, one a line; .jsonl: {prompt}, {messages}, or the slots of --prompt."),
        ] = None,
        name: Annotated[
            str | None, typer.Option("--prompt", help="Use the card's prompt of this name (healthfm show MODEL).")
        ] = None,
        raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, in no chat form.")] = False,
        system: Annotated[str | None, typer.Option(help="A system text before the conversation.")] = None,
        max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
        temperature: Annotated[
            float,
            typer.Option(
                help="0 takes the likeliest text, by beams where the card says so; above it, tokens are drawn as the card filters them."
            ),
        ] = 0,
        seed: Seed = 0,
        stop: Annotated[
            list[str] | None, typer.Option(help="End before this text (repeatable; default: the card's).")
        ] = None,
        weights: Weights = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
        allow_remote: AllowRemote = None,
        json: JsonFlag = False,
    ) -> None:
        """Generate text: an answer to one prompt, to each prompt of a file, or a chat.

        A text is asked as a chat turn where the model has a chat form; --raw only continues it. Research use only: an answer
        can be wrong or harmful, and is no medical advice.

        Example: healthfm generate smollm2-135m-instruct "Name two drugs for high blood pressure." --max-new-tokens 40
        """
        from healthfm.errors import RunError
        from healthfm.models.load import load_model

        if prompt is not None and file is not None:
            raise RunError("give a prompt or --file, not both")
        if name is not None and raw:
            raise RunError("give --prompt or --raw, not both")
        lines = _lines(file) if file is not None else None
        chat = prompt is None and file is None and sys.stdin.isatty() and not json and name is None and not raw
        if prompt is None and file is None and not chat:
            prompt = sys.stdin.read()
        if sys.stderr.isatty():
            print(f"loading {model} ...", file=sys.stderr)
        loaded = load_model(model, weights, device=device, dtype=dtype, endpoint=kept_here(model, allow_remote))
        for notice in _notices(loaded):
            print(f"notice: {notice}", file=sys.stderr)
        how: dict[str, Any] = {
            "max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "stop": stop or None,
        }  # fmt: skip
        if chat:
            _chat(loaded, system, how)
        elif lines is not None:
            _answer_all(loaded, lines, name, system, raw, how, json)
        else:
            from healthfm.models.language.prompts import prepare

            assert prompt is not None
            asked = prepare(loaded, prompt, name, system, raw)
            if json:
                emit_json({"model": loaded.name, "text": loaded.generate([asked], **how)[0], **how, **_weights(loaded)})
            else:
                _show(loaded, asked, how)


def _weights(model: Model) -> dict[str, Any]:
    told = {"weights": model.provenance.get("weights"), "digest": model.provenance.get("digest")}
    return {**told, **({"notices": found} if (found := _notices(model)) else {})}


def _notices(model: Model) -> list[str]:
    return [*model.provenance.get("notices", []), *model.provenance.get("generation_notices", [])]


def _show(model: Model, asked: Asked, how: dict[str, Any], shown: list[str] | None = None) -> None:
    """Print an answer as it comes; its pieces also go into ``shown``."""
    for piece in model.generate([asked], stream=True, **how):
        print(piece, end="", flush=True)
        if shown is not None:
            shown.append(piece)
    print()


def _chat(model: Model, system: str | None, how: dict[str, Any]) -> None:
    from healthfm.errors import HealthfmError
    from healthfm.models.language.prompts import chats
    from healthfm.records import Message

    if not chats(model):
        from healthfm.errors import CapabilityError

        raise CapabilityError(f"{model.name} has no chat form; give it a prompt to continue")
    with contextlib.suppress(ImportError):  # Windows has none
        importlib.import_module("readline")  # gives input() its arrow keys
    print(f"{model.name}: research use only, no medical advice; {HELP}", file=sys.stderr)
    first = [Message("system", system)] if system is not None else []
    turns = list(first)
    while True:
        try:
            said = _ask("you: ").strip()
        except EOFError:
            print()
            return
        if said == "/exit":
            return
        if said == "/clear":
            turns = list(first)
        elif said.startswith("/"):
            print(f"no command {said.split()[0]}; {HELP}", file=sys.stderr)
        elif said:
            print(f"{model.name}: ", end="", flush=True)
            answer: list[str] = []
            try:
                _show(model, [*turns, Message("user", said)], how, answer)
            except KeyboardInterrupt:
                print()
            except HealthfmError as error:  # too long, or a form that the model has not: the chat goes on
                print(f"\nhealthfm: {error}", file=sys.stderr)
                continue
            turns += [Message("user", said), Message("assistant", "".join(answer))]


def _ask(prompt: str) -> str:
    """Return the line that is typed behind a prompt; Ctrl-C always ends the wait with ``KeyboardInterrupt``.

    A signal that comes between the prompt's print and the wait for a key is only noted: the wait itself would
    go on until the next key. A clock that interrupts the wait four times a second lets Python see what it noted.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        return input(prompt)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.25, 0.25)
    try:
        return input(prompt)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _lines(file: Path) -> list[Any]:
    """Return a file's prompts: a str, or the object of a .jsonl line. Raises ``RunError`` with the line's number."""
    from healthfm.errors import RunError

    try:
        texts = file.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also split at marks within a text
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: cannot be read as text ({type(error).__name__})") from None
    found: list[Any] = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        if file.suffix != ".jsonl":
            found.append(text)
            continue
        try:
            row = json_module.loads(text)
        except ValueError:
            raise RunError(f"{file}:{number}: not a line of JSON") from None
        if not isinstance(row, dict):
            raise RunError(f"{file}:{number}: an object is needed, this is a {type(row).__name__}")
        found.append(row)
    if not found:
        raise RunError(f"{file}: has no prompts")
    return found


def _asked(model: Model, row: Any, name: str | None, system: str | None, raw: bool, number: int) -> Asked:
    from healthfm.errors import RunError
    from healthfm.models.language.prompts import choose, prepare, render
    from healthfm.records import Message

    if isinstance(row, str) or ("prompt" in row and isinstance(row["prompt"], str)):
        return prepare(model, row if isinstance(row, str) else row["prompt"], name, system, raw)
    if name is not None:
        return render(choose(model.card, name), **row)
    try:
        return [Message(str(turn["role"]), str(turn["content"])) for turn in row["messages"]]
    except (KeyError, TypeError):
        raise RunError(f"prompt {number}: needs 'prompt' (a text) or 'messages' (role and content each)") from None


def _answer_all(
    model: Model, rows: list[Any], name: str | None, system: str | None, raw: bool, how: dict[str, Any], json: bool
) -> None:
    """Answer each prompt of a file; with ``json`` as lines of JSON, one as soon as it is there."""
    asked = [_asked(model, row, name, system, raw, number) for number, row in enumerate(rows, 1)]
    with progress_bar(f"{model.name}", quiet=json) as advance:
        for number, one in enumerate(asked):
            advance(number, len(asked))
            text = model.generate([one], **how)[0]
            print(
                json_module.dumps({"number": number + 1, "text": text}, ensure_ascii=False) if json else text,
                flush=True,
            )
        advance(len(asked), len(asked))
