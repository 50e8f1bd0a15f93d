"""A model behind a server: llama.cpp's own on this machine, and real servers that misbehave on purpose."""

from __future__ import annotations

import functools
import json
import math
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CapabilityError, CheckpointError, RunError, card, evaluate, load_model, load_run, open_dataset
from healthfm.evaluate.protocols import Item, make_items
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.remote import address
from healthfm.models.remote.address import loopback
from healthfm.models.remote.client import Client, Endpoint, Refused, keep_in_house
from healthfm.models.remote.endpoint import EndpointModel
from healthfm.records import Message
from tests.cli.command import run
from tests.llama_cpp import serve

MODEL = "smollm2-135m-instruct"
HELLO = [Message(role="user", content="Say hello.")]


@pytest.fixture(scope="module")
def served(llama_cpp: str) -> EndpointModel:
    """The server's model. No test may change it."""
    return load_model(MODEL, endpoint=llama_cpp)  # type: ignore[return-value]


def medqa_items(root: Path, protocol: str, n: int) -> list[Item]:
    opened = open_dataset("medqa", root, "test")
    return make_items(list(opened)[:n], opened.card.protocols[protocol])


# llama.cpp's server ---------------------------------------------------------------------------------------------------


def test_it_says_what_it_can_and_what_runs_there(served: EndpointModel, llama_cpp: str, smollm2_file: Path) -> None:
    assert served.capabilities == {"score", "generate"}
    assert served.provenance["endpoint"] == f"{llama_cpp}/v1#{smollm2_file}"
    assert served.provenance["scoring"] == "forced"
    assert served.provenance["server"]["ftype"] == "Q4_1"
    assert served.provenance["digest"] is None


def test_tokens_are_the_rows_own(served: EndpointModel, small_llama: CausalLM, medqa_root: Path) -> None:
    for item in medqa_items(medqa_root, "letters", 20):
        assert served.encode(item.prompt) == small_llama.encode(item.prompt)


def test_a_score_is_the_sum_over_llama_cpps_own_full_distributions(served: EndpointModel, llama_cpp: str) -> None:
    """Chain rule, from another answer of the same server: the log-probabilities of the whole vocabulary."""
    prompt, options = "Aspirin is used to treat", (" mild pain", " zz")
    given = served.encode(prompt)
    for option, score in zip(options, served.score([prompt], [options])[0], strict=True):
        whole, expected = served.encode(prompt + option), 0.0
        for i in range(len(given), len(whole)):
            body = {"prompt": whole[:i], "n_predict": 1, "temperature": 0, "n_probs": 49152}
            request = urllib.request.Request(f"{llama_cpp}/completion", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=60) as answer:
                every = json.load(answer)["completion_probabilities"][0]["top_logprobs"]
            assert sum(math.exp(one["logprob"]) for one in every) == pytest.approx(1, abs=1e-3)
            expected += next(one["logprob"] for one in every if one["id"] == whole[i])
        assert score == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("protocol", "count"), [("letters", 3), ("text", 2)])
def test_scores_agree_with_the_same_weights_here(
    served: EndpointModel, smollm2: CausalLM, short_medqa: Path, protocol: str, count: int
) -> None:
    """llama.cpp computes with the quantised weights, healthfm with the dequantised ones: close, not equal."""
    items = medqa_items(short_medqa, protocol, count)
    prompts, options = [i.prompt for i in items], [i.continuations for i in items]
    there, here = served.score(prompts, options), smollm2.score(prompts, options)
    apart = np.concatenate(there) - np.concatenate(here)
    assert np.abs(apart).mean() < 0.4
    assert np.corrcoef(np.concatenate(there), np.concatenate(here))[0, 1] > 0.99
    assert sum(a.argmax() == b.argmax() for a, b in zip(there, here, strict=True)) >= count - 1


def test_white_space_at_the_prompts_end_moves_to_the_option(served: EndpointModel) -> None:
    spaced, plain = served.score(["The answer is ", "The answer is"], [["yes", "no"], [" yes", " no"]])
    np.testing.assert_allclose(spaced, plain, atol=1e-3)


def test_greedy_text_stops_and_streams(served: EndpointModel) -> None:
    prompt = "The capital of France is"
    assert served.generate([prompt], 8, stop=["."]) == [" Paris"]
    whole = served.generate([prompt, prompt], 8)
    assert whole[0] == whole[1]
    assert whole[0].startswith(" Paris")
    assert "".join(served.generate([prompt], 8, stream=True)) == whole[0]


def test_messages_take_the_servers_chat_template_or_the_local_tokenizers(
    served: EndpointModel, small_llama: CausalLM, llama_cpp: str, tmp_path: Path
) -> None:
    assert small_llama.tokenizer is not None
    small_llama.tokenizer.save_pretrained(tmp_path)
    local = load_model(MODEL, tmp_path, endpoint=llama_cpp)
    assert local.provenance["tokenizer"] == "local"
    [said] = local.generate([HELLO], 8)
    assert [said] == served.generate([HELLO], 8)
    assert "".join(local.generate([HELLO], 8, stream=True)) == said
    np.testing.assert_allclose(
        local.score(["Pain is"], [[" bad", " very good"]])[0], served.score(["Pain is"], [[" bad", " very good"]])[0], atol=1e-3
    )  # fmt: skip


def test_another_models_tokenizer_is_refused(small_llama: CausalLM, llama_cpp: str, tmp_path: Path) -> None:
    assert small_llama.tokenizer is not None
    small_llama.tokenizer.save_pretrained(tmp_path)
    rules = json.loads((tmp_path / "tokenizer.json").read_text())
    words = rules["model"]["vocab"]
    words["Ġpatient"], words["Ġthe"] = words["Ġthe"], words["Ġpatient"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(rules))
    with pytest.raises(CheckpointError, match="cuts text otherwise than the server's"):
        load_model(MODEL, tmp_path, endpoint=llama_cpp)


def test_requests_and_tokens_are_counted(served: EndpointModel) -> None:
    before = dict(served.provenance["usage"])
    served.generate(["The capital of France is"], 4)
    after = served.provenance["usage"]
    assert after["requests"] == before["requests"] + 1
    assert after["prompt_tokens"] == before["prompt_tokens"] + 5
    assert after["completion_tokens"] == before["completion_tokens"] + 4


def test_too_long_a_prompt_is_refused_not_cut(served: EndpointModel) -> None:
    with pytest.raises(RunError, match="takes 2048"):
        served.score(["word " * 3000], [[" a", " b"]])


def test_embeddings_come_from_a_server_that_has_them(smollm2_file: Path) -> None:
    import xllamacpp

    server = serve(smollm2_file, embedding=True, pooling_type=xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN)
    model = load_model(MODEL, endpoint=server.listening_address)
    assert "embed" in model.capabilities
    texts = ["aspirin relieves pain", "ibuprofen relieves pain", "the stock market fell"]
    vectors = model.embed(texts, batch_size=2)
    assert vectors.shape == (3, 576)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(model.embed(texts[2:])[0], vectors[2], atol=1e-4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]
    with pytest.raises(CapabilityError, match="embed tokens"):
        model.embed(texts, output="tokens")


def test_a_row_without_a_runner_of_its_own_runs_so_too(llama_cpp: str) -> None:
    assert load_model("med-palm", endpoint=llama_cpp).name == "med-palm"
    with pytest.raises(CapabilityError, match="not a text model"):
        load_model("uni", endpoint=llama_cpp)
    with pytest.raises(CapabilityError, match="folder with the tokenizer"):
        load_model(MODEL, "random", endpoint=llama_cpp)


def test_a_name_the_server_does_not_hold_is_refused(llama_cpp: str) -> None:
    with pytest.raises(CapabilityError, match="holds no 'other'"):
        load_model(MODEL, endpoint=f"{llama_cpp}#other")


@pytest.mark.parametrize("asked", ["small-Q4_1.gguf", "small-Q4_1", "other/small-Q4_1.gguf"])
def test_a_path_in_a_servers_list_goes_by_its_last_part_where_no_other_does(asked: str) -> None:
    lists: list[str] = ["/models/of/small-Q4_1.gguf", "/models/of/large-Q4_1.gguf"]
    names: set[str] = set()

    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": one} for one in lists]}
        names.update([body["model"]] if body and "model" in body else [])
        return (200, {}, b'{"choices": [{"message": {"content": "x"}}]}') if "chat" in path else (404, {}, b"{}")

    with serving(answer) as url:
        if "/" in asked:
            with pytest.raises(CapabilityError, match=r"holds no 'other/small-Q4_1\.gguf'"):
                load_model(f"endpoint:{url}#{asked}")
            return
        model = load_model(f"endpoint:{url}#{asked}")
        assert names == {lists[0]}
        [told] = model.provenance["notices"]
        assert told == f"the server lists no '{asked}'; '{lists[0]}', the only one that ends so, is asked"
        assert load_model(f"endpoint:{url}#{lists[0]}").provenance["notices"] == []
        lists.append("/elsewhere/small-Q4_1.gguf")
        with pytest.raises(CapabilityError, match=f"holds no '{asked}'"):
            load_model(f"endpoint:{url}#{asked}")


def test_an_evaluation_names_the_endpoint_and_counts_its_tokens(
    llama_cpp: str, smollm2_file: Path, short_medqa: Path, tmp_path: Path
) -> None:
    run = evaluate(MODEL, "medqa", root=short_medqa, limit=2, endpoint=llama_cpp, output=tmp_path / "run")
    facts = run.facts
    assert facts["request"]["endpoint"].startswith(f"{llama_cpp}/v1#")
    assert facts["request"]["endpoint"].endswith(".gguf")
    assert facts["usage"]["prompt_tokens"] > 2 * 50
    assert "usage" not in facts["environments"][0]["model"]
    again = evaluate(MODEL, "medqa", root=short_medqa, limit=2, endpoint=llama_cpp, output=tmp_path / "run")
    assert again.facts["usage"] == load_run(tmp_path / "run").facts["usage"] == facts["usage"]
    with pytest.raises(RunError, match="another request"):
        evaluate(MODEL, "medqa", root=short_medqa, limit=2, output=tmp_path / "run")
    other = serve(smollm2_file)
    with pytest.raises(RunError, match=r"another request \(endpoint"):
        evaluate(MODEL, "medqa", root=short_medqa, limit=2, endpoint=other.listening_address, output=tmp_path / "run")


# A server that echoes -------------------------------------------------------------------------------------------------


@contextmanager
def serving(answer: Callable[[str, Any, dict[str, str]], Any], certificate: Path | None = None) -> Iterator[str]:
    """Run a real HTTP server on loopback. ``answer`` returns JSON, or (status, headers, raw body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            found = answer(self.path, body, dict(self.headers))
            status, headers, data = found if isinstance(found, tuple) else (200, {}, json.dumps(found).encode())
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def completions(model: CausalLM, tokenize: bool) -> Callable[[str, Any, dict[str, str]], Any]:
    """The completions protocol with ``echo`` over a real network: log-probabilities of the prompt's own tokens."""

    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "real", "max_model_len": 4096}]}
        if path == "/tokenize" and tokenize:
            return {"tokens": model.encode(body["prompt"])}
        if path != "/v1/completions":
            return 404, {}, b"{}"
        prompts = (
            body["prompt"]
            if isinstance(body["prompt"], list) and isinstance(body["prompt"][0], list)
            else [body["prompt"]]
        )
        choices, count = [], 0
        for i, prompt in enumerate(prompts):
            ids = model.encode(prompt) if isinstance(prompt, str) else prompt
            logs = torch.from_numpy(model.logits([ids])[0]).log_softmax(-1)
            best = logs.max(-1).values.tolist()
            values = [None, *logs[range(len(ids) - 1), ids[1:]].tolist(), best[-1]]
            top = [None, *({"top": one} for one in best)]
            choices.append({"index": i, "text": "", "logprobs": {"token_logprobs": values, "top_logprobs": top}})
            count += len(ids)
        return {"choices": choices, "usage": {"prompt_tokens": count, "completion_tokens": len(prompts)}}

    return answer


@pytest.mark.parametrize("tokenize", [True, False])
def test_echoed_scores_equal_the_networks_own(small_llama: CausalLM, short_medqa: Path, tokenize: bool) -> None:
    items = medqa_items(short_medqa, "text", 2)
    prompts, options = [i.prompt for i in items], [i.continuations for i in items]
    with serving(completions(small_llama, tokenize)) as url:
        model = load_model(MODEL, endpoint=url)
        assert model.provenance["scoring"] == "echo"
        for ours, there in zip(small_llama.score(prompts, options), model.score(prompts, options), strict=True):
            np.testing.assert_allclose(ours, there, atol=1e-3)


def test_echoed_scores_equal_lm_evals_client_on_the_same_server(
    small_llama: CausalLM, short_medqa: Path, tmp_path: Path
) -> None:
    """lm-evaluation-harness's own client of this protocol, over the same wire."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    assert small_llama.tokenizer is not None
    small_llama.tokenizer.save_pretrained(tmp_path)
    items = medqa_items(short_medqa, "letters", 2)
    with serving(completions(small_llama, True)) as url:
        theirs = LocalCompletionsAPI(
            base_url=f"{url}/v1/completions", model="real", tokenizer=str(tmp_path), tokenizer_backend="huggingface", batch_size=1
        )  # fmt: skip
        pairs = [(item.prompt, option) for item in items for option in item.continuations]
        flat = [v for v, _ in theirs.loglikelihood([Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)], disable_tqdm=True)]  # fmt: skip
        ours = load_model(MODEL, endpoint=url).score([i.prompt for i in items], [i.continuations for i in items])
    np.testing.assert_allclose(np.concatenate(ours), flat, atol=1e-4)


def test_a_chat_only_server_generates_but_says_that_it_cannot_score() -> None:
    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "chat"}]}
        if path == "/v1/chat/completions":
            return {"choices": [{"message": {"content": f"{len(body['messages'])} turn, STOP not this"}}]}
        return 404, {}, b"{}"

    with serving(answer) as url:
        model = load_model(MODEL, endpoint=url)
        assert model.capabilities == {"generate"}
        assert model.generate([HELLO], stop=["STOP"]) == ["1 turn, "]
        with pytest.raises(CapabilityError, match="neither echoes the prompt's log-probabilities nor is llama"):
            model.score(["a"], [["b"]])
        with pytest.raises(CapabilityError, match="chat messages only"):
            model.generate(["raw text"])


def test_a_server_that_ignores_echo_is_not_taken_for_one_that_echoes() -> None:
    """Negative control: log-probabilities of the new token only, as many servers give them."""

    def answer(path: str, _: Any, __: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "deaf"}]}
        if path == "/v1/completions":
            return {"choices": [{"text": " x", "logprobs": {"token_logprobs": [-0.1]}}], "usage": {"prompt_tokens": 5}}
        return 404, {}, b"{}"

    with serving(answer) as url:
        assert "score" not in load_model(MODEL, endpoint=url).capabilities


# Servers that misbehave -----------------------------------------------------------------------------------------------


def scripted(*steps: Any) -> tuple[Callable[[str, Any, dict[str, str]], Any], list[float]]:
    """Answer with one step after the other, the last one for ever; note when each request came."""
    times: list[float] = []

    def answer(*_: Any) -> Any:
        times.append(time.monotonic())
        step = steps[min(len(times), len(steps)) - 1]
        return step() if callable(step) else step

    return answer, times


def test_busy_servers_are_asked_again_when_they_say_and_later_each_time() -> None:
    answer, times = scripted((429, {"Retry-After": "1"}, b""), (503, {}, b""), (500, {}, b""), {"fine": True})
    with serving(answer) as url:
        client = Client(url)
        assert client.ask("/v1/models") == {"fine": True}
    first, second, third = np.diff(times)
    assert first >= 1  # as the server said
    assert 0.45 <= second < third  # 0.5 to 1 s, then 1 to 2 s
    assert client.usage["requests"] == 4
    assert client.usage["retries"] == 3


def test_a_date_to_come_back_at_is_kept_and_too_late_a_one_is_said() -> None:
    import email.utils

    soon = email.utils.format_datetime(__import__("datetime").datetime.fromtimestamp(time.time() + 2, __import__("datetime").UTC), usegmt=True)  # fmt: skip
    answer, times = scripted((429, {"Retry-After": soon}, b""), {"fine": True})
    with serving(answer) as url:
        Client(url).ask("/")
        assert 0.5 < times[1] - times[0] < 3
    answer, times = scripted((429, {"Retry-After": "86400"}, b""))
    with serving(answer) as url, pytest.raises(RunError, match="asks to wait 86400 seconds"):
        Client(url).ask("/")
    assert len(times) == 1


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ((200, {}, b'{"choices": [{"te'), "its answer is not a JSON object"),
        ((200, {}, b"<html>"), "its answer is not a JSON object"),
        ((200, {}, b"[1]"), "its answer is not a JSON object"),
        ((200, {"Content-Length": "100", "Connection": "close"}, b'{"a": 1}'), "it broke the connection"),
        ((503, {}, b"busy with the patient Alma Mater"), "HTTP 503"),
    ],
)
def test_broken_answers_are_asked_again_then_said_in_one_line(broken: Any, says: str) -> None:
    answer, times = scripted(broken, {"fine": True})
    with serving(answer) as url:
        assert Client(Endpoint(url, timeout=5)).ask("/") == {"fine": True}
    answer, times = scripted(broken)
    with serving(answer) as url, pytest.raises(RunError) as caught:
        Client(Endpoint(url, retries=1, timeout=5)).ask("/")
    assert len(times) == 2
    assert says in str(caught.value)
    assert "Alma" not in str(caught.value)


def test_a_server_that_is_not_there_is_said() -> None:
    with serving(lambda *_: {}) as url:
        pass
    with pytest.raises(RunError, match="nothing listens there"):
        Client(Endpoint(url, retries=1)).ask("/v1/models")


def test_silence_ends_at_the_timeout_and_so_does_a_trickle() -> None:
    def sleep() -> Any:
        time.sleep(1.5)
        return {}

    answer, times = scripted(sleep)
    with serving(answer) as url, pytest.raises(RunError, match=r"no answer within 0\.3 seconds"):
        Client(Endpoint(url, timeout=0.3, retries=1)).ask("/")
    assert len(times) == 2

    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    for _ in range(100):
                        connection.sendall(b" ")
                        time.sleep(0.1)
                except OSError:
                    pass

        threading.Thread(target=drip, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(RunError, match=r"no answer within 0\.5 seconds"):
            Client(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.5, retries=0)).ask("/")
        assert time.monotonic() - begun < 3


def test_a_redirect_is_not_followed() -> None:
    met: list[str] = []
    with serving(lambda path, *_: met.append(path) or {}) as elsewhere:
        answer, _ = scripted((307, {"Location": f"{elsewhere}/v1/completions"}, b""))
        with serving(answer) as url, pytest.raises(Refused, match="sends elsewhere, which is not followed"):
            Client(url).ask("/v1/completions", {"prompt": "private"})
    assert met == []


def test_what_a_server_says_of_a_mistake_is_not_repeated() -> None:
    said = json.dumps({"error": {"message": "no: 'Alma Mater, born 1950'", "type": "invalid_request_error"}}).encode()
    answer, times = scripted((400, {}, said))
    with serving(answer) as url, pytest.raises(Refused) as caught:
        Client(url).ask("/v1/completions", {"prompt": "Alma Mater, born 1950"})
    assert "HTTP 400, invalid_request_error" in str(caught.value)
    assert "Alma" not in str(caught.value)
    assert len(times) == 1


def test_the_key_comes_from_the_environment_and_stays_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str | None] = []

    def answer(_: str, __: Any, headers: dict[str, str]) -> Any:
        met.append(headers.get("Authorization"))
        return {} if met[-1] == "Bearer s3cret" else (401, {}, b"wrong key " + str(met[-1]).encode())

    with serving(answer) as url:
        with pytest.raises(Refused, match="it wants a key: set HEALTHFM_API_KEY"):
            Client(url).ask("/")
        monkeypatch.setenv("HEALTHFM_API_KEY", "wr0ng")
        with pytest.raises(Refused, match="it refuses the key in HEALTHFM_API_KEY") as caught:
            Client(url).attempt("/")
        monkeypatch.setenv("HEALTHFM_API_KEY", "s3cret")
        client = Client(url)
        assert client.ask("/") == {}
    assert met == [None, "Bearer wr0ng", "Bearer s3cret"]
    assert "wr0ng" not in str(caught.value)
    assert "s3cret" not in repr(vars(client))
    with pytest.raises(RunError, match="not sent in the clear to another machine"):
        Client("http://192.0.2.1/v1")


def test_requests_keep_to_the_rate_and_the_bound() -> None:
    lock, now, most, times = threading.Lock(), [0], [0], []

    def answer(*_: Any) -> Any:
        with lock:
            times.append(time.monotonic())
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.1)
        with lock:
            now[0] -= 1
        return {}

    with serving(answer) as url:
        Client(Endpoint(url, concurrency=3)).many(lambda _: None, [])
        client = Client(Endpoint(url, concurrency=3))
        client.many(lambda _: client.ask("/"), range(12))
        assert most[0] == 3
        times.clear()
        slow = Client(Endpoint(url, requests_per_minute=300, concurrency=4))
        slow.many(lambda _: slow.ask("/"), range(6))
    assert times[-1] - times[0] >= 5 * 0.2 * 0.9


def test_a_certificate_nobody_vouches_for_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = tmp_path / "both.pem"
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    answer, times = scripted({"fine": True})
    with serving(answer, both) as url:
        with pytest.raises(RunError, match="certificate is not valid here"):
            Client(url).ask("/")
        assert times == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Client(url).ask("/") == {"fine": True}


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, times = scripted({"fine": True})
    with serving(answer) as url:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        assert Client(Endpoint(url, retries=0)).ask("/") == {"fine": True}
    assert len(times) == 1


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://user:pw@127.0.0.1/v1", "http://localhost@evil.invalid/v1",
     "http://127.0.0.1/v1?key=secret", "http://127.0.0.1:99999/", "http://local host/"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(CapabilityError) as caught:
        Client(url)
    assert "pw" not in str(caught.value)
    assert "secret" not in str(caught.value)


# Patient data stays in the house --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost", "127.1", "2130706433"]
)
def test_this_machines_own_addresses_are_local(host: str) -> None:
    assert loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "169.254.169.254", "::ffff:192.0.2.1", "localhost.evil.invalid", "127.0.0.1.evil.invalid",
     "2001:db8::1", "fe80::1", "not a name", ""],
)  # fmt: skip
def test_everything_else_is_not(host: str) -> None:
    assert loopback(host) == ()


def test_a_name_that_also_means_another_machine_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(address.socket, "getaddrinfo", lambda *_, **__: answers)
    assert loopback("two-faced.invalid") == ()
    monkeypatch.setattr(address.socket, "getaddrinfo", lambda *_, **__: answers[:1])
    assert loopback("two-faced.invalid") == ("127.0.0.1",)


def test_the_checked_address_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means this machine when it is checked and another one later (DNS rebinding) changes nothing."""
    real = address.socket.getaddrinfo

    def lie(address: str) -> Callable[..., Any]:
        return lambda host, *a, **k: real(address if host == "rebound.invalid" else host, *a, **k)

    answer, times = scripted({"fine": True})
    with serving(answer) as url:
        monkeypatch.setattr(address.socket, "getaddrinfo", lie("127.0.0.1"))
        client = Client(Endpoint(url.replace("127.0.0.1", "rebound.invalid"), retries=0, timeout=2))
        monkeypatch.setattr(address.socket, "getaddrinfo", lie("192.0.2.1"))
        assert client.ask("/") == {"fine": True}
    assert len(times) == 1


def test_what_may_leave_and_what_may_not() -> None:
    remote, here = Client("https://llm.example.invalid/v1"), Client("http://127.0.0.1:1/v1")
    for name in ("mimic-iv", "mimic-iii", "uk-biobank"):
        private: Any = card(name, "dataset")
        assert not private.remote_ok
        keep_in_house(private, here, None)
        keep_in_house(private, remote, "LLM.example.invalid.")
        for allowed in (None, "example.invalid", "invalid", "*", "", "llm.example.invalid.evil"):
            with pytest.raises(RunError, match=r"--allow-remote llm\.example\.invalid"):
                keep_in_house(private, remote, allowed)
    keep_in_house(card("medqa", "dataset"), remote, None)  # type: ignore[arg-type]


WATCHED = ("socket.__new__", "socket.connect", "socket.sendto", "socket.sendmsg")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What this process does with sockets while the block runs."""
    seen: list[str] = []
    hearers().append(seen)
    try:
        yield seen
    finally:
        hearers().remove(seen)


@functools.cache
def hearers() -> list[list[str]]:
    """Who is told of sockets. A hook cannot be taken out again, and costs at everything that Python does: there is one."""
    found: list[list[str]] = []
    sys.addaudithook(lambda event, _: [one.append(event) for one in found] if found and event in WATCHED else None)
    return found


@pytest.mark.parametrize("host", ["localhost.evil.invalid", "192.0.2.1", "0.0.0.0", "[::ffff:192.0.2.1]"])
def test_own_data_is_refused_before_any_socket_is_opened(tmp_path: Path, host: str) -> None:
    (tmp_path / "own.csv").write_text("question,A,B,answer\nIs Alma ill?,yes,no,A\n")
    words = [
        "evaluate",
        MODEL,
        str(tmp_path / "own.csv"),
        "--endpoint",
        f"http://{host}:8080/v1",
        "--output",
        str(tmp_path / "run"),
    ]
    with watched() as seen:
        found = run(*words)
    assert found.returncode == 2, found.stderr
    assert f"{host.strip('[]')} is not this machine; nothing was sent" in found.stderr
    assert seen == []
    assert "Alma" not in found.stderr
    assert not (tmp_path / "run").exists()


def test_the_watch_sees_sockets(tmp_path: Path, llama_cpp: str) -> None:
    """Negative control of the test above: the same command with a local endpoint opens sockets, and runs."""
    (tmp_path / "own.csv").write_text("question,A,B,answer\nIs Alma ill?,yes,no,A\nIs Bob?,yes,no,B\n")
    words = ["evaluate", MODEL, str(tmp_path / "own.csv"), "--endpoint", llama_cpp, "--output", str(tmp_path / "run")]
    with watched() as seen:
        found = run(*words)
    assert found.returncode == 0, found.stderr
    assert "socket.connect" in seen
    assert "endpoint:" in found.stdout


def test_a_loaded_model_is_held_to_the_same_rule(
    tmp_path: Path, served: EndpointModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.csv").write_text("question,A,B,answer\nIs Alma ill?,yes,no,A\nIs Bob?,yes,no,B\n")
    monkeypatch.setattr(served, "client", Client("https://llm.example.invalid/v1"))
    with pytest.raises(RunError, match=r"llm\.example\.invalid is not this machine"):
        evaluate(served, tmp_path / "own.csv", output=tmp_path / "run")
    with pytest.raises(RunError, match="loaded already"):
        evaluate(served, tmp_path / "own.csv", endpoint="http://127.0.0.1:1", output=tmp_path / "run")
