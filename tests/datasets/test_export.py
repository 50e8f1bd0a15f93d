"""Records for other programs: the same content in every format, the same bytes every time, nothing half written."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from healthfm import open_dataset
from healthfm.cards import catalog
from healthfm.datasets.export import webdataset
from healthfm.datasets.export.data_card import data_card
from healthfm.datasets.export.write import WRITERS, export_dataset
from healthfm.errors import DatasetError
from tests.cli.command import run

OF_TEXTS = [name for name in WRITERS if name != "meds"]  # which takes timelines alone


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    lines = ["id,text,split,patient,dx"] + [
        f"n{n},Fever – “high” & <b>\u2028 {n},{'train' if n < 3 else 'test'},p{n},{'flu' if n % 2 else ''}"
        for n in range(5)
    ]
    (tmp_path / "ward.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "ward.csv"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for number, name in enumerate(("cyst", "polyp")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        PIL.Image.fromarray(draw.integers(0, 255, (4, 5, 3), dtype=np.uint8)).save(
            tmp_path / "pictures" / name / f"{number}.png"
        )
    (tmp_path / "pictures" / "cyst" / "deep.png").write_bytes(
        imagecodecs.png_encode(draw.integers(0, 60000, (3, 2), dtype=np.uint16))
    )
    return tmp_path / "pictures"


def opened(path: Path) -> Any:
    return open_dataset(path, columns={"labels": {"dx": "dx"}})


def test_json_lines_hold_what_parquet_holds(ward: Path, tmp_path: Path) -> None:
    export_dataset(opened(ward), "parquet", tmp_path / "out.parquet")
    export_dataset(opened(ward), "jsonl", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert rows == pq.read_table(tmp_path / "out.parquet").to_pylist() and len(rows) == 5
    again = open_dataset(tmp_path / "out.jsonl", split="train", columns={"text": "text"})
    assert [(r.id, r.text) for r in again] == [(r.id, r.text) for r in opened(ward)["train"]]


@pytest.mark.parametrize("to", OF_TEXTS)
def test_the_same_records_are_the_same_bytes(ward: Path, tmp_path: Path, to: str) -> None:
    made = []
    for name in ("one", "two"):
        path = export_dataset(opened(ward), to, tmp_path / name / "out")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        made.append([(one.name, one.read_bytes()) for one in files])
        assert all(one.stat().st_mode & 0o077 == 0 for one in files)
    assert made[0] == made[1] and made[0]


@pytest.mark.parametrize("to", OF_TEXTS)
def test_nothing_is_left_of_what_failed(ward: Path, tmp_path: Path, to: str) -> None:
    ward.write_text(ward.read_text(encoding="utf-8") + "cut,off\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"ward\.csv, line 7"):
        export_dataset(opened(ward)["test"], to, tmp_path / "out")
    assert not (tmp_path / "out").is_file() and not [
        one for one in tmp_path.rglob("*") if one.name.startswith((".out", ".test"))
    ]


def test_webdataset_shards_hold_records_and_pixels(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset, "SHARD", 2)
    records = list(open_dataset(pictures))
    export_dataset(open_dataset(pictures), "webdataset", tmp_path / "shards")
    assert sorted(one.name for one in (tmp_path / "shards").iterdir()) == ["test-000000.tar", "test-000001.tar"]
    members: dict[str, bytes] = {}
    for shard in sorted((tmp_path / "shards").iterdir()):
        with tarfile.open(shard) as tar:
            members.update({one.name: tar.extractfile(one).read() for one in tar})  # type: ignore[union-attr]
    assert list(members) == [f"test-{n:09d}.{end}" for n in range(3) for end in ("json", "png")]
    for number, record in enumerate(records):
        told = json.loads(members[f"test-{number:09d}.json"])
        assert told["id"] == record.id and json.loads(told["labels"]) == dict(record.labels)
        pixels = imagecodecs.png_decode(members[f"test-{number:09d}.png"])
        assert pixels.dtype == record.pixels.dtype and np.array_equal(pixels, record.pixels)  # type: ignore[attr-defined]


def test_masks_go_along(pictures: Path, tmp_path: Path) -> None:
    from healthfm.records import Image

    mask = np.array([[True, False]])
    found = dict(
        webdataset._members(Image(id="1", load=lambda: np.zeros((1, 2), np.uint8), masks={"polyp": lambda: mask}))
    )
    assert list(found) == ["json", "png", "mask.polyp.png"]
    assert np.array_equal(imagecodecs.png_decode(found["mask.polyp.png"]), mask)
    with pytest.raises(DatasetError, match="do not go into a PNG"):
        list(webdataset._members(Image(id="1", load=lambda: np.zeros((1, 2), np.float32))))


def test_a_folder_with_something_in_it_is_not_written_to(ward: Path, tmp_path: Path) -> None:
    for to in ("webdataset", "croissant"):
        with pytest.raises(DatasetError, match="it is not empty"):
            export_dataset(opened(ward), to, tmp_path)


# Croissant and the data card ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("official", [True, False])
def test_croissant_is_valid_and_loads_the_same_records(
    official: bool, ward: Path, pubmedqa_root: Path, tmp_path: Path
) -> None:
    import mlcroissant

    dataset = open_dataset("pubmedqa", pubmedqa_root, "test").first(20) if official else opened(ward)
    export_dataset(dataset, "croissant", tmp_path / "out")
    loaded = mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json")
    issues = loaded.metadata.ctx.issues
    assert not issues.errors and (
        not issues.warnings if official else all("recommended" in one for one in issues.warnings)
    )
    for split in dataset.selected:
        rows = pq.read_table(tmp_path / "out" / f"{split}.parquet").to_pylist()
        found = [
            {
                name.partition("/")[2]: value.decode() if isinstance(value, bytes) else value
                for name, value in row.items()
            }
            for row in loaded.records(split)
        ]
        assert [row["id"] for row in found] == [row["id"] for row in rows] and len(rows) > 1
        assert {name: found[0][name] for name in ("id", "split", "labels")} == {
            name: rows[0][name] for name in ("id", "split", "labels")
        }
    told = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert any("http://mlcommons.org/croissant/RAI/" in one for one in told["conformsTo"])
    assert told["rai:personalSensitiveInformation"] and told["rai:dataSocialImpact"].startswith("Research use only")
    assert loaded.metadata.personal_sensitive_information == told["rai:personalSensitiveInformation"]
    if official:
        assert "sorted by label" in told["rai:dataLimitations"][0] and "MIT (data and code)" in told["license"]


def test_every_card_has_a_page_of_markdown_on_which_nothing_is_a_tag() -> None:
    for card in catalog.all_cards("dataset"):
        page = data_card(card)  # type: ignore[arg-type]
        assert page.startswith("# ") and "## Licence" in page and "<" not in page
        if any(one.checked == "unverified" for one in card.licences):
            assert "**unverified**" in page


def test_show_prints_the_page_and_refuses_it_of_a_model() -> None:
    assert run("show", "pubmedqa", "--data-card").stdout.startswith("# PubMedQA\n")
    assert run("show", "uni", "--data-card").returncode == 2


# The command ----------------------------------------------------------------------------------------------------------


def test_read_writes_and_limits(ward: Path, tmp_path: Path) -> None:
    done = run("read", ward, "--to", "jsonl", "--output", tmp_path / "o.jsonl", "--split", "train", "--limit", 2)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "o.jsonl"))
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 2
    assert run("read", ward, "--head", 1, "--json").stdout == run("read", ward, "--limit", 1, "--json").stdout
    for words, said in (
        (("--to", "jsonl"), "--to needs --output"),
        (("--to", "csv", "--output", "x"), "formats: parquet, jsonl"),
    ):
        done = run("read", ward, *words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_the_first_records_of_each_split_are_a_dataset(ward: Path) -> None:
    some = opened(ward).first(1)
    assert [(r.id, r.split) for r in some] == [("n0", "train"), ("n3", "test")] and len(some["test"]) == 1
    assert some.notices == []
