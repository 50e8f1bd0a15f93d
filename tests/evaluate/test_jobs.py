"""Jobs are plain fields: another process can be given one, and computes the same part."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from healthfm.datasets.open import open_dataset
from healthfm.evaluate.job import Ask, Job, Request
from healthfm.evaluate.runner import ASKED, WAYS, prepare
from healthfm.models.load import load_model, own_model_card
from healthfm.score.tasks import TASKS


class Asked:
    """Answers everything by the lengths of texts."""

    def score(self, prompts: list[str], options: list[list[str]]) -> list[np.ndarray]:
        return [
            -np.array([float(len(one) + len(prompt) % 7) for one in row])
            for prompt, row in zip(prompts, options, strict=True)
        ]

    def generate(self, prompts: list[str], **_: object) -> list[str]:
        return [f"The answer is {'ABC'[len(str(one)) % 3]}." for one in prompts]

    def embed(self, items: list[str]) -> np.ndarray:
        return np.array([[len(one), one.count("e"), one.count(" ")] for one in items], np.float32)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Path]:
    def put(name: str, rows: list[dict[str, object]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    split = ["train", "test"] * 12
    texts = [
        {"id": f"t{i}", "text": f"cough {'e' * (i % 5)} and fever", "label": "ab"[i % 3 == 0], "split": one}
        for i, one in enumerate(split)
    ]
    return {
        "questions": put("q.jsonl", [
            {"id": f"q{i}", "question": f"Which one{'?' * i}", "options": {"A": "x", "B": "yy", "C": "zzz"}, "answer": "ABC"[i % 3]} for i in range(9)
        ]),
        "answers": put("a.jsonl", [{"id": f"a{i}", "question": f"Why {i}?", "answers": [f"because {i}"]} for i in range(9)]),
        "texts": put("t.jsonl", texts),
    }  # fmt: skip


CASES = {
    "multiple-choice": "questions", "free-text": "answers", "linear-probe": "texts", "knn": "texts", "retrieval": "answers",
}  # fmt: skip


def job_of(task: str, path: Path) -> Job:
    opened = open_dataset(path)
    split = "test" if "test" in opened.splits else opened.splits[0]
    request = Request(model="own", dataset=opened, task=task)
    return prepare(
        Ask(request=request, opened=opened, card=own_model_card(None, Asked()), task=task, protocol=None, split=split)
    )


@pytest.mark.parametrize("task", CASES)
def test_a_job_that_went_to_another_process_computes_the_same_part(data: dict[str, Path], task: str) -> None:
    model = load_model(Asked(), card={"slug": "own"})
    one = job_of(task, data[CASES[task]])
    other = pickle.loads(pickle.dumps(one))
    rows = range(*one.parts[0])
    parts = [job.compute(job.tool(model, None), rows) for job in (one, other)]
    assert parts[0].num_rows == len(rows) and parts[0].equals(parts[1])
    assert one.plan == other.plan
    if one.whole:
        settled = {"arithmetic": {}}
        finished = [job.finish(part, settled) for job, part in zip((one, other), parts, strict=True)]
        assert finished[0].table.equals(finished[1].table) and finished[0].how == finished[1].how


def test_every_task_that_asks_names_a_way_and_every_way_is_asked() -> None:
    assert {TASKS[name].way for name in ASKED} == set(WAYS)
    assert all((task.way is None) == (task.verb is None) for task in TASKS.values())
