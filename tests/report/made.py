"""Runs made by hand for the tests of reports: of every kind, hostile, crowded, private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import PIL.Image
import pyarrow as pa

from healthfm import Run, evaluate_predictions, load_run, open_dataset
from healthfm.embed.items import Item
from healthfm.embed.run import Embeddings
from healthfm.engine.store import RunFolder
from healthfm.records import Document, MultipleChoice
from healthfm.score import learning

EVIL = """<script>alert(1)</script>"'&<img src=x onerror=alert(1)>"""
CLASSES = ("yes", "no", "maybe")


def table(n: int = 60, classes: tuple[str, ...] = CLASSES, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(len(classes)), n)
    target = [classes[int(rng.choice(len(classes), p=row))] for row in p]
    return {
        "id": [str(20_000 + i) for i in range(n)], "options": [list(classes)] * n,
        "probabilities": p.tolist(), "target": target, "prediction": [classes[int(row.argmax())] for row in p], **more,
    }  # fmt: skip


def facts(dataset: str = "pubmedqa:pqa-l@reasoning-required", split: str = "test", **more: Any) -> dict[str, Any]:
    """What ``evaluate`` writes down of a run."""
    request = {
        "model": "smollm2-135m-instruct", "dataset": dataset, "task": "yes-no-maybe", "split": split, "shots": 2,
        "shots_from": "train", "shots_order": "first", "shot_ids": ["1", "2"], "subgroups": [], "seed": 0, "limit": 60,
        "weights": "0011223344556677", "device": "auto", "dtype": "auto", "cards": {"model": "aa", "dataset": "bb"},
    }  # fmt: skip
    return {
        "format": 1, "request": request, "plan": {"characters_per_part": 12_000, "parts": [[0, 60]], "items": "cc"},
        "protocol": {"summary": "s", "template": "Abstract: {{ context }}\nAnswer:", "follows": "lm-evaluation-harness"},
        "root": None, "classes": list(CLASSES), "majority": {"class": "yes", "accuracy": 0.552, "n": 500}, "split_records": 500,
        "lineage": {"asked": True, "overlaps": [
            {"kind": "sibling", "meaning": "the model was trained on something from the same source as this dataset",
             "path": ["smollm2", "pubmed", "pubmedqa"], "steps": ["trained on PubMed", "made from PubMed"],
             "evidence": ["paper, section 2", "paper, section 3"], "splits": []},
            {"kind": "direct", "meaning": "m", "path": ["a", "b"], "steps": ["s"], "evidence": ["e"], "splits": ["train"]},
        ]},
        "notices": ["pubmedqa, split test: 499 records read, the card says 500"],
        "data": {"shareable_inputs": True, "path": None, "columns": {}},
        "environments": [{
            "versions": {"python": "3.11"}, "hardware": {"cpu": "a processor", "cores": 2},
            "model": {"weights": "Q4_1, dequantised", "dtype": "float32", "device": "cpu"},
        }],
        **more,
    }  # fmt: skip


def by_hand(path: Path, rows: dict[str, Any] | None = None, **more: Any) -> Run:
    """A run folder as ``evaluate`` leaves it, opened again."""
    with RunFolder(path) as folder:
        folder.write_json("run.json", facts(**more))
        folder.publish(0, pa.table(rows or table()))
    return load_run(path)


def of_probe(path: Path) -> Run:
    """A run folder of a probe that was fitted on 400 samples, and on 100 and 200 of them."""
    rows = table(200)
    worse = {**rows, "prediction": ["maybe"] * 120 + rows["prediction"][120:]}
    less = {**rows, "prediction": ["maybe"] * 60 + rows["prediction"][60:]}
    fitted = {"probe": "logistic regression", "fitted_on": 400, "curve": [{"fitted_on": 100}, {"fitted_on": 200}]}
    with RunFolder(path) as folder:
        folder.write_json("run.json", facts(fitted=fitted))
        folder.publish(0, pa.table(rows))
        folder.publish(0, learning.stack({100: pa.table(worse), 200: pa.table(less)}), learning.ROOM)
    return load_run(path)


def of_records(path: Path, records: list[MultipleChoice], **more: Any) -> Run:
    """A run folder over real records, all answered by their first option."""
    options = [list(one.options) for one in records]
    rows = {
        "id": [one.id for one in records], "input": [one.digest() for one in records], "options": options,
        "probabilities": [[1.0] + [0.0] * (len(keys) - 1) for keys in options],
        "prediction": [keys[0] for keys in options], "target": [one.answer for one in records], "patient": [one.patient for one in records],
    }  # fmt: skip
    return by_hand(path, rows, **more)


COLOURS = {"cyst": (200, 30, 30), "normal": (30, 160, 60), "polyp": (40, 60, 200)}


def folder_of_pictures(root: Path, count: int = 6) -> Path:
    """Class folders of pictures, each of one colour."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "test" / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(np.array(colour) + rng.integers(-20, 20, (60, 90, 3)), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(root / "test" / name / f"{i}.png")
    return root


def image_run(tmp_path: Path, shareable: bool = False, **more: Any) -> Run:
    """A probe's run on pictures: every cyst is called a polyp, half of the normal ones a cyst."""
    data = folder_of_pictures(tmp_path / "pictures")
    records: list[Any] = list(open_dataset(data, split="test"))
    names = list(COLOURS)
    targets = [next(iter(one.labels.values())) for one in records]
    said = ["polyp" if t == "cyst" else "cyst" if t == "normal" and i % 2 else t for i, t in enumerate(targets)]
    sure = [0.5 + 0.02 * i for i in range(len(records))]
    chances = [[p if name == one else (1 - p) / 2 for name in names] for one, p in zip(said, sure, strict=True)]
    rows = {
        "id": [one.id for one in records], "input": [one.digest() for one in records], "options": [names] * len(records), "probabilities": chances,
        "prediction": said, "target": targets,
    }  # fmt: skip
    run = by_hand(
        tmp_path / "run", rows, dataset="pictures#linear-probe", data={"shareable_inputs": shareable, "path": str(data), "columns": {}},
        classes=names, root=str(data), majority=None, protocol=None, **more,
    )  # fmt: skip
    run.facts["request"]["task"] = "linear-probe"  # type: ignore[index]
    return run


MANIFEST = {"asked": {"model": "a-model"}, "notices": [], "model_notices": ["said of it"]}


def embedded(folder: Path, vectors: Any, ids: list[str]) -> Embeddings:
    """A folder of embeddings as ``embed`` leaves it."""
    rows = {
        "id": ids, "number": list(range(len(ids))), "of": [1] * len(ids), "x": pa.nulls(len(ids), pa.int64()), "y": pa.nulls(len(ids), pa.int64()),
        "digest": ids, "embedding": pa.array(np.asarray(vectors, np.float32).tolist(), pa.list_(pa.float32())), "problem": pa.nulls(len(ids), pa.string()),
    }  # fmt: skip
    with RunFolder(folder, "embeddings") as opened:
        opened.publish(0, pa.table(rows), "embeddings")
    return Embeddings(folder, MANIFEST, [])


def documents(n: int, **more: Any) -> list[Item]:
    """Documents of two classes, three sites and two splits."""
    made = [
        Document(id=f"d{i}", split="train" if i % 4 else "test", site=f"site {i % 3}", labels={"grade": ("low", "high")[i % 2]}, text="t", **more)
        for i in range(n)
    ]  # fmt: skip
    return [Item(one.id, one) for one in made]


def text_of(html: str) -> str:
    return " ".join(lxml.html.fromstring(html).text_content().split())


def own_manifest(folder: Path, question: str) -> Path:
    rows = [{"id": f"r{i}", "question": f"{question} {i}", "A": "one", "B": "two", "answer": "A"} for i in range(3)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def own_run(folder: Path, question: str) -> tuple[Run, Path]:
    manifest = own_manifest(folder, question)
    records: list[Any] = list(open_dataset(manifest, split="test"))
    data = {"shareable_inputs": False, "path": str(manifest), "columns": {}}
    run = of_records(
        folder / "run", records, dataset="mine@letters", data=data, classes=["A", "B"], root=str(folder), majority=None,
    )  # fmt: skip
    run.facts["request"]["task"] = "multiple-choice"  # type: ignore[index]
    return run, manifest


def of_kind(kind: str, n: int = 120, output: Path | None = None, **more: Any) -> Run:
    """A table of predictions of each kind, scored."""
    rng = np.random.default_rng(4)
    ids = [f"row-{i}" for i in range(n)]
    sick = rng.random(n) < 0.4
    score = 1 / (1 + np.exp(-(2.0 * sick - 1 + rng.normal(0, 1, n))))
    if kind == "binary":
        rows: dict[str, Any] = {
            "target": ["sick" if one else "well" for one in sick], "options": [["well", "sick"]] * n,
            "probabilities": [[1 - p, p] for p in score], "patient": [f"p{i // 2}" for i in range(n)],
            "subgroup.sex": ["female" if i % 4 < 2 else "male" for i in range(n)], "subgroup.site": ["north" if i % 9 else "south" for i in range(n)],
        }  # fmt: skip
        more = {"classes": ["well", "sick"], **more}
    elif kind == "multi-label":
        names = [f"finding {letter}" for letter in "abcdefgh"]
        there = rng.random((n, 8)) < 0.3
        p = 1 / (1 + np.exp(-(2.0 * there - 1 + rng.normal(0, 1, (n, 8)))))
        rows = {
            "target": [[name for name, one in zip(names, row, strict=True) if one] for row in there], "options": [names] * n, "probabilities": p.tolist(),
            "uncertain": [["finding a"] if i % 30 == 0 and not there[i, 0] else [] for i in range(n)],
        }  # fmt: skip
    elif kind == "regression":
        target = rng.normal(120, 15, n)
        guess: list[float | None] = [*(target + rng.normal(0, 8, n)).tolist()[:-1], None]
        rows = {"target": target, "prediction": guess, "subgroup.ward": ["a" if i % 2 else "b" for i in range(n)]}
    elif kind == "ordinal":
        grade = rng.integers(0, 4, n)
        rows = {"target": grade.tolist(), "prediction": np.clip(grade + rng.integers(-1, 2, n), 0, 3).tolist()}
        more = {"classes": ["0", "1", "2", "3"], **more}
    elif kind == "retrieval":
        rows = {
            "target": [[one] for one in ids],
            "ranking": [
                [ids[(i + i % 4) % n], one, ids[i - 1]] if i % 4 else [one, ids[i - 1]] for i, one in enumerate(ids)
            ],
        }
    elif kind == "free-text":
        rows = {
            "target": [["Aspirin, 100 mg"], ["rest", "sleep"]] * (n // 2), "output": ["aspirin 10 mg secretly", None] * (n // 2),
            "judge": [0.0, 0.0] * (n // 2 - 1) + [None, 0.0], "judge_raw": ["Verdict: incorrect", None] * (n // 2), "human": [0.0, None] * (n // 2),
        }  # fmt: skip
    else:
        assert kind == "perplexity"
        rows = {
            "log_likelihood": (-rng.random(n) * 90 - 10).tolist(),
            "tokens": [30] * n,
            "words": [20] * n,
            "bytes": [110] * n,
        }
    return evaluate_predictions({"id": ids, **rows}, kind, name="mine", output=output, **more)


KINDS = ("binary", "multi-label", "regression", "ordinal", "retrieval", "free-text", "perplexity")
