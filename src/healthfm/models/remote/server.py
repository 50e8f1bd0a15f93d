"""What a server tells of the model that it holds: its names and numbers, its tokens, and the log-probabilities of given text.

``echo``: the completions protocol's ``echo`` with ``logprobs``. ``forced``: llama.cpp's own ``/completion``, which tells the
log-probability of the token that was taken, before any bias: a logit bias makes it the one that was asked for.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from healthfm.errors import CapabilityError, RunError
from healthfm.models.remote.client import Client
from healthfm.models.remote.served import FILES

PROBE = "The capital of France is"
BIAS = 1e4
NOISE = 0.02  # what a server's log-probability of one token differs by between two requests, at most
FLOOR = -1e30  # llama.cpp writes the lowest float where a probability underflowed
IDENTITY = (
    "ftype",
    "n_params",
    "n_vocab",
    "size",
)  # of what a server tells of its model: what another model would change


class Server:
    """A model that a server holds under ``name``; ``about``: what the server tells of it (see ``listed``)."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.name, self.about = listed(client)

    @property
    def root(self) -> str:
        """The path below which the server has what the protocol lacks."""
        return self.client.path.removesuffix("/v1")

    def tokens(self, text: str, special: bool = True) -> list[int] | None:
        """Ask ``/tokenize`` in the words of both llama.cpp (content, add_special) and vLLM (prompt, add_special_tokens)."""
        body = {"content": text, "add_special": special, "parse_special": True, "model": self.name, "prompt": text, "add_special_tokens": special}  # fmt: skip
        found = (self.client.attempt(f"{self.root}/tokenize", body) or {}).get("tokens")
        return found if isinstance(found, list) and all(isinstance(one, int) for one in found) else None

    def echo_body(self, prompt: str | Sequence[int]) -> dict[str, Any]:
        """Return a request that asks for the log-probabilities of a prompt's own tokens."""
        given = prompt if isinstance(prompt, str) else list(prompt)
        return {"model": self.name, "prompt": given, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}

    def echo(self, prompt: str | Sequence[int]) -> list[Any]:
        """Return the log-probabilities of a prompt's tokens (see ``echoed``)."""
        found = echoed(self.client.ask(f"{self.client.path}/completions", self.echo_body(prompt)))
        if found is None:
            raise RunError(f"{self.client.url}: it no longer echoes the prompt's log-probabilities")
        return found

    def forced(self, given: Sequence[int], token: int) -> float:
        """Return the log-probability of ``token`` after ``given``, by llama.cpp's own ``/completion``."""
        body = {"prompt": list(given), "n_predict": 1, "temperature": 0, "n_probs": 1, "logit_bias": [[token, BIAS]]}
        try:
            taken = self.client.ask(f"{self.root}/completion", body)["completion_probabilities"][0]
            found, value = taken["id"], float(taken["logprob"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise RunError(f"{self.client.url}: its /completion tells no log-probability") from None
        if found != token:
            raise RunError(f"{self.client.url}: its /completion did not take the token it was given")
        if value < FLOOR:
            raise RunError(f"{self.client.url}: a log-probability is below what its float32 holds")
        return value

    def can_force(self) -> bool:
        """Whether this is llama.cpp's server and tells the log-probability of a token that it was made to take."""
        if self.client.attempt(f"{self.root}/props") is None:
            return False
        ids = self.tokens(PROBE)
        try:
            return ids is not None and self.forced(ids[:-1], ids[-1]) < 0
        except RunError:
            return False

    def closing(self, probe: Mapping[str, Any]) -> int:
        """Return how many tokens the server puts behind a text that it cuts itself, by its echoes of two that begin alike."""
        first = echoed(probe)
        if first is None:
            return 0
        words = probe["choices"][0]["logprobs"].get("tokens")
        if isinstance(words, list) and PROBE in (told := "".join(map(str, words[: len(first)]))):
            behind = len(told) - told.index(PROBE) - len(PROBE)
            return next(n for n in range(len(first)) if sum(map(len, words[len(first) - n : len(first)])) >= behind)
        longer = self.echo(f"{PROBE} Paris")
        same = (a == b or (None not in (a, b) and abs(a - b) < NOISE) for a, b in zip(first, longer, strict=False))
        return len(first) - sum(itertools.takewhile(bool, same))


def listed(client: Client, before: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the server's name of the model, and what it tells of it (plain values only). ``before``: what it was called.

    Raises ``CapabilityError`` where it cannot be told which model is meant, ``RunError`` where the one of before is gone.
    """
    entries = (client.attempt(f"{client.path}/models") or {}).get("data") or []
    known = {one["id"]: one for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)}
    if before is not None and (before not in known if known else client.model is None):
        raise RunError(
            f"{client.url}: it held '{before}' and now lists {', '.join(list(known)[:5]) or 'nothing'}; one run is of one model. Finished parts are kept"
        )
    if client.model is None and len(known) != 1 and before is None:
        raise CapabilityError(
            f"{client.url} holds {len(known) or 'no'} models by its own list; name one: {client.url}#MODEL ({', '.join(list(known)[:5])})"
        )
    name = before or _meant(client.model, list(known)) or next(iter(known))
    if known and name not in known:
        raise CapabilityError(f"{client.url} holds no '{name}' (it lists {', '.join(list(known)[:5])})")
    entry = known.get(name, {})
    meta = {**entry, **(entry["meta"] if isinstance(entry.get("meta"), dict) else {})}
    if "root" not in meta:  # vLLM lists under another name what it holds; llama.cpp tells the file beside
        meta["root"] = (client.attempt(f"{client.path.removesuffix('/v1')}/props") or {}).get("model_path")
    kept = ("owned_by", "root", "ftype", "n_params", "n_vocab", "n_ctx", "size", "max_model_len")
    return name, {key: meta[key] for key in kept if isinstance(meta.get(key), (str, int, float))}


def _meant(asked: str | None, known: Sequence[str]) -> str | None:
    """Return the listed model that a name means: itself, else the only one whose path or repository ends so (a file's ending aside)."""
    if asked is None or asked in known:
        return asked
    ends = [one for one in known if asked in _last(one)]
    return ends[0] if len(ends) == 1 else asked


def _last(name: str) -> tuple[str, str]:
    """Return the last part of a path or repository, with and without the ending of a file of weights."""
    last = re.split(r"[/\\]", name)[-1]
    return last, next((last.removesuffix(one) for one in FILES if last.endswith(one)), last)


def echoed(answer: Mapping[str, Any]) -> list[Any] | None:
    """Return the log-probabilities of the prompt's tokens (the first has none), or None where they were not echoed."""
    try:
        found, count = answer["choices"][0]["logprobs"]["token_logprobs"], answer["usage"]["prompt_tokens"]
        return found[:count] if isinstance(found, list) and len(found) >= count > 1 else None
    except (KeyError, IndexError, TypeError):
        return None
