"""What a server's reply says, in every shape that servers send, over a real connection; and whose model it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm import CapabilityError, RunError, card, compare, evaluate, load_model, load_run
from healthfm.cards.schema import ModelCard
from healthfm.models.remote import replies
from healthfm.models.remote.client import Client, Endpoint, Refused
from healthfm.models.remote.served import is_row
from healthfm.records import Message
from healthfm.report import page
from healthfm.score import limits, sentences
from tests.models.remote.test_endpoint import serving

MODEL = "smollm2-135m-instruct"
OWN = "SmolLM2-135M-Instruct"
HELLO = [Message(role="user", content="Say hello.")]
Reply = Callable[[Any], Any]


def chat(
    reply: Reply | dict[str, Any], name: str | Callable[[], str] = OWN, completes: bool = False
) -> Callable[..., Any]:
    """A server of chats: ``reply`` is what it sends, or makes it of the request's body."""

    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": name if isinstance(name, str) else name()}]}
        if path != ("/v1/completions" if completes else "/v1/chat/completions"):
            return 404, {}, b"{}"
        return reply(body) if callable(reply) else reply

    return answer


def said(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


SHAPES: list[tuple[dict[str, Any], str, str | None]] = [
    (said({"content": "B"}), "B", "stop"),
    (said({"content": "B"}, None), "B", None),
    (said({"content": None}), "", "stop"),
    (said({"content": None}, "length"), "", "length"),
    (said({"content": ""}, "content_filter"), "", "content_filter"),
    (said({"role": "assistant"}), "", "stop"),
    (said({"content": None, "reasoning_content": "The answer is B"}), "", "reasoning only"),
    (said({"content": None, "reasoning_content": "The answer is B"}, "length"), "", "length"),
    (said({"content": None, "refusal": "I cannot"}), "", "refusal"),
    (said({"content": None, "tool_calls": [{"function": {"name": "B"}}]}, "tool_calls"), "", "tool_calls"),
    (said({"content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "B."}]}), "It is B.", "stop"),
    (said({"content": [{"type": "output_text", "text": "B", "annotations": []}]}), "B", "stop"),
    (said({"content": {"type": "text", "text": "B"}}), "B", "stop"),
    (said({"content": [{"type": "thinking", "thinking": "A?"}, {"type": "text", "text": "B"}]}), "B", "stop"),
    (said({"content": [{"type": "refusal", "refusal": "no"}]}), "", "refusal"),
    (said({"content": []}), "", "stop"),
    (said({"content": [{"type": "text", "text": None}]}), "", "stop"),
    (said({"content": "B"}, {"patient": "Alma"}), "B", "other"),
    ({"choices": []}, "", "no choice"),
    ({"choices": None}, "", "no choice"),
    ({"choices": [{"index": 0, "finish_reason": "stop"}]}, "", "no message"),
    ({"choices": [{"index": 0, "message": None, "finish_reason": "content_filter"}]}, "", "content_filter"),
    ({"choices": [{"text": None, "finish_reason": "length"}]}, "", "length"),
    ({"choices": [{"text": "B", "finish_reason": "length"}]}, "B", "length"),
]  # fmt: skip


def test_each_shape_of_a_reply_is_read_or_is_no_answer() -> None:
    left = [reply for reply, _, _ in SHAPES]
    asked = 0

    def reply(_: Any) -> Any:
        nonlocal asked
        asked += 1
        return left[asked - 2] if asked > 1 else said({"content": "x"})  # the first asks whether it chats

    with serving(chat(reply)) as url:
        model = load_model(MODEL, endpoint=Endpoint(url, concurrency=1))
        found = model.generate([HELLO] * len(SHAPES))
    assert [(str(one), one.finish) for one in found] == [(text, finish) for _, text, finish in SHAPES]
    assert "None" not in found


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ({"object": "chat.completion"}, "holds no choices"),
        ({"choices": ["B"]}, "its choices are not in the protocol's form"),
        (said("B"), "its message is not in the protocol's form"),
        (said({"content": 7}), "which is no text"),
        (said({"content": [{"type": "image_url", "image_url": {}}]}), "a part of the kind 'image_url', which is no text"),
        (said({"content": [{"type": "text", "text": ["B"]}]}), "a text part without a text"),
    ],
)  # fmt: skip
def test_what_the_protocol_does_not_have_is_refused(reply: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        replies.read(reply, "http://127.0.0.1")


def test_an_error_that_comes_as_a_good_answer_is_one() -> None:
    wrong = {"error": {"message": "Alma Mater, born 1950", "type": "context_too_long"}}
    with (
        serving(lambda *_: wrong) as url,
        pytest.raises(Refused, match=r"refuses the request .*context_too_long") as caught,
    ):
        Client(Endpoint(url, retries=0)).ask("/v1/chat/completions", {})
    assert "Alma" not in str(caught.value)
    busy = iter(
        [
            {"error": {"message": "busy", "code": 429}},
            {"error": {"message": "busy", "code": "503"}},
            said({"content": "B"}),
        ]
    )
    with serving(lambda *_: next(busy)) as url:
        client = Client(url)
        assert client.ask("/") == said({"content": "B"})
    assert client.usage["retries"] == 2
    with serving(chat(lambda _: wrong)) as url:  # a server that only sends errors cannot chat
        assert load_model(MODEL, endpoint=url).capabilities == set()


EVENTS = [
    {"choices": [], "prompt_filter_results": []},
    {"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
    {"choices": [{"delta": {"content": "It is "}}]},
    {"choices": [{"delta": None}]},
    {"choices": [{"delta": {"reasoning_content": "A?"}}]},
    {"choices": [{"delta": {"content": [{"type": "text", "text": "B"}]}}]},
    {"choices": [{"text": None}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": None},
]  # fmt: skip


def streamed(*events: Any) -> Reply:
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"
    return lambda body: (
        (200, {"Content-Type": "text/event-stream"}, data) if body.get("stream") else said({"content": "x"})
    )


def test_a_streamed_answer_may_hold_null_pieces() -> None:
    with serving(chat(streamed(*EVENTS))) as url:
        assert "".join(load_model(MODEL, endpoint=url).generate([HELLO], stream=True)) == "It is B"


def test_a_stream_that_reports_an_error_is_no_answer() -> None:
    with serving(chat(streamed(EVENTS[2], {"error": {"message": "Alma", "type": "overloaded"}}))) as url:
        model = load_model(MODEL, endpoint=url)
        with pytest.raises(RunError, match=r"refuses the request .*overloaded"):
            list(model.generate([HELLO], stream=True))


def test_a_server_that_does_not_stream_gives_its_one_answer() -> None:
    whole = json.dumps(said({"content": "B"})).encode()
    with serving(chat(lambda _: (200, {"Content-Type": "application/json"}, whole))) as url:
        assert "".join(load_model(MODEL, endpoint=url).generate([HELLO], stream=True)) == "B"


def test_completions_with_null_text_are_no_answer() -> None:
    reply = {"choices": [{"text": None, "finish_reason": "length"}], "usage": {"prompt_tokens": None}}
    with serving(chat(reply, completes=True)) as url:
        model = load_model(MODEL, endpoint=url)
        assert model.generate(["raw text"]) == [""]
        assert "".join(model.generate(["raw text"], stream=True)) == ""


def test_a_vector_that_holds_null_is_refused_not_made_nan() -> None:
    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "e"}]}
        if path != "/v1/embeddings":
            return 404, {}, b"{}"
        return {
            "data": [
                {"index": i, "embedding": [1.0, None if body["input"] != ["a"] else 0.5]}
                for i in range(len(body["input"]))
            ]
        }

    with serving(answer) as url:
        model = load_model(MODEL, endpoint=url)
        with pytest.raises(RunError, match="holds what is no number"):
            model.embed(["b", "c"])


def test_a_model_without_a_name_is_none() -> None:
    with serving(lambda *_: {"data": [{"id": None}]}) as url, pytest.raises(CapabilityError, match="holds no models"):
        load_model(MODEL, endpoint=url)


# In a run -------------------------------------------------------------------------------------------------------------


def written(folder: Path) -> Path:
    (folder / "qa.jsonl").write_text(
        "".join(
            json.dumps({"id": f"q{i}", "question": q, "answer": a}) + "\n"
            for i, (q, a) in enumerate([("Allergies?", "None"), ("Smoker?", "No")])
        )
    )
    return folder / "qa.jsonl"


CUT = said({"content": None, "reasoning_content": "no allergies, let me think"}, "length")


def test_a_null_answer_is_unanswered_and_why_it_ended_is_kept_and_counted(tmp_path: Path) -> None:
    with serving(chat(CUT, "thinker")) as url:
        run = evaluate(MODEL, written(tmp_path), endpoint=url, output=tmp_path / "run")
    rows = run.predictions.to_pylist()
    assert [(row["output"], row["prediction"], row["finish_reason"]) for row in rows] == [(None, None, "length")] * 2
    assert run.metrics["exact_match"]["value"] == 0
    assert run.scores["unanswered"] == 2
    assert json.loads((tmp_path / "run/run.json").read_text())["finish_reasons"] == {"length": 2}
    again = load_run(tmp_path / "run")
    assert any("2 cut off at the longest answer (length)" in note for note in sentences.headline_notes(again))
    html = page.render(again)
    assert "2 cut off at the longest answer (length)" in html and "length 2" in html


def test_blank_answers_are_unanswered(tmp_path: Path) -> None:
    with serving(chat(said({"content": " \n"}))) as url:
        run = evaluate(MODEL, written(tmp_path), endpoint=url, output=tmp_path / "run")
    assert run.scores["unanswered"] == 2


def test_a_judges_null_reply_is_no_score(tmp_path: Path) -> None:
    with serving(chat(said({"content": "No"}))) as url, serving(chat(CUT, "the-judge")) as judge:
        run = evaluate(MODEL, written(tmp_path), endpoint=url, judge=judge, output=tmp_path / "run")
    assert run.predictions["judge"].to_pylist() == [None, None]
    assert "judge" not in run.metrics
    assert run.facts["judge"]["missing_verdicts"] == 2
    assert run.facts["judge_finish_reasons"] == {"length": 2}
    assert run.facts["judge_served"]["name"] == "the-judge"
    assert run.facts["served"]["name"] == OWN
    assert any("how the judge's replies ended: 2 cut off" in note for note in sentences.headline_notes(run))


@pytest.mark.parametrize(
    ("columns", "task"), [({}, "closed-answer"), ({"A": "benign", "B": "malignant"}, "multiple-choice")]
)
def test_who_tells_no_likelihoods_is_asked_to_write_unless_a_way_is_named(
    tmp_path: Path, columns: dict[str, str], task: str
) -> None:
    """A server of chats alone, and code of the user's that only writes: own closed questions and options are asked the way they can."""
    right = ("A", "B") if columns else ("yes", "no")
    rows = [{"id": str(i), "question": f"Is {i} a cyst?", **columns, "answer": right[i % 2]} for i in range(8)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    with serving(chat(said({"content": f"The answer is {right[0]}."}))) as url:
        run = evaluate(f"endpoint:{url}", tmp_path / "q.jsonl", output=tmp_path / "run")
        with pytest.raises(CapabilityError, match="cannot score"):
            evaluate(f"endpoint:{url}", tmp_path / "q.jsonl", task=task, output=tmp_path / "other")
    mine = load_model(
        lambda prompts, **_: [right[0]] * len(prompts), verb="generate", card={"slug": "mine", "name": "M"}
    )
    own = evaluate(mine, tmp_path / "q.jsonl", output=tmp_path / "own")
    for made in (run, own):
        assert (made.facts["request"]["task"], made.metrics["accuracy"]["value"]) == (f"{task}-generated", 0.5)
        assert [row["prediction"] for row in made.predictions.to_pylist()] == [right[0]] * 8
        assert any(f"was asked to write its answer ({task}-generated)" in one for one in made.facts["notices"])


def test_a_callers_model_that_returns_none_has_not_answered(tmp_path: Path) -> None:
    model = load_model(lambda prompts, **_: [None for _ in prompts], verb="generate", card={"slug": "w", "name": "W"})
    run = evaluate(model, written(tmp_path), output=tmp_path / "run")
    assert run.predictions["output"].to_pylist() == [None, None]
    assert run.scores["unanswered"] == 2
    wrong = load_model(lambda prompts, **_: [1.5 for _ in prompts], verb="generate", card={"slug": "w", "name": "W"})
    with pytest.raises(RunError, match="returned float where texts were asked for"):
        evaluate(wrong, tmp_path / "qa.jsonl", output=tmp_path / "other")


# Whose model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "variant", "same"),
    [
        (OWN, MODEL, None, True), ("HuggingFaceTB/SmolLM2-135M-Instruct", MODEL, None, True), ("smollm2", MODEL, None, True),
        ("/models/SmolLM2-135M-Instruct.Q4_1.gguf", MODEL, None, True), ("smollm2-135m-instruct-q8_0", MODEL, None, True),
        ("/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/0123abcd", MODEL, None, True),
        ("SmolLM2-360M-Instruct", MODEL, None, False), ("SmolLM2-135M", MODEL, None, False), ("thinker", MODEL, None, False),
        ("gpt-4o", MODEL, None, False), ("model.gguf", MODEL, None, False),
        ("OpenMEDLab/PULSE-7bv5", "pulse", "7b", True), ("OpenMEDLab/PULSE-7bv5", "pulse", "20b", False),
    ],
)  # fmt: skip
def test_a_served_name_is_the_rows_or_not(name: str, row: str, variant: str | None, same: bool) -> None:
    found = card(row, "model")
    assert isinstance(found, ModelCard)
    assert is_row([name], found, variant) is same


def test_another_models_numbers_never_stand_under_a_rows_name_alone(tmp_path: Path) -> None:
    data = written(tmp_path)
    with serving(chat(said({"content": "No"}, model="gpt-x"), "thinker")) as url:
        run = evaluate(MODEL, data, task="free-text", endpoint=url, output=tmp_path / "run")
    with serving(chat(said({"content": "No"}))) as url:
        right = evaluate(MODEL, data, endpoint=url, output=tmp_path / "right")
    assert run.title == f"{MODEL} (server: thinker, gpt-x) on qa@answer"
    assert run.facts["served"]["is_row"] is False
    assert right.facts["served"]["is_row"] is True
    note = "the server calls its model 'thinker' and 'gpt-x', which is no name of smollm2-135m-instruct"
    assert note in sentences.headline_notes(run)[0]
    assert any("which is no name of" in one for one in limits.limits(run))
    assert note in page.render(load_run(tmp_path / "run")).replace("&#39;", "'")
    assert not any("no name of" in one for one in sentences.headline_notes(right))
    both = compare([tmp_path / "run", tmp_path / "right"])
    assert both.runs[0]["label"] == f"{MODEL} (server: thinker, gpt-x)"
    assert any(note in one for one in both.notes)


@pytest.mark.parametrize(
    ("root", "same"), [("HuggingFaceTB/SmolLM2-135M-Instruct", True), ("meta-llama/Llama-3-8B", False)]
)
def test_what_a_server_holds_counts_not_what_it_calls_that(tmp_path: Path, root: str, same: bool) -> None:
    """vLLM's --served-model-name: the list names an alias, and beside it what is loaded."""
    plain = chat(said({"content": "No"}, model="smollm2"))

    def answer(path: str, body: Any, headers: dict[str, str]) -> Any:
        return {"data": [{"id": "smollm2", "root": root}]} if path == "/v1/models" else plain(path, body, headers)

    with serving(answer) as url:
        run = evaluate(MODEL, written(tmp_path), endpoint=url, output=tmp_path / "run")
    assert run.facts["served"]["is_row"] is same
    assert root in run.title
    assert any("is no name of" in note for note in sentences.headline_notes(run)) is not same


def several(folder: Path, n: int = 60) -> Path:
    rows = [{"id": f"q{i}", "question": f"{i} smoker? {'please ' * 30}", "answer": "No"} for i in range(n)]
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "many.jsonl"


@pytest.mark.parametrize(
    ("listed", "replies_name", "says"),
    [
        (False, True, "named the model 'first' and now name 'second'"),
        (True, False, "it held 'first' and now lists second"),
    ],
)  # fmt: skip
def test_a_server_that_changes_its_model_in_mid_run_is_refused(
    tmp_path: Path, listed: bool, replies_name: bool, says: str
) -> None:
    asked = 0

    def name() -> str:
        return "first" if asked < 30 else "second"

    def reply(_: Any) -> Any:
        nonlocal asked
        asked += 1
        return said({"content": "No"}, **({"model": name()} if replies_name else {}))

    with serving(chat(reply, name if listed else OWN)) as url, pytest.raises(RunError, match=says):
        evaluate(MODEL, several(tmp_path), task="free-text", endpoint=url, output=tmp_path / "run")
    assert not (tmp_path / "run/metrics.json").exists()


def test_a_run_goes_on_with_the_model_it_was_begun_with_only(tmp_path: Path) -> None:
    data, now = several(tmp_path), "first"
    with serving(chat(lambda _: said({"content": "No"}, model=now))) as url:
        whole = evaluate(MODEL, data, task="free-text", endpoint=url, output=tmp_path / "run")
        parts = sorted((tmp_path / "run/predictions").glob("part-*"))
        assert len(parts) > 1
        parts[-1].unlink()
        now = "second"
        with pytest.raises(
            RunError, match=r"begun with the model 'SmolLM2-135M-Instruct, first', and the server now holds .*second"
        ):
            evaluate(MODEL, data, task="free-text", endpoint=url, output=tmp_path / "run")
        now = "first"
        assert evaluate(MODEL, data, task="free-text", endpoint=url, output=tmp_path / "run").metrics == whole.metrics
