"""Pictures and texts that belong together: exact ranks both ways, ties against the model, CLIP_benchmark's recalls, and the whole road."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from healthfm import RunError, evaluate, load_model
from healthfm.score import scoring
from healthfm.score.metrics.matching import ONE, ranks
from tests.evaluate.pairs import weights
from tests.models.vision.towers import DATA
from tests.references import clip_benchmark as reference
from tests.references.recipe_weights import recipe_image


def scored(both: object, ids: tuple[list[str], list[str]], pairs: list[tuple[int, int]]) -> dict[str, float]:
    rows = []
    for side, (one, way) in enumerate(zip(both, ("image to text", "text to image"), strict=True)):  # type: ignore[call-overload]
        for i, found in enumerate(one.found):
            target = [ids[1 - side][pair[1 - side]] for pair in pairs if pair[side] == i]
            rows.append({"id": ids[side][i], "direction": way, "target": target, "ranks": found.tolist()})
    table = scoring.check_table(pa.Table.from_pylist(rows), "image-text-retrieval")
    return {name: one.value for name, one in scoring.statistics_of(table, "image-text-retrieval").items()}


def test_recalls_are_clip_benchmarks_own_with_several_captions_a_picture() -> None:
    images, texts = reference.vectors()
    pairs = [(image, text) for text, image in enumerate(reference.OF_TEXT)]
    ids = ([f"i{n}" for n in range(len(images))], [f"t{n}" for n in range(len(texts))])
    found = scored(ranks(images, texts, pairs), ids, pairs)
    theirs = json.loads((DATA / "expected/clip-benchmark.retrieval.json").read_text())
    assert len(theirs) == 6 and len(set(theirs.values())) > 3
    for name, value in theirs.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found["mean_recall"] == pytest.approx(np.mean(list(theirs.values())))


def test_ranks_are_those_of_whole_numbers_whatever_the_chunk_and_ties_count_against_the_model() -> None:
    draw, (n, m, d) = np.random.default_rng(0), (23, 61, 12)
    left, right = (draw.normal(size=(count, d)).astype(np.float32) for count in (n, m))
    right[5], right[7], left[3] = right[6] * 3, left[0], left[4]  # equal directions
    pairs = sorted({*((i % n, i) for i in range(m)), (3, 50), (9, 50)})
    whole = [
        np.trunc(side * ((1 - 2.0**-40) * ONE / np.sqrt((side.astype(float) ** 2).sum(1)))[:, None]).astype(np.int64).astype(object)
        for side in (left, right)
    ]  # fmt: skip
    likeness = whole[0] @ whole[1].T  # of Python's own whole numbers
    right_ones = np.zeros((n, m), bool)
    right_ones[tuple(np.array(pairs).T)] = True
    for chunk in (1, 7, 2_048):
        for one, s, p in zip(ranks(left, right, pairs, chunk), (likeness, likeness.T), (right_ones, right_ones.T), strict=True):  # fmt: skip
            for row, among, belongs in zip(one.found, s, p, strict=True):
                order = sorted(range(len(among)), key=lambda j: (-among[j], belongs[j]))
                assert row.tolist() == [rank for rank, j in enumerate(order, 1) if belongs[j]]
            assert one.first.tolist() == [max(range(len(row)), key=lambda j: (row[j], -j)) for row in s]
    same = np.ones((4, 3), np.float32)
    assert [row.tolist() for row in ranks(same, same, [(i, i) for i in range(4)])[0].found] == [[4]] * 4
    for bad, why in ((np.zeros((4, 3), np.float32), "zero"), (np.full((4, 3), np.nan, np.float32), "not finite")):
        with pytest.raises(ValueError, match=why):
            ranks(same, bad, [(i, i) for i in range(4)])
    with pytest.raises(ValueError, match="number 3 has nothing"):
        ranks(same, same, [(i, min(i, 2)) for i in range(4)])


@pytest.mark.parametrize("width", [16, 300])
def test_ranks_of_blocks_that_threads_count_are_those_of_a_sort(width: int) -> None:
    draw, (n, m) = np.random.default_rng(1), (1_100, 700)
    left, right = (draw.normal(size=(count, width)).astype(np.float32) for count in (n, m))
    pairs = [*((i, i % m) for i in range(n)), *((i, (7 * i + 1) % m) for i in range(0, n, 3))]
    units = [side / np.linalg.norm(side.astype(np.float64), axis=1)[:, None] for side in (left, right)]
    likeness, belongs = units[0] @ units[1].T, np.zeros((n, m), bool)
    belongs[tuple(np.array(pairs).T)] = True
    both = ranks(left, right, pairs)
    for one, s, p in zip(both, (likeness, likeness.T), (belongs, belongs.T), strict=True):
        assert (one.first == s.argmax(1)).all()
        for row, among, own in zip(one.found, s, p, strict=True):
            assert row.tolist() == [1 + int((among > x + 1e-12).sum()) for x in np.sort(among[own])[::-1]]
    assert max(row.max() for row in both[1].found) > 1_000 and max(row.max() for row in both[0].found) > 600


def test_medians_and_precision_are_of_the_rows_that_are_drawn() -> None:
    rows = [
        {"id": "a", "direction": "image to text", "target": ["x", "y"], "ranks": [1, 4]},
        {"id": "b", "direction": "image to text", "target": ["x"], "ranks": [9]},
        {"id": "x", "direction": "text to image", "target": ["a", "b"], "ranks": [2, 3]},
    ]
    table = scoring.check_table(pa.Table.from_pylist(rows), "image-text-retrieval")
    found = scoring.statistics_of(table, "image-text-retrieval")
    assert found["image_to_text_median_rank"].value == 5 and found["text_to_image_median_rank"].value == 2
    assert found["image_to_text_map"].value == pytest.approx(((1 + 2 / 4) / 2 + 1 / 9) / 2)
    assert found["text_to_image_map"].value == pytest.approx((1 / 2 + 2 / 3) / 2)
    drawn = found["image_to_text_median_rank"].at(np.array([[2, 1, 0], [0, 1, 3], [0, 0, 1]]))
    assert drawn[:2].tolist() == [1, 9] and np.isnan(drawn[2])
    with pytest.raises(RunError, match="no rank from 1 for each of their targets: b"):
        scoring.check_table(pa.Table.from_pylist([rows[0], {**rows[1], "ranks": [0]}]), "image-text-retrieval")


def test_a_set_of_captions_is_asked_both_ways_to_a_report(tmp_path: Path) -> None:
    top = tmp_path / "root/data/test/radiology"
    (top / "images").mkdir(parents=True)
    captions = ["No heart failure!", "a lung", "heart", "a lung", "fail", "no picture here"]
    (top / "captions.txt").write_text("".join(f"ROCO_{i}\t {one}\n" for i, one in enumerate(captions)))
    for i in range(5):
        made = io.BytesIO()
        PIL.Image.fromarray(recipe_image(f"roco {min(i, 3)}", 64, 64)).save(
            made, "JPEG"
        )  # the last two are one picture
        (top / f"images/ROCO_{i}.jpg").write_bytes(made.getvalue())
    model = load_model("pathasst", weights(tmp_path / "weights"), device="cpu")
    run = evaluate(model, "roco", root=tmp_path / "root", task="retrieval", output=tmp_path / "run")
    rows = {row["id"]: row for row in run.predictions.to_pylist()}
    assert list(rows) == [*(f"ROCO_{i}#picture" for i in range(4)), *(f"ROCO_{i}" for i in (0, 1, 2, 4))]
    assert rows["ROCO_1"]["target"] == ["ROCO_1#picture", "ROCO_3#picture"]  # one text, of two pictures
    assert rows["ROCO_3#picture"]["target"] == ["ROCO_1", "ROCO_4"]  # one picture, with two texts
    pictures = model.embed([top / f"images/ROCO_{i}.jpg" for i in range(4)])
    texts = model.embed([captions[i] for i in (0, 1, 2, 4)])
    for row, likeness, other in (
        (rows["ROCO_2#picture"], texts @ pictures[2], 2),
        (rows["ROCO_4"], pictures @ texts[3], 3),
    ):
        assert row["ranks"] == [int((likeness >= likeness[other]).sum())]
    said = " ".join(run.facts["notices"])
    assert "1 text and 1 picture are equal to others" in said and "ROCO_5" in said
    assert run.scores["headline"] == "mean_recall" and "image_to_text_median_rank" in run.metrics
    assert run.scores["rules"][2] == "ranked by lot, the mean recall would be about 0.771"
    page = run.report().read_text(encoding="utf-8")
    assert "text to image, recall at 5" in page and "Found last" in page
    shown = run.report(show_inputs=True).read_text(encoding="utf-8")
    assert shown.count('alt="ROCO_3#picture"') and 'alt="ROCO_3#picture"' not in page  # the set may not be shared
    few = evaluate(model, "roco", root=tmp_path / "root", task="retrieval", limit=2, output=tmp_path / "few")
    assert any("of 2 of 5 records" in one for one in few.facts["notices"])
    with pytest.raises(RunError, match="pictures with texts; these are Document"):
        evaluate(model, "roco", root=_bare(tmp_path / "bare"), task="retrieval", output=tmp_path / "none")


def _bare(root: Path) -> Path:
    (root / "data/test/radiology").mkdir(parents=True)
    (root / "data/test/radiology/captions.txt").write_text("ROCO_1\t heart\n")
    return root
