"""The index beside a large store: what damages it is found before usearch reads it, and it is built anew with the same answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from healthfm import RunError
from healthfm.embed import nearest, stored
from healthfm.embed.items import Item
from healthfm.embed.nearest import near
from healthfm.embed.plan import ROOM, merged
from healthfm.embed.units import Unit
from healthfm.engine.store import RunFolder

pytest.importorskip("usearch.index")
WIDTH, ROWS, PARTS = 16, 60, (0, 7)
INDEX, KNOWN = nearest.FILES


def fill(folder: RunFolder, seed: int = 0) -> np.ndarray:
    """Write a store of two parts; return its vectors."""
    vectors = np.random.default_rng(seed).normal(size=(len(PARTS), ROWS, WIDTH)).astype(np.float32)
    folder.path.mkdir(exist_ok=True)
    folder.write_json("manifest.json", {"asked": {"model": "given"}})
    for number, some in zip(PARTS, vectors, strict=True):
        units = [Unit(Item(f"{number} {i}", None), None, vector=one) for i, one in enumerate(some)]
        folder.publish(number, merged(None, units), ROOM)
    return vectors.reshape(-1, WIDTH)


def rows_of(vectors: np.ndarray, query: np.ndarray, top: int) -> dict[int, list[int]]:
    likeness = vectors @ query / np.linalg.norm(vectors, axis=1)
    found: dict[int, list[int]] = {}
    for key in np.sort(np.argsort(-likeness)[:top]):
        found.setdefault(PARTS[key // ROWS], []).append(int(key % ROWS))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A store with its index, its vectors, and a query."""
    folder = RunFolder(tmp_path_factory.mktemp("near") / "store", ROOM)
    vectors, query = fill(folder), np.eye(WIDTH, dtype=np.float32)[3]
    found = near(folder, PARTS, [ROWS] * 2, query, 5)
    assert found.rows == rows_of(vectors, query, 5) and found.recall > 0.9 and not found.notices
    return folder.path, vectors, query


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def do(store: Path) -> None:
        (store / INDEX).write_bytes(change((store / INDEX).read_bytes()))

    return do


def told(**changes: object) -> Callable[[Path], None]:
    def do(store: Path) -> None:
        known = {**json.loads((store / KNOWN).read_text()), **changes}
        (store / KNOWN).write_text(json.dumps(known))

    return do


def from_elsewhere(store: Path) -> None:
    other = RunFolder(store.parent / "other", ROOM)
    fill(other, 1)
    near(other, PARTS, [ROWS] * 2, np.eye(WIDTH, dtype=np.float32)[0], 5)
    shutil.copy(other.path / INDEX, store / INDEX)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": changed(lambda old: b""),
    "cut after its head": changed(lambda old: old[:100]),
    "cut in the middle": changed(lambda old: old[: len(old) // 2]),
    "a byte short": changed(lambda old: old[:-1]),
    "half of it zeros": changed(lambda old: old[: len(old) // 2] + bytes(len(old) - len(old) // 2)),
    "a number turned": changed(lambda old: old[:-40] + bytes(255 - one for one in old[-40:])),
    "no index": changed(lambda old: b"PK\3\4 something else" * 999),
    "of another store": from_elsewhere,
    "gone": lambda store: (store / INDEX).unlink(),
    "its facts gone": lambda store: (store / KNOWN).unlink(),
    "its facts empty": lambda store: (store / KNOWN).write_text(""),
    "its facts cut": lambda store: (store / KNOWN).write_text((store / KNOWN).read_text()[:60]),
    "its facts a list": lambda store: (store / KNOWN).write_text("[1, 2]"),
    "its facts bytes": lambda store: (store / KNOWN).write_bytes(b"\xff\xfe\x00"),
    "its recall no number": told(recall={"5": None}),
    "its recall above 1": told(recall={"5": 7}),
    "its vectors no number": told(vectors="many"),
    "its vectors others": told(vectors=3),
    "its digest missing": told(file=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_built_anew_with_a_notice(
    damage: str, made: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    store, vectors, query = made
    shutil.copytree(store, tmp_path / "store")
    DAMAGE[damage](tmp_path / "store")
    script = (
        "import sys, json, numpy as np\n"
        "from pathlib import Path\n"
        "from healthfm.embed.nearest import near\n"
        "from healthfm.engine.store import RunFolder\n"
        "found = near(RunFolder(Path(sys.argv[1]), 'embeddings'), (0, 7), [60] * 2, np.eye(16, dtype=np.float32)[3], 5)\n"
        "print(json.dumps([list(found.rows.items()), found.vectors, found.recall, found.notices]))\n"
    )  # a process of its own: usearch may end one that maps a file which is cut
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "store"], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    rows, count, recall, notices = json.loads(done.stdout)
    assert dict(rows) == rows_of(vectors, query, 5)
    assert count == len(vectors) and 0.9 < recall <= 1 and len(notices) == 1 and "built anew" in notices[0]
    again = near(RunFolder(tmp_path / "store", ROOM), PARTS, [ROWS] * 2, query, 5)
    assert again.rows == rows_of(vectors, query, 5) and not again.notices


def test_an_index_that_was_copied_as_it_is_is_read_and_not_built(
    made: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, vectors, query = made
    shutil.copytree(store, tmp_path / "store")
    os.utime(tmp_path / "store" / INDEX)
    monkeypatch.setattr(nearest, "_build", None)
    found = near(RunFolder(tmp_path / "store", ROOM), PARTS, [ROWS] * 2, query, 5)
    assert found.rows == rows_of(vectors, query, 5) and not found.notices
    read = nearest._file
    monkeypatch.setattr(nearest, "_file", None)  # its digest is not taken again
    assert near(RunFolder(tmp_path / "store", ROOM), PARTS, [ROWS] * 2, query, 5) == found
    assert read(tmp_path / "store" / INDEX)["sha256"] == read(store / INDEX)["sha256"]
    with pytest.raises(RunError, match="its vectors have 16 numbers, the query's 8"):
        near(RunFolder(tmp_path / "store", ROOM), PARTS, [ROWS] * 2, np.eye(8, dtype=np.float32)[0], 5)


def test_parts_that_embed_never_writes_are_refused_in_a_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "store", ROOM)
    fill(folder)
    whole, query = folder.part(7, ROOM), np.eye(WIDTH, dtype=np.float32)[:1]
    vectors = whole["embedding"].to_pylist()
    place = whole.column_names.index("embedding")
    for row, why in (
        ([float("nan")] * WIDTH, "not finite"),
        ([1e30] * WIDTH, "not finite"),
        ([1.0] * 3, "several lengths"),
        (None, "several lengths"),
    ):
        column = pa.array([*vectors[:9], row, *vectors[10:]], pa.list_(pa.float32()))
        folder.publish(7, whole.set_column(place, "embedding", column), ROOM)
        with pytest.raises(RunError, match=why) as caught:
            for table in stored.parts(folder.path, PARTS):
                stored.alike(folder.path, table, query)
        assert "\n" not in str(caught.value)
        with pytest.raises(RunError, match=why):
            near(folder, PARTS, [ROWS] * 2, query[0], 5)
        assert not (folder.path / INDEX).exists()
    words = whole.set_column(place, "embedding", pa.array(["a"] * whole.num_rows))
    for table, why in ((whole.drop_columns(["problem"]), "a part is damaged"), (words, "no lists of numbers")):
        folder.publish(7, table, ROOM)
        with pytest.raises(RunError, match=why):
            stored.part(folder.path, 7)
