"""Models without a card: a server by its address, code of the user's by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import CapabilityError, CardError, CheckpointError, RunError, evaluate, load_model
from healthfm.models import own
from tests.cli.command import run
from tests.models.remote.test_endpoint import serving

CODE = """
import numpy as np

def score(prompts, options):
    return [np.array([-float(len(one)) for one in choices]) for choices in options]

def answer(prompts, **how):
    return ["B"] * len(prompts)

def marks(prompts, **how):
    return ["Verdict: incorrect"] * len(prompts)

class Encoder:
    def embed(self, items, output="pooled", batch_size="auto"):
        return np.array([[float(len(one)), 1.0] for one in items], np.float32)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's in the working directory, with a name of its own."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A user's own questions: the shorter option is right in two of four."""
    rows = [
        ("q1", "yes", "no", "B"),
        ("q2", "aspirin", "ibuprofen", "A"),
        ("q3", "yes", "no", "A"),
        ("q4", "a b", "c d e", "B"),
    ]
    lines = [f"{key},Which of them is it?,{a},{b},{right}" for key, a, b, right in rows]
    (tmp_path / "ward.csv").write_text("id,question,A,B,answer\n" + "\n".join(lines) + "\n")
    return tmp_path / "ward.csv"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A user's own open questions, whose answer is B in one of two."""
    folder = tmp_path / "asked"
    folder.mkdir()
    rows = [
        {"id": "q1", "question": "Which?", "answers": ["B"]},
        {"id": "q2", "question": "Where?", "answers": ["liver"]},
    ]
    (folder / "free.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "dataset.toml").write_text(
        'files = { test = "free.jsonl" }\ndefault_protocol = "short"\n[protocols.short]\nsummary = "Short."\ntask = "free-text"\n'
        'max_new_tokens = 8\nfollows = "us"\ntemplate = "{{ question }}"\n'
    )
    return folder


def chat_server(path: str, body: Any, _: dict[str, str]) -> Any:
    """A server that chats and embeds, and tells no log-probabilities."""
    if path == "/v1/models":
        return {"data": [{"id": "org/ward-7b"}]}
    if path == "/v1/chat/completions":
        return {"choices": [{"message": {"content": "B"}}], "model": "org/ward-7b"}
    if path == "/v1/embeddings":
        return {"data": [{"index": i, "embedding": [float(len(text)), 2.0]} for i, text in enumerate(body["input"])]}
    return 404, {}, b"{}"


def test_a_function_is_scored_under_its_own_name_and_no_lineage(code: str, ward: Path, tmp_path: Path) -> None:
    made = evaluate(f"python:{code}:score", ward, output=tmp_path / "run")
    assert made.metrics["accuracy"]["value"] == 0.5  # the shorter option: right in q1 and q2
    assert made.facts["request"]["model"] == f"python-{own.plain(code)}-score"
    assert made.facts["lineage"] == {"asked": False, "overlaps": []}
    assert made.facts["environments"][0]["model"]["weights"] == f"the user's own code, python:{code}:score"


def test_which_verb_a_function_is_can_be_said_and_must_be(code: str) -> None:
    assert load_model(f"python:{code}:answer:generate").generate(["?"]) == ["B"]
    assert load_model(f"python:{code}:Encoder").embed(["abc"]).tolist() == [[3.0, 1.0]]
    with pytest.raises(CapabilityError, match=f"python:{code}:answer:generate"):
        load_model(f"python:{code}:answer")
    with pytest.raises(CardError, match="no verb is called 'ask'"):
        load_model(f"python:{code}:answer:ask")
    with pytest.raises(CapabilityError, match="AttributeError while it was imported"):
        load_model(f"python:{code}:absent")
    with pytest.raises(CardError, match="python:MODULE:OBJECT"):
        load_model(f"python:{code}")
    with pytest.raises(CapabilityError, match="rows of the catalogue"):
        load_model(f"python:{code}:score", "random")


def test_a_name_of_a_row_lends_its_lineage_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, medqa_root: Path
) -> None:
    from healthfm.datasets.open import open_dataset
    from healthfm.evaluate.provenance import lineage_finding
    from healthfm.models.load import own_model_card

    mine = own_model_card({"slug": "biogpt"}, object())
    assert lineage_finding(mine, open_dataset("medqa", medqa_root, "test"))["asked"] is False


def test_a_server_is_evaluated_by_its_address_alone(asked: Path, tmp_path: Path) -> None:
    with serving(chat_server) as url:
        name = f"endpoint:{url}#org/ward-7b"
        made = evaluate(name, asked, output=tmp_path / "run")
        assert made.metrics["exact_match"]["value"] == 0.5
        assert made.facts["request"]["model"] == "endpoint-ward-7b"
        assert made.facts["request"]["endpoint"] == f"{url}/v1#org/ward-7b"
        assert made.facts["lineage"]["asked"] is False
        assert made.facts["served"]["name"] == "org/ward-7b"
        assert load_model(f"endpoint:{url}").whose()["is_row"] is True  # no row is claimed, so none is belied
        again = evaluate(name, asked, output=tmp_path / "run")
        assert again.facts["usage"] == made.facts["usage"]
        with pytest.raises(RunError, match="names a server, and endpoint another"):
            evaluate(name, asked, endpoint="http://127.0.0.1:1")
        assert load_model(f"endpoint:{url}").generate([[]]) == ["B"]


def test_the_command_line_takes_the_same_names(code: str, ward: Path, asked: Path, tmp_path: Path) -> None:
    with serving(chat_server) as url:
        shown = run("generate", f"endpoint:{url}", "Which?", "--json")
        assert (shown.returncode, json.loads(shown.stdout)["text"]) == (0, "B"), shown.stderr
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "a.txt").write_text("abcd")
        made = run("embed", f"endpoint:{url}", tmp_path / "notes", "--output", tmp_path / "vectors", "--json")
        assert (made.returncode, json.loads(made.stdout)["vectors"]) == (0, 1), made.stderr
        told = run("evaluate", f"endpoint:{url}", asked, "--output", tmp_path / "one", "--requests-per-minute", 6000)  # fmt: skip
        assert told.returncode == 0, told.stderr
        assert "not asked, the model or the data has no card" in told.stdout
    two = run("evaluate", f"python:{code}:score", ward, "--output", tmp_path / "two")
    assert two.returncode == 0, two.stderr


def test_a_judge_may_be_any_of_them(code: str, asked: Path, tmp_path: Path) -> None:
    def judge(path: str, body: Any, more: dict[str, str]) -> Any:
        if path == "/v1/chat/completions":
            return {"choices": [{"message": {"content": "Verdict: correct"}}], "model": "org/ward-7b"}
        return chat_server(path, body, more)

    with serving(judge) as url:
        made = evaluate(f"python:{code}:answer:generate", asked, judge=f"endpoint:{url}", output=tmp_path / "run")
    assert made.metrics["judge"]["value"] == 1
    assert made.facts["judge_served"]["name"] == "org/ward-7b"
    name = f"python:{code}:answer:generate"
    other = evaluate(name, asked, judge=f"python:{code}:marks:generate", output=tmp_path / "other")
    assert other.metrics["judge"]["value"] == 0


@pytest.mark.parametrize("verb", ["generate", "embed"])
def test_what_a_user_gives_stays_on_this_machine(verb: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("patient")
    given = "patient" if verb == "generate" else tmp_path / "a.txt"
    refused = run(verb, "endpoint:http://192.0.2.1:8000#m", given)
    assert refused.returncode != 0
    assert "--allow-remote 192.0.2.1" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_own_data_does_not_go_to_a_server_elsewhere(ward: Path) -> None:
    with pytest.raises(RunError, match="nothing was sent"):
        evaluate("endpoint:http://192.0.2.1:8000#m", ward)


def test_an_unknown_name_tells_the_ways(tmp_path: Path) -> None:
    with pytest.raises(
        CardError, match=r"no model is called 'my-net'.*hf:\./folder.*endpoint:URL#MODEL.*HEALTHFM_CARDS"
    ):
        load_model("my-net")
    with pytest.raises(CardError, match="without a card"):
        run_show = run("show", "hf:./x")
        assert run_show.returncode != 0
        raise CardError(run_show.stderr)
    with pytest.raises(CheckpointError, match="no folder"):
        load_model(f"hf:{tmp_path / 'absent'}")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(f"hf:{tmp_path}")
    with pytest.raises(RunError, match="weights is for rows"):
        evaluate(f"hf:{tmp_path}", tmp_path, weights="random")
    with pytest.raises(CardError, match="names nothing"):
        load_model("hf:")


@pytest.mark.parametrize("name", ["endpoint:notaurl", "endpoint:localhost:8000", "endpoint:/v1"])
def test_a_server_is_named_by_its_address(name: str) -> None:
    for ask in (own.address, lambda one: evaluate(one, "pubmedqa", root="examples/pubmedqa")):
        with pytest.raises(CardError, match=r"names no server; write endpoint:http"):
            ask(name)
