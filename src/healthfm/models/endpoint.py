"""A model behind an OpenAI-compatible server: its weights lie there, the card's tokenizer and prompts stay here.

Options are scored in one of two ways, both exact:

- ``echo``: the server returns the log-probabilities of the prompt's own tokens (``echo`` with ``logprobs`` of the
  completions protocol, as vLLM does); one request an option.
- ``forced``: llama.cpp's server does not echo, but its own ``/completion`` tells the log-probability of the token that
  was taken, before any bias; each token of an option is forced in turn by a logit bias and read; one request a token.
  llama.cpp normalises in float32, which moves all options at one position by the same 1e-4 or so.

A server that does neither cannot score: its chat answers hold no probability of text it did not write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from healthfm.cards.schema import ModelCard, Prompt
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models import prompts as card_prompts
from healthfm.models import weights as weight_places
from healthfm.models.client import Client, Endpoint
from healthfm.models.model import Float32, Float64, Model

if TYPE_CHECKING:
    import transformers

    from healthfm.records import Message

PROBE = "The capital of France is"
UNEQUAL = "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker… 高血压"  # tokenizers differ on this
BIAS = 1e4
FLOOR = -1e30  # llama.cpp writes the lowest float where a probability underflowed
EMBED_AT_ONCE = 32
Jobs = list[Any]


class EndpointModel(Model):
    """A language model that a server runs. ``client.usage`` counts requests and tokens; provenance shows it."""

    def __init__(
        self, card: ModelCard, variant: str | None, client: Client, tokenizer: transformers.PreTrainedTokenizerBase | None
    ) -> None:  # fmt: skip
        super().__init__(card, variant)
        self.client, self.tokenizer = client, tokenizer
        self.served, about = _served(client)
        self.max_length = int(about.get("n_ctx") or about.get("max_model_len") or 1 << 30)
        self._tokenizes = tokenizer is not None or self._server_tokens(PROBE) is not None
        self.scoring = None
        completions = client.attempt(f"{client.path}/completions", self._echo_body(PROBE))
        if completions is not None and _echoed(completions) is not None:
            self.scoring = "echo"
        elif self._can_force():
            self.scoring = "forced"
        self._completes = completions is not None
        self.capabilities = frozenset(
            (["score"] if self.scoring else [])
            + (["generate"] if self._completes or self._chats() else [])
            + (["embed"] if client.attempt(f"{client.path}/embeddings", {"model": self.served, "input": ["a"]}) else [])
        )
        self.provenance = {
            "weights": f"'{self.served}', as the server names it", "endpoint": f"{client.url}#{self.served}", "server": about,
            "digest": None, "device": client.host, "dtype": "the server's precision", "scoring": self.scoring,
            "tokenizer": "local" if tokenizer is not None else "the server's", "usage": client.usage,
        }  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Return what is known of the server's model (see ``Model.settings``): what it says of itself, and the tokenizer here."""
        told = {name: self.provenance.get(name) for name in ("weights", "endpoint", "server", "scoring")}
        tokenizer = None
        if self.tokenizer is not None:
            from healthfm.models import state

            tokenizer = state.tokenizer(self.tokenizer)
        return {"model": self.name, **told, "max_length": self.max_length, "tokenizer": tokenizer}

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text with its special tokens: by the card's tokenizer where it is here, else the server's."""
        if self.tokenizer is not None:
            ids: list[int] = self.tokenizer.encode(text, verbose=False)
            return ids
        found = self._server_tokens(text)
        if found is None:
            raise CapabilityError(
                f"{self.client.url} has no /tokenize; put the row's tokenizer files beside (weights=)"
            )
        return found

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return the summed log-likelihood of each prompt's options (the module says how).

        Raises ``CapabilityError`` when the server tells no log-probabilities of given text.
        """
        if len(prompts) != len(options):
            raise RunError(f"{len(prompts)} prompts but {len(options)} lists of options")
        if self.scoring is None:
            raise CapabilityError(
                f"{self.client.url} cannot score options: it neither echoes the prompt's log-probabilities nor is llama.cpp's server; it can {', '.join(sorted(self.capabilities)) or 'do nothing'}"
            )
        rows: list[list[Jobs]] = self.client.many(
            lambda one: self._jobs(*one), list(zip(prompts, options, strict=True))
        )
        jobs = list(dict.fromkeys(job for row in rows for option in row for job in option))
        values = dict(zip(jobs, self.client.many(self._value, jobs), strict=True))
        return [np.array([sum(values[job] for job in option) for option in row], dtype=np.float64) for row in rows]

    def _jobs(self, prompt: str, options: Sequence[str]) -> list[Jobs]:
        """Return, for each option, the questions (given, asked) whose log-likelihoods sum to its own.

        The boundary rule is lm-evaluation-harness's: prompt and option are cut into tokens together, and apart where the
        prompt without its trailing space ends.
        """
        context = prompt.rstrip()
        if not context:
            raise RunError("an empty prompt cannot be scored")
        if not self._tokenizes:  # the server echoes, and counts the prompt's tokens by that
            given = len(self._echo(context))
            return [[(given, prompt + option)] for option in options]
        given = len(self.encode(context))
        found = []
        for option in options:
            whole = tuple(self.encode(prompt + option))
            if len(whole) <= given:
                raise RunError("an option adds no token to its prompt")
            if len(whole) > self.max_length:
                raise RunError(
                    f"a prompt with its option has {len(whole)} tokens; {self.client.url} takes {self.max_length}"
                )
            forced = [(whole[:i], whole[i]) for i in range(given, len(whole))]
            found.append(forced if self.scoring == "forced" else [(given, whole)])
        return found

    def _value(self, job: Any) -> float:
        if self.scoring == "forced":
            return self._forced(*job)
        given, whole = job
        asked = self._echo(whole)[given:]
        if not asked or any(not isinstance(one, (int, float)) for one in asked):
            raise RunError(f"{self.client.url}: it did not echo every token of an option")
        return float(sum(asked))

    def _echo_body(self, prompt: str | Sequence[int]) -> dict[str, Any]:
        given = prompt if isinstance(prompt, str) else list(prompt)
        return {"model": self.served, "prompt": given, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}

    def _echo(self, prompt: str | Sequence[int]) -> list[Any]:
        found = _echoed(self.client.ask(f"{self.client.path}/completions", self._echo_body(prompt)))
        if found is None:
            raise RunError(f"{self.client.url}: it no longer echoes the prompt's log-probabilities")
        return found

    def _forced(self, given: Sequence[int], token: int) -> float:
        """Return the log-probability of ``token`` after ``given``, by llama.cpp's own ``/completion``."""
        body = {"prompt": list(given), "n_predict": 1, "temperature": 0, "n_probs": 1, "logit_bias": [[token, BIAS]]}
        try:
            taken = self.client.ask(f"{self._root}/completion", body)["completion_probabilities"][0]
            found, value = taken["id"], float(taken["logprob"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise RunError(f"{self.client.url}: its /completion tells no log-probability") from None
        if found != token:
            raise RunError(f"{self.client.url}: its /completion did not take the token it was given")
        if value < FLOOR:
            raise RunError(f"{self.client.url}: a log-probability is below what its float32 holds")
        return value

    def _can_force(self) -> bool:
        if self.client.attempt(f"{self._root}/props") is None:
            return False
        ids = self._server_tokens(PROBE)
        try:
            return ids is not None and self._forced(ids[:-1], ids[-1]) < 0
        except RunError:
            return False

    def _chats(self) -> bool:
        turn = [{"role": "user", "content": PROBE}]
        body = {"model": self.served, "messages": turn, "max_tokens": 1}
        return self.client.attempt(f"{self.client.path}/chat/completions", body) is not None

    def _server_tokens(self, text: str) -> list[int] | None:
        """Ask ``/tokenize`` in the words of both llama.cpp (content, add_special) and vLLM (prompt, add_special_tokens)."""
        body = {"content": text, "add_special": True, "parse_special": True, "model": self.served, "prompt": text, "add_special_tokens": True}  # fmt: skip
        found = (self.client.attempt(f"{self._root}/tokenize", body) or {}).get("tokens")
        return found if isinstance(found, list) and all(isinstance(one, int) for one in found) else None

    @property
    def _root(self) -> str:
        return self.client.path.removesuffix("/v1")

    def generate(
        self, prompts: Sequence[str | Sequence[Message]], max_new_tokens: int | None = 256, temperature: float | None = 0,
        stop: Sequence[str] | None = None, seed: int = 0, stream: bool = False,
    ) -> Any:  # fmt: skip
        """Return the text generated for each prompt (see ``Model.generate``).

        With the card's tokenizer here, prompts become token ids as for local weights. Without it, text goes as it is and
        messages take the card's default prompt, or the server's own chat template where the card has none.
        """
        if isinstance(prompts, str):
            raise RunError("generate takes a list of prompts; put the one prompt in a list")
        asked = [self._body(one, max_new_tokens, temperature, stop, seed) for one in prompts]
        if stream:
            if len(asked) != 1:
                raise RunError(f"stream takes one prompt, {len(asked)} were given")
            [(body, used)] = asked
            return self._kept(body, used, self._stream(body))
        answers = self.client.many(lambda one: self.client.ask(self._path(one[0]), one[0]), asked)
        texts = [
            _cut(_text(self.client, one), body.get("stop", ())) for one, (body, _) in zip(answers, asked, strict=True)
        ]
        return ["".join(self._kept(*one, [text])) for one, text in zip(asked, texts, strict=True)]

    def _kept(self, body: Mapping[str, Any], used: Prompt | None, pieces: Iterable[str]) -> Iterator[str]:
        return card_prompts.kept(self, used, body.get("prompt", ()), pieces)  # type: ignore[arg-type]

    def _body(
        self, prompt: str | Sequence[Message], length: int | None, temperature: float | None, stop: Sequence[str] | None, seed: int
    ) -> tuple[dict[str, Any], Prompt | None]:  # fmt: skip
        """Return a request, and the card's ``Prompt`` that it was made by. A server searches no beams."""
        asked, made_by = self._asked(prompt)
        used = made_by or card_prompts.default(self.card)
        decode = card_prompts.decoding(self.card, prompt, made_by)
        heat = temperature if temperature is not None else decode.temperature or 0.0
        stops = list(stop if stop is not None else used.stop if used is not None else ())
        filters = {"top_p": decode.top_p, "top_k": decode.top_k} if heat else {}
        more = {**({"stop": stops} if stops else {}), **{k: v for k, v in filters.items() if v is not None}}
        most = length or decode.max_new_tokens or card_prompts.LONGEST
        return {"model": self.served, "max_tokens": most, "temperature": heat, "seed": seed, **more, **asked}, made_by

    def _asked(self, prompt: str | Sequence[Message]) -> tuple[dict[str, Any], Prompt | None]:
        """Return a prompt in the protocol's words, and the card's ``Prompt`` that it was made by."""
        if self.tokenizer is not None and self._completes:
            ids, used = card_prompts.encode(self, prompt)  # type: ignore[arg-type]
            return {"prompt": ids}, used
        if not isinstance(prompt, str):
            if card_prompts.default(self.card) is None or not self._completes:
                return {"messages": [{"role": one.role, "content": card_prompts.text_of(one)} for one in prompt]}, None
            prompt = card_prompts.converse(self.card, prompt)
        if not self._completes:
            raise CapabilityError(f"{self.client.url} takes chat messages only; give generate messages, not raw text")
        used = prompt.prompt if isinstance(prompt, card_prompts.Rendered) else None
        if used is not None and used.tokens != "as tokenizer":
            raise CapabilityError(
                f"{self.name}: this prompt needs the row's tokenizer here; give its folder as weights="
            )
        return {"prompt": str(prompt)}, used

    def _stream(self, body: dict[str, Any]) -> Iterator[str]:
        for event in self.client.stream(self._path(body), {**body, "stream": True}):
            choice = (event.get("choices") or [{}])[0]
            piece = choice.get("text") or (choice.get("delta") or {}).get("content")
            if piece:
                yield piece

    def _path(self, body: Mapping[str, Any]) -> str:
        return f"{self.client.path}/{'chat/completions' if 'messages' in body else 'completions'}"

    def embed(self, items: Sequence[str], output: str = "pooled", batch_size: int | str = "auto") -> Float32:
        """Return vectors, float32 [n, d], pooled as the server pools."""
        if "embed" not in self.capabilities or output != "pooled":
            raise self._cannot("embed" if output == "pooled" else "embed tokens")
        size = EMBED_AT_ONCE if batch_size == "auto" else int(batch_size)
        found = self.client.many(self._vectors, [list(items[i : i + size]) for i in range(0, len(items), size)])
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def _vectors(self, texts: list[str]) -> Float32:
        answer = self.client.ask(f"{self.client.path}/embeddings", {"model": self.served, "input": texts})
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.client.url}: its embeddings are not in the protocol's form") from None
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise RunError(f"{self.client.url}: it returned {len(rows)} vectors for {len(texts)} texts")
        return vectors


def load(card: ModelCard, variant: str | None, endpoint: str | Endpoint | Client, weights: Any) -> EndpointModel:
    """Open a row behind a server; ``weights`` may be the folder that holds its tokenizer (see ``healthfm.load_model``)."""
    if "text" not in card.modalities or set(card.modalities) - {"text"}:
        raise CapabilityError(f"{card.slug} is not a text model; an endpoint serves text models")
    if weights is not None and not isinstance(weights, Path):
        raise CapabilityError(
            "with an endpoint the weights lie there; weights= may only be the folder with the tokenizer"
        )
    client = endpoint if isinstance(endpoint, Client) else Client(endpoint)
    tokenizer = _local_tokenizer(card, variant, weights)
    model = EndpointModel(card, variant, client, tokenizer)
    theirs = model._server_tokens(UNEQUAL) if tokenizer is not None else None
    if theirs is not None and theirs != model.encode(UNEQUAL):
        raise CheckpointError(
            f"the tokenizer here cuts text otherwise than the server's: '{model.served}' is another model"
        )
    return model


def _local_tokenizer(card: ModelCard, variant: str | None, weights: Path | None) -> Any:
    try:
        path = weights.expanduser() if weights is not None else weight_places.locate(card, variant)
    except CheckpointError:
        return None
    from healthfm.models.text import read_tokenizer

    return read_tokenizer(path if path.is_dir() else path.parent)


def _served(client: Client) -> tuple[str, dict[str, Any]]:
    """Return the server's name of the model, and what it tells of it (plain values only)."""
    listed = (client.attempt(f"{client.path}/models") or {}).get("data") or []
    known = {str(one["id"]): one for one in listed if isinstance(one, dict) and "id" in one}
    if client.model is None and len(known) != 1:
        raise CapabilityError(
            f"{client.url} holds {len(known) or 'no'} models by its own list; name one: {client.url}#MODEL ({', '.join(list(known)[:5])})"
        )
    name = client.model or next(iter(known))
    if known and name not in known:
        raise CapabilityError(f"{client.url} holds no '{name}' (it lists {', '.join(list(known)[:5])})")
    entry = known.get(name, {})
    meta = {**entry, **(entry.get("meta") or {})}
    kept = ("owned_by", "ftype", "n_params", "n_vocab", "n_ctx", "size", "max_model_len")
    return name, {key: meta[key] for key in kept if isinstance(meta.get(key), (str, int, float))}


def _echoed(answer: Mapping[str, Any]) -> list[Any] | None:
    """Return the log-probabilities of the prompt's tokens (the first has none), or None where they were not echoed."""
    try:
        found, count = answer["choices"][0]["logprobs"]["token_logprobs"], answer["usage"]["prompt_tokens"]
    except (KeyError, IndexError, TypeError):
        return None
    return found[:count] if isinstance(found, list) and len(found) >= count > 1 else None


def _text(client: Client, answer: Mapping[str, Any]) -> str:
    try:
        choice = answer["choices"][0]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])
    except (KeyError, IndexError, TypeError):
        raise RunError(f"{client.url}: its answer holds no text") from None


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [text.index(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text
