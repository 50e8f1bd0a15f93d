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

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Prompt
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models.files import weights as weight_places
from healthfm.models.language import framing
from healthfm.models.language import prompts as card_prompts
from healthfm.models.language.rendered import Asked, Rendered, text_given
from healthfm.models.model import Float32, Float64, Model
from healthfm.models.remote import replies, served
from healthfm.models.remote.client import Client, Endpoint
from healthfm.models.remote.server import IDENTITY, PROBE, Server, echoed, listed
from healthfm.records import QA, Conversation, Document, MultipleChoice

if TYPE_CHECKING:
    import transformers


UNEQUAL = "In 2024, the patient's BP was 120/80.\n\n  Temp 38.5°C; naïve β-blocker… 高血压"  # tokenizers differ on this
EMBED_AT_ONCE = 32
Jobs = list[Any]


class EndpointModel(Model):
    """A language model that a server runs. ``client.usage`` counts requests and tokens; provenance shows it."""

    takes = (Document, QA, MultipleChoice, Conversation)

    def __init__(
        self, card: ModelCard, variant: str | None, client: Client, tokenizer: transformers.PreTrainedTokenizerBase | None
    ) -> None:  # fmt: skip
        super().__init__(card, variant)
        self.client, self.tokenizer = client, tokenizer
        self.no_row = not catalog.is_known(
            card
        )  # a card of the user's own claims nothing that another model would belie
        self.server = Server(client)
        self.served, about = self.server.name, self.server.about
        self.max_length = int(about.get("n_ctx") or about.get("max_model_len") or 1 << 30)
        self._tokenizes = tokenizer is not None or self.server.tokens(PROBE) is not None
        self.scoring = None
        completions = client.attempt(f"{client.path}/completions", self.server.echo_body(PROBE))
        if completions is not None and echoed(completions) is not None:
            self.scoring = "echo"
        elif self.server.can_force():
            self.scoring = "forced"
        self._completes = completions is not None
        self.frame = framing.of(self._ids) if self._tokenizes and _continues(card, variant) else framing.Frame()
        self._closed = 0 if self._tokenizes or completions is None else self.server.closing(completions)
        self.capabilities = frozenset(
            (["score"] if self.scoring else [])
            + (["generate"] if self._completes or self.converses else [])
            + (["embed"] if client.attempt(f"{client.path}/embeddings", {"model": self.served, "input": ["a"]}) else [])
        )
        self.provenance = {
            "weights": f"'{self.served}', as the server names it", "endpoint": f"{client.url}#{self.served}", "server": about,
            "digest": None, "device": client.host, "dtype": "the server's precision", "scoring": self.scoring,
            "tokenizer": "local" if tokenizer is not None else "the server's", "usage": client.usage,
            "notices": [*self._called(), *framing.notices(self._end_words())],
        }  # fmt: skip

    def _called(self) -> list[str]:
        """Say by which of the server's names the model is asked, where that is not the one given."""
        if self.client.model in (None, self.served):
            return []
        return [f"the server lists no '{self.client.model}'; '{self.served}', the only one that ends so, is asked"]

    def settings(self) -> dict[str, Any]:
        """Return what is known of the server's model (see ``Model.settings``): what it says of itself, and the tokenizer here."""
        told = {name: self.provenance.get(name) for name in ("weights", "endpoint", "server", "scoring")}
        tokenizer = None
        if self.tokenizer is not None:
            from healthfm.models import state

            tokenizer = state.tokenizer(self.tokenizer)
        return {"model": self.name, **told, "max_length": self.max_length, "tokenizer": tokenizer}

    @staticmethod
    def other(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
        """Return in what two descriptions of a server's model differ that only another model changes."""
        return [key for key in IDENTITY if one.get(key) != two.get(key)]

    def whose(self) -> dict[str, Any]:
        """Return what the server calls its model: ``name`` in its list, ``replies`` by service, ``is_row``: all of them are this row's.

        Asks the list again. Raises ``RunError`` where it holds another model by now.
        """
        name, about = listed(self.client, self.served)
        if changed := self.other(self.provenance["server"], about):
            raise RunError(
                f"{self.client.url}: '{name}' is another model now ({', '.join(changed)} changed); one run is of one model. Finished parts are kept"
            )
        held = about.get("root") or name  # a server may call what it holds as it likes, where it says what that is
        names = {str(held), *(one for one in self.client.answered.values() if one != name)}
        return {
            "name": name,
            "replies": dict(self.client.answered),
            "server": about,
            "is_row": self.no_row or served.is_row(names, self.card, self.variant),
        }

    def _end_words(self) -> list[str]:
        """The end tokens that are left off texts, in words."""
        if self.tokenizer is not None:
            return list(self.tokenizer.convert_ids_to_tokens(list(self.frame.end)))
        return [f"token {one} (the server's)" for one in self.frame.end] + [
            "an end token of the server's"
        ] * self._closed

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, left open: by the card's tokenizer where it is here, else the server's."""
        return framing.left_open(self._ids, self.frame, text)

    def _ids(self, text: str, special: bool) -> list[int]:
        if self.tokenizer is not None:
            return framing.encoder(self.tokenizer)(text, special)
        found = self.server.tokens(text, special)
        if found is None:
            raise CapabilityError(
                f"{self.client.url} has no /tokenize; put the row's tokenizer files beside (weights=)"
            )
        return found

    def score(self, prompts: Sequence[str | Rendered], options: Sequence[Sequence[str]]) -> list[Float64]:
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
            lambda one: self._jobs(*one), list(zip(map(text_given, prompts), options, strict=True))
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
            given = len(self.server.echo(context)) - self._closed
            return [[(given, prompt + option)] for option in options]
        given = len(framing.once_opened(self, context))
        found = []
        for option in options:
            whole = tuple(framing.once_opened(self, prompt + option))
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
            return self.server.forced(*job)
        given, whole = job
        told = self.server.echo(whole)
        asked = told[given : len(told) - (self._closed if isinstance(whole, str) else 0)]
        if not asked or any(not isinstance(one, (int, float)) for one in asked):
            raise RunError(f"{self.client.url}: it did not echo every token of an option")
        return float(sum(asked))

    @functools.cached_property
    def converses(self) -> bool:
        """Whether the server takes conversations, in a form of its own."""
        turn = [{"role": "user", "content": PROBE}]
        body = {"model": self.served, "messages": turn, "max_tokens": 1}
        return self.client.attempt(f"{self.client.path}/chat/completions", body) is not None

    def generate(
        self, prompts: Sequence[Asked], max_new_tokens: int | None = 256, temperature: float | None = 0,
        stop: Sequence[str] | None = None, seed: int = 0, stream: bool = False,
    ) -> Any:  # fmt: skip
        """Return the text generated for each prompt (see ``Model.generate``).

        With the card's tokenizer here, prompts become token ids as for local weights. Without it, text goes as it is and
        messages take the card's default prompt, or the server's own chat template where the card has none.
        """
        if isinstance(prompts, str | Rendered):
            raise RunError("generate takes a list of prompts; put the one prompt in a list")
        asked = [self._body(one, max_new_tokens, temperature, stop, seed) for one in prompts]
        if stream:
            if len(asked) != 1:
                raise RunError(f"stream takes one prompt, {len(asked)} were given")
            [(body, used)] = asked
            return self._kept(body, used, self._stream(body))
        answers = self.client.many(
            lambda one: replies.read(self.client.ask(self._path(one[0]), one[0]), self.client.url), asked
        )
        return [
            replies.Answer(
                "".join(self._kept(body, used, [_cut(one, body.get("stop", ()))])) if one else "", one.finish
            )
            for one, (body, used) in zip(answers, asked, strict=True)
        ]

    def _kept(self, body: Mapping[str, Any], used: Prompt | None, pieces: Iterable[str]) -> Iterator[str]:
        return card_prompts.kept(self, used, body.get("prompt", ()), pieces)  # type: ignore[arg-type]

    def _body(
        self, prompt: Asked, length: int | None, temperature: float | None, stop: Sequence[str] | None, seed: int
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

    def _asked(self, prompt: Asked) -> tuple[dict[str, Any], Prompt | None]:
        """Return a prompt in the protocol's words, and the card's ``Prompt`` that it was made by."""
        if self.tokenizer is not None and self._completes:
            ids, used = card_prompts.encode(self, prompt)  # type: ignore[arg-type]
            return {"prompt": ids}, used
        if not isinstance(prompt, str | Rendered):
            if card_prompts.default(self.card) is None or not self._completes:
                return {"messages": [{"role": one.role, "content": card_prompts.text_of(one)} for one in prompt]}, None
            prompt = card_prompts.converse(self.card, prompt)
        if not self._completes:
            raise CapabilityError(f"{self.client.url} takes chat messages only; give generate messages, not raw text")
        text, used = text_given(prompt), prompt.prompt if isinstance(prompt, Rendered) else None
        if used is not None and used.tokens != "as tokenizer":
            raise CapabilityError(
                f"{self.name}: this prompt needs the row's tokenizer here; give its folder as weights="
            )
        if self.frame.end:  # the server would close the text
            return {"prompt": self.encode(text)}, used
        if self._closed:
            raise CapabilityError(
                f"{self.client.url} ends every prompt with its end token; put the row's tokenizer files beside (weights=)"
            )
        return {"prompt": text}, used

    def _stream(self, body: dict[str, Any]) -> Iterator[str]:
        for event in self.client.stream(self._path(body), {**body, "stream": True}):
            if event.get("choices") and (
                piece := replies.read(event, self.client.url)
            ):  # others count tokens, or say nothing
                yield str(piece)

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
            whole = [row["index"] for row in rows] == list(range(len(texts)))
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.client.url}: its embeddings are not in the protocol's form") from None
        if vectors.ndim != 2 or not whole:
            raise RunError(f"{self.client.url}: it returned {len(rows)} vectors for {len(texts)} texts")
        if not np.isfinite(vectors).all():  # a null becomes NaN
            raise RunError(f"{self.client.url}: a vector of its embeddings holds what is no number")
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
    theirs = model.server.tokens(UNEQUAL) if tokenizer is not None else None
    if theirs is not None and theirs != model.encode(UNEQUAL):
        raise CheckpointError(
            f"the tokenizer here cuts text otherwise than the server's: '{model.served}' is another model"
        )
    return model


def _continues(card: ModelCard, variant: str | None) -> bool:
    """Whether a row's network continues texts: what an encoder reads ends as its tokenizer ends it."""
    return card.run is None or card.runner(variant).family not in ("seq2seq", "masked_lm")


def _local_tokenizer(card: ModelCard, variant: str | None, weights: Path | None) -> Any:
    try:
        path = weights.expanduser() if weights is not None else weight_places.locate(card, variant)
    except CheckpointError:
        return None
    from healthfm.models.language.text_model import read_tokenizer

    return read_tokenizer(path if path.is_dir() else path.parent)


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [text.index(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text
