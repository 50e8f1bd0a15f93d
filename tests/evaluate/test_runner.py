"""The whole road: official files and real weights to a run folder, resumable at any moment, honest about what was asked."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from healthfm import CapabilityError, RunError, card, compare, evaluate, load_model, load_run, open_dataset
from healthfm.evaluate.job import Ask, Request
from healthfm.evaluate.runner import prepare
from healthfm.models.language import likelihood
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.model import Model
from tests.cli.command import run
from tests.forked import Server
from tests.models.remote.test_endpoint import serving

MODEL = "smollm2-135m-instruct"


def guess(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Score options by a fixed function of their text, so that runs need no network."""
    return [
        np.array([-float(sum(map(ord, prompt + one)) % 97) for one in choices])
        for prompt, choices in zip(prompts, options, strict=True)
    ]


@pytest.fixture
def guesser() -> Model:
    return load_model(guess, verb="score", card={"slug": "guesser", "name": "Guesser"})


def part_bytes(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((path / "predictions").glob("part-*"))}


def part_files(path: Path) -> dict[str, tuple[int, int]]:
    """Which file a part is, and when it was written: a part that is made anew is another, however equal."""
    stats = {p.name: p.stat() for p in (path / "predictions").glob("part-*")}
    return {name: (one.st_ino, one.st_mtime_ns) for name, one in stats.items()}


def test_a_real_model_on_real_questions(smollm2: CausalLM, pubmedqa_root: Path, tmp_path: Path) -> None:
    name = "pubmedqa@reasoning-free"  # the protocol with the shortest texts
    run = evaluate(smollm2, name, root=pubmedqa_root, limit=3, subgroups=["year"], output=tmp_path / "run")
    assert run.path == tmp_path / "run"
    table = run.predictions.to_pylist()
    assert len(table) == 3
    official = json.loads((pubmedqa_root / "data/test_ground_truth.json").read_text())
    assert all(row["target"] == official[row["id"]] for row in table)
    for row in table:
        assert row["options"] == ["yes", "no", "maybe"]
        assert row["prediction"] == row["options"][int(np.argmax(row["log_likelihoods"]))]
        assert sum(row["probabilities"]) == pytest.approx(1)
    accuracy = run.metrics["accuracy"]
    assert accuracy["value"] == np.mean([row["target"] == row["prediction"] for row in table])
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert run.scores["majority"] == {"class": "yes", "accuracy": 0.552, "n": 500}
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["environments"][0]["model"]["digest"].startswith("sha256:")
    assert facts["environments"][0]["model"]["dtype"] == "float32"
    assert facts["environments"][0]["versions"]["torch"]
    assert "55.2%" in run.report().read_text()
    assert load_run(tmp_path / "run").metrics == run.metrics


def test_the_same_request_returns_at_once_without_the_model(
    guesser: Model, pubmedqa_root: Path, tmp_path: Path
) -> None:
    first = evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=30, output=tmp_path / "run")

    def never(*_: Any) -> Any:
        raise AssertionError("the model was asked again")

    asleep = load_model(never, verb="score", card={"slug": "guesser", "name": "Guesser"})
    again = evaluate(asleep, "pubmedqa", root=pubmedqa_root, limit=30, output=tmp_path / "run")
    assert again.metrics == first.metrics
    assert again.predictions.equals(first.predictions)


def test_functions_that_cannot_be_told_apart_do_not_share_a_run(
    pubmedqa_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = []
    for favourite in (0, 1):

        def score(prompts: Any, options: Any, favourite: int = favourite) -> list[np.ndarray]:
            return [np.eye(len(one))[favourite] for one in options]

        mine = load_model(score, verb="score", card={"slug": "mine", "name": "Mine"})
        runs.append(evaluate(mine, "pubmedqa", root=pubmedqa_root, limit=20))
    assert runs[0].path != runs[1].path
    assert set(runs[0].predictions["prediction"].to_pylist()) == {"yes"}
    assert set(runs[1].predictions["prediction"].to_pylist()) == {"no"}


def test_a_lost_part_is_redone_byte_for_byte(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=60, output=tmp_path / "run")
    before = part_bytes(tmp_path / "run")
    assert len(before) > 3
    for name in list(before)[1:3]:
        (tmp_path / "run/predictions" / name).unlink()
    with pytest.raises(RunError, match=rf"unfinished, 2 of {len(before)} parts are missing"):
        load_run(tmp_path / "run")
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=60, output=tmp_path / "run")
    assert part_bytes(tmp_path / "run") == before


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_run_stopped_in_the_middle_goes_on(
    forked: Server, pubmedqa_root: Path, tmp_path: Path, sign: signal.Signals, code: int
) -> None:
    """The command asks a server here, which holds its answer to one question of the second part until the signal is sent."""
    numbers, held, sent = itertools.count(1), threading.Event(), threading.Event()

    def answer(path: str, body: Any, _: dict[str, str]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "here"}]}
        if path != "/v1/chat/completions":
            return 404, {}, b"{}"
        if next(numbers) == 30:
            held.set()
            sent.wait()
        text = ("yes", "no", "maybe")[len(body["messages"][-1]["content"]) % 3]
        return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}], "usage": {}}

    with serving(answer) as url:
        words = (
            "evaluate", MODEL, "pubmedqa@reasoning-free-generated", "--root", pubmedqa_root, "--endpoint", url, "--limit", 60,
            "--output", tmp_path / "run",
        )  # fmt: skip
        said = (tmp_path / "said").open("w+")
        process = forked.fork(words, said.fileno(), said.fileno())
        try:
            assert held.wait(300)
            while not list(tmp_path.glob("run/predictions/part-*")):
                assert process.poll() is None
                time.sleep(0.05)
            process.send(sign)
            sent.set()
            ended = process.wait(300)
        finally:
            sent.set()
            process.end()
        said.seek(0)
        errors = said.read()
        said.close()
        assert ended == code, errors
        kept, written = part_bytes(tmp_path / "run"), part_files(tmp_path / "run")
        assert kept
        if sign == signal.SIGINT:
            assert "stopped; finished parts are kept" in errors
            assert "Traceback" not in errors
        before = next(numbers)
        finished = run(*words)
        assert finished.returncode == 0, finished.stderr
        assert "accuracy" in finished.stdout
    after = part_bytes(tmp_path / "run")
    assert len(after) > len(kept)
    assert all(after[name] == content for name, content in kept.items())
    assert written.items() <= part_files(tmp_path / "run").items()  # the same files, not written anew
    assert load_run(tmp_path / "run").predictions.num_rows == 60
    assert next(numbers) - before < 60  # what is there is not asked again


def test_an_uninterrupted_run_has_the_same_bytes_as_a_resumed_one(
    small_llama: CausalLM, pubmedqa_root: Path, tmp_path: Path
) -> None:
    evaluate(small_llama, "pubmedqa", root=pubmedqa_root, limit=16, output=tmp_path / "run")
    before = part_bytes(tmp_path / "run")
    assert len(before) >= 2
    lost = tmp_path / "run/predictions" / list(before)[1]
    rows = pq.read_table(lost).num_rows
    lost.unlink()
    asked: list[str] = []
    score = likelihood.score
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # of the module: a function put on the model itself makes it another model
        patch.setattr(
            likelihood, "score", lambda model, prompts, options: asked.extend(prompts) or score(model, prompts, options)
        )
        evaluate(small_llama, "pubmedqa", root=pubmedqa_root, limit=16, output=tmp_path / "run")
    assert part_bytes(tmp_path / "run") == before
    assert len(asked) == rows < 16  # what is there is not asked again


def test_a_limit_is_a_seeded_sample_not_the_head(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    ids = [r.id for r in open_dataset("pubmedqa", pubmedqa_root, "test")]
    chosen = {}
    for seed in (0, 1):
        run = evaluate(
            guesser, "pubmedqa", root=pubmedqa_root, limit=20, seed=seed, output=tmp_path / str(seed), baseline=False
        )
        chosen[seed] = run.predictions["id"].to_pylist()
        assert len(set(run.predictions["target"].to_pylist())) > 1
    assert chosen[0] != ids[:20]
    assert chosen[0] != chosen[1]


def test_another_request_does_not_reuse_a_folder(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=5, output=tmp_path / "run")
    with pytest.raises(RunError, match=r"another request \(.*limit.* differ\)"):
        evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=6, output=tmp_path / "run")
    with pytest.raises(RunError, match="resume is off"):
        evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=5, output=tmp_path / "run", resume=False)


def test_a_folder_that_holds_something_else_is_refused_before_the_model_is_asked(
    guesser: Model, pubmedqa_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(RunError, match="holds other files \\(1\\) and no run"):
        evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=5, output=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "run/predictions").mkdir(parents=True)  # what a run leaves that was killed at once
    (tmp_path / "run/.lock").touch()
    assert evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=5, output=tmp_path / "run").scores["n"] == 5


def test_changed_official_files_are_another_request(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    shutil.copytree(pubmedqa_root / "data", tmp_path / "data")
    evaluate(guesser, "pubmedqa", root=tmp_path, limit=5, output=tmp_path / "run", baseline=False)
    path = tmp_path / "data/ori_pqal.json"
    path.write_text(path.read_text().replace('QUESTION": "', 'QUESTION": "Really: '))
    with pytest.raises(RunError, match=r"another request \(items differ\)"):
        evaluate(guesser, "pubmedqa", root=tmp_path, limit=5, output=tmp_path / "run")


def test_default_folders_of_different_requests_differ(
    guesser: Model, pubmedqa_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [(f"pubmedqa@{p}", n) for p in ("reasoning-required", "reasoning-free") for n in (2, 3)]
    paths = {str(evaluate(guesser, name, root=pubmedqa_root, limit=n, baseline=False).path) for name, n in asked}
    assert len(paths) == 4
    assert all(path.startswith("runs/guesser--pubmedqa-pqa-l-reasoning-") for path in paths)


def test_the_plan_covers_every_item_once_and_is_a_pure_function(pubmedqa_root: Path) -> None:
    opened = open_dataset("pubmedqa", pubmedqa_root)

    def plan(seed: int) -> dict[str, Any]:
        asked = Ask(
            request=Request(model="", dataset=opened, shots=0, seed=seed, limit=400),
            opened=opened,
            card=card("smollm2-135m-instruct"),
            task=None,
            protocol=None,
            split="test",
        )  # type: ignore[arg-type]
        return prepare(asked).plan

    assert [i for start, end in plan(0)["parts"] for i in range(start, end)] == list(range(400))
    assert plan(0) == plan(0)
    assert plan(0)["items"] != plan(1)["items"]


def test_counts_that_differ_from_the_card_stand_in_the_run(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    shutil.copytree(pubmedqa_root / "data", tmp_path / "data")
    truth = tmp_path / "data/test_ground_truth.json"
    truth.write_text(json.dumps(dict(list(json.loads(truth.read_text()).items())[:490])))
    run = evaluate(guesser, "pubmedqa", root=tmp_path, limit=5, output=tmp_path / "run", baseline=False)
    assert run.facts["notices"] == ["pubmedqa:pqa-l, split test: 490 records read, the card says 500"]
    assert "490 records read" in run.report().read_text()


def test_an_absent_split_fails_before_the_model_is_loaded(medqa_root: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"split 'validation' is absent in .*phrases_no_exclude_dev\.jsonl.*splits: test\. Use --split test",
    ):
        evaluate(MODEL, "medqa", root=medqa_root, split="validation", weights="/nowhere")


def test_absent_examples_fail_early_and_a_carve_is_offered(guesser: Model, short_medqa: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"split 'train', which is absent.*carve: shots_from='test'"):
        evaluate(MODEL, "medqa@letters-5shot", root=short_medqa, weights="/nowhere")
    run = evaluate(guesser, "medqa@letters-5shot", root=short_medqa, shots_from="test", output=tmp_path / "run")
    shots = run.facts["request"]["shot_ids"]
    assert shots == [f"test-{i}" for i in range(1, 6)]
    assert run.predictions.num_rows == 24 - 5
    assert not set(shots) & set(run.predictions["id"].to_pylist())


def test_a_carve_takes_whole_patients(guesser: Model, tmp_path: Path) -> None:
    lines = ["id,patient,question,A,B,answer"] + [
        f"{i},p{i // 3},question {i}?,yes,no,{'AB'[i % 2]}" for i in range(12)
    ]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    run = evaluate(guesser, tmp_path / "own.csv", shots=2, shots_from="test", output=tmp_path / "run")
    assert run.facts["request"]["shot_ids"] == ["0", "1"]
    assert set(run.predictions["patient"].to_pylist()) == {"p1", "p2", "p3"}
    assert "patient-clustered" in run.metrics["accuracy"]["method"]


def test_withheld_answers_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    row = {"id": "x", "question": "q?", "opa": "1", "opb": "2", "opc": "3", "opd": "4", "choice_type": "single"}
    more = {"exp": None, "subject_name": "s", "topic_name": "t"}
    (tmp_path / "data/test.json").write_text(json.dumps({**row, **more}) + "\n")
    with pytest.raises(RunError, match="withholds its answer"):
        evaluate(MODEL, "medmcqa", root=tmp_path, weights="/nowhere")


def test_own_questions_are_evaluated_and_never_shown(guesser: Model, tmp_path: Path) -> None:
    lines = ["question,A,B,answer"] + [f"Has patient Smith{i} gout?,yes,no,A" for i in range(4)]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    run = evaluate(guesser, tmp_path / "own.csv", output=tmp_path / "run")
    assert run.metrics["accuracy"]["n"] == 4
    assert "Smith" not in run.report().read_text()
    assert b"Smith" not in b"".join(p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file())
    shown = run.report(show_inputs=True).read_text()
    assert "Smith2" in shown
    assert 'class="stamp"' in shown


def test_a_model_that_cannot_score_is_refused(pubmedqa_root: Path, tmp_path: Path) -> None:
    reader = load_model(lambda items: {}, verb="preprocess", card={"slug": "reader", "name": "Reader"})
    with pytest.raises(CapabilityError, match="reader cannot score, which yes-no-maybe needs"):
        evaluate(reader, "pubmedqa", root=pubmedqa_root, limit=3, output=tmp_path / "run")


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (lambda p, o: [np.full(len(x), np.nan) for x in o], "NaN or infinite scores for 3 samples"),
        (lambda p, o: [np.zeros(2) for _ in o], "another number of scores"),
        (lambda p, o: [], "another number of scores"),
    ],
)
def test_scores_that_make_no_sense_are_refused(scores: Any, reason: str, pubmedqa_root: Path, tmp_path: Path) -> None:
    broken = load_model(scores, verb="score", card={"slug": "broken", "name": "Broken"})
    with pytest.raises(RunError, match=reason):
        evaluate(broken, "pubmedqa", root=pubmedqa_root, limit=3, output=tmp_path / "run")


def test_subgroups_are_reported_and_unknown_ones_refused(guesser: Model, medqa_root: Path, tmp_path: Path) -> None:
    run = evaluate(guesser, "medqa", root=medqa_root, limit=100, subgroups=["step"], output=tmp_path / "run")
    groups = run.scores["subgroups"]["step"]
    assert {g["group"] for g in groups} == {"step1", "step2&3"}
    assert sum(g["n"] for g in groups) == 100
    with pytest.raises(RunError, match=r"no record has 'ward'.*step"):
        evaluate(guesser, "medqa", root=medqa_root, limit=10, subgroups=["ward"], output=tmp_path / "other")


def test_the_lineage_finding_stands_in_the_run(
    pubmedqa_root: Path, tmp_path: Path, medqa_root: Path, guesser: Model
) -> None:
    unknown = evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=3, output=tmp_path / "a", baseline=False)
    assert unknown.facts["lineage"] == {"asked": False, "overlaps": []}
    named = load_model(guess, verb="score", card=card("pmc-llama", "model"))  # type: ignore[arg-type]
    run = evaluate(named, "medqa", root=medqa_root, limit=3, output=tmp_path / "b", baseline=False)
    kinds = {one["kind"]: one for one in run.facts["lineage"]["overlaps"]}
    assert kinds["direct"]["splits"] == ["train"]
    page = run.report().read_text()
    assert "no way by which this split reached the model" in page
    assert "concern other splits" in page


@pytest.mark.parametrize("name", ["run.json", "predictions/part-00000.parquet"])
def test_a_damaged_folder_is_named(guesser: Model, pubmedqa_root: Path, tmp_path: Path, name: str) -> None:
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=20, output=tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"damaged"):
        evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=20, output=tmp_path / "run")


def test_run_folders_are_private(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=3, output=tmp_path / "run")
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def test_predictions_are_plain_parquet(guesser: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    evaluate(guesser, "pubmedqa", root=pubmedqa_root, limit=3, output=tmp_path / "run")
    names = pq.read_table(tmp_path / "run/predictions/part-00000.parquet").column_names
    wanted = "id input target patient site options log_likelihoods option_lengths probabilities output prediction"
    assert names == wanted.split()


@pytest.mark.parametrize("order", ["first", "random"])
def test_runs_with_other_numbers_of_examples_from_the_same_split_share_their_samples(
    tmp_path: Path, order: str
) -> None:
    lines = ["id,question,A,B,answer", *(f"{i},Is it {i}?,yes,no,{'AB'[i % 2]}" for i in range(60))]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    guess = load_model(
        lambda prompts, options: [[0.0, len(p) % 3 - 1.0] for p in prompts],
        verb="score",
        card={"slug": "g", "name": "G"},
    )
    runs = [
        evaluate(
            guess, tmp_path / "own.csv", shots=shots, shots_from="test", shots_order=order, limit=20, seed=3,  # type: ignore[arg-type]
            output=tmp_path / str(shots),
        )
        for shots in (0, 2, 5)
    ]  # fmt: skip
    none, two, five = (set(one.predictions["id"].to_pylist()) for one in runs)
    drawn = [one.facts["request"]["shot_ids"] for one in runs]
    assert drawn[2][:2] == drawn[1] and len(drawn[2]) == 5
    assert not two & set(drawn[1]) and not five & set(drawn[2])
    assert len(none) == len(two) == len(five) == 20
    assert len(none & five) >= 15
    with pytest.raises(RunError, match="--common compares what all have"):
        compare([runs[0], runs[2]], across_protocols=True)
    found = compare([runs[0], runs[2]], across_protocols=True, common=True)
    assert found.n == len(none & five)
