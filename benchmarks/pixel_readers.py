"""Readers of pictures: an index of DICOM series, a table beside 20,000 pictures, one picture of a large zip, and frames of a film by their time.

Alternating, the same records, one thread, processor time (of the zip: time on the clock, for a disk is asked). Segmentation metrics have a script of
their own (``segmentation.py``).

    python benchmarks/pixel_readers.py [--scale 1] [--rounds 3] [--cases dicom table zip video] [--reference VENV/lib/python3.11/site-packages]

dicom   5,000 files of 20 series to lists in slice order: ``series.files`` against a loop of ``pydicom.dcmread(stop_before_pixels=True)`` that groups
        and sorts.
table   ChestX-ray14's layout with 20,000 pictures: passing over all records (labels, patients, boxes; no pixels) against decoding every picture with
        Pillow; peak memory of the pass beside that of a tenth of the set.
zip     a picture of a zip of 10 GB (stored, 20,000 members, most of them holes that take no room on a disk that knows holes): the first, then 200 at
        random by name.
video   200 moments of a film of ten minutes, drawn: ``video.moments`` against the same seeks written out with PyAV, and decord where it is installed.

``--reference``: where decord is installed, if not here; its path is put behind this environment's. ``--scale 0.02`` is a look.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from memory import peak_mib

RESULT = Path(__file__).parent / "results" / "pixel_readers.json"
TARGETS = {"dicom": 8, "table": 20, "zip milliseconds": 2, "video": 1}
FINDINGS = ["No Finding", "Atelectasis", "Cardiomegaly|Effusion", "Infiltration", "Mass|Nodule", "Hernia"]
MEMBER = 512 * 1024  # bytes of a picture in the zip
RATE, KEY = 25, 50  # frames a second, frames between key frames


def alternate(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the best processor seconds of each call, the calls taking turns, and what each gave."""
    best, given = dict.fromkeys(calls, float("inf")), {}
    for turn in range(rounds):
        for name, call in calls.items() if turn % 2 == 0 else reversed(calls.items()):
            start = time.process_time()
            given[name] = call()
            best[name] = min(best[name], time.process_time() - start)
    return best, given


# DICOM ----------------------------------------------------------------------------------------------------------------


def dicom_case(folder: Path, scale: float, rounds: int) -> dict[str, Any]:
    """Series of slices whose names do not tell their order, to lists that are in order."""
    import pydicom
    from pydicom.data import get_testdata_file

    from healthfm.formats.dicom import series

    each, draw = max(5, round(250 * scale)), np.random.default_rng(0)
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for one in range(20):
        (folder / f"{one:02d}").mkdir()
        data.SeriesInstanceUID = f"1.2.3.{one}"
        for name, place in enumerate(draw.permutation(each).tolist()):
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{one}.{place}"
            data.InstanceNumber, data.ImagePositionPatient = place, [-158.1, -179.0, -75.7 + 2.5 * place]
            data.save_as(folder / f"{one:02d}" / f"{name:04d}.dcm")

    def ours() -> list[list[Path]]:
        return [series.files(path) for path in sorted(folder.iterdir())]

    def theirs() -> list[list[Path]]:
        found: dict[str, list[tuple[float, Path]]] = defaultdict(list)
        for path in sorted(folder.rglob("*.dcm")):
            head = pydicom.dcmread(path, stop_before_pixels=True)
            row = np.array(head.ImageOrientationPatient, float)
            place = float(np.cross(row[:3], row[3:]) @ np.array(head.ImagePositionPatient, float))
            found[head.SeriesInstanceUID].append((place, path))
        return [[path for _, path in sorted(some)] for some in found.values()]

    seconds, given = alternate({"healthfm": ours, "pydicom": theirs}, rounds)
    assert [[*map(str, one)] for one in given["healthfm"]] == [[*map(str, one)] for one in given["pydicom"]]
    return {"files": 20 * each, "seconds": seconds, "ratio": round(seconds["pydicom"] / seconds["healthfm"], 2)}


# A table beside pictures ----------------------------------------------------------------------------------------------


def chest(folder: Path, count: int) -> None:
    """Write pictures of 1,024 by 1,024 in twelve folders, the table, and the two lists."""
    from PIL import Image

    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (32, 32)).astype(np.uint8)
    held = io.BytesIO()
    smooth = np.asarray(Image.fromarray(coarse).resize((1024, 1024), Image.Resampling.BICUBIC), int)
    Image.fromarray(np.clip(smooth + draw.normal(0, 2, (1024, 1024)), 0, 255).astype(np.uint8)).save(held, "png")
    names = [f"{n // 4 + 1:08d}_{n % 4:03d}.png" for n in range(count)]
    for n, name in enumerate(names):
        path = folder / f"images_{n * 12 // count + 1:03d}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held.getvalue())
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    rows = [
        f"{name},{FINDINGS[n % len(FINDINGS)]},{n % 4},{n // 4 + 1},{40 + n % 40},M,PA,2500,2048,0.143,0.143,"
        for n, name in enumerate(names)
    ]
    (folder / "Data_Entry_2017.csv").write_text("\n".join([head, *rows]) + "\n")
    kept = count * 3 // 4 // 4 * 4
    (folder / "train_val_list.txt").write_text("\n".join(names[:kept]) + "\n")
    (folder / "test_list.txt").write_text("\n".join(names[kept:]) + "\n")


def table_pass(folder: Path) -> dict[str, Any]:
    """Pass over all records of a set without decoding one."""
    from healthfm import open_dataset

    start, count, found = time.process_time(), 0, set()
    for record in open_dataset("chestx-ray14", folder):
        count += 1
        found.add(record.patient)
    return {"records": count, "patients": len(found), "seconds": time.process_time() - start, "peak_mib": peak_mib()}


def decode_pass(folder: Path) -> dict[str, Any]:
    """Decode every picture of a set."""
    from PIL import Image

    start, count = time.process_time(), 0
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as picture:
            count += np.asarray(picture).ndim == 2
    return {"records": count, "seconds": time.process_time() - start, "peak_mib": peak_mib()}


def alone(way: str, folder: Path) -> dict[str, Any]:
    """Run a pass in a process of its own, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(folder)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def table_case(folder: Path, scale: float, rounds: int) -> dict[str, Any]:
    """Time the pass over the table against decoding, and see whether memory grows with the set."""
    count = max(40, round(20_000 * scale))
    for name, size in (("whole", count), ("tenth", max(40, count // 10))):
        (folder / name).mkdir()
        chest(folder / name, size)
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for way in ("table", "decode"):
            found = alone(way, folder / "whole")
            if best.setdefault(way, found)["seconds"] > found["seconds"]:
                best[way] = found
    assert best["table"]["records"] == best["decode"]["records"] == count
    return {
        **best, "ratio": round(best["decode"]["seconds"] / best["table"]["seconds"], 2), "microseconds a record": round(1e6 * best["table"]["seconds"] / count, 1),
        "peak_mib_of_a_tenth": alone("table", folder / "tenth")["peak_mib"],
    }  # fmt: skip


# One picture of a large zip -------------------------------------------------------------------------------------------


def large_zip(path: Path, count: int) -> list[str]:
    """Write a zip of stored members that are holes, but for every hundredth, and return their names."""
    names = [f"images/{n // 1000:03d}/{n:07d}.png" for n in range(count)]
    holes, full = bytes(MEMBER), np.random.default_rng(0).integers(0, 256, MEMBER).astype(np.uint8).tobytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for n, name in enumerate(names):
            packed.writestr(name, full if n % 100 == 0 else holes)
    return names


def zip_case(folder: Path, scale: float, rounds: int) -> dict[str, Any]:
    """Time the first picture and those that follow."""
    from healthfm.formats.source import Source

    path = folder / "large.zip"
    names = large_zip(path, max(200, round(20_000 * scale)))
    asked = [names[n] for n in np.random.default_rng(1).permutation(len(names))[:200].tolist()]

    def read(name: str) -> float:
        start = time.perf_counter()
        with Source(path, name).open() as handle:
            assert len(handle.read()) == MEMBER
        return 1000 * (time.perf_counter() - start)

    first = read(asked[0])
    rest = np.array([[read(name) for name in asked[1:]] for _ in range(rounds)])
    return {
        "gigabytes": round(path.stat().st_size / 1e9, 2), "members": len(names), "first ms": round(first, 2),
        "median ms": round(float(np.median(rest)), 3), "95 of 100 below ms": round(float(np.quantile(rest, 0.95)), 3),
    }  # fmt: skip


# Frames by time -------------------------------------------------------------------------------------------------------


def film(path: Path, seconds: int) -> None:
    """Write a film of moving bars, H.264 with a key frame every two seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 640, 480, "yuv420p", KEY
        base = np.tile(np.arange(640, dtype=np.uint8), (480, 1))
        for n in range(RATE * seconds):
            picture = np.repeat(np.roll(base, 3 * n, 1)[:, :, None], 3, 2)
            picture[:40, : 16 * (n % 40) + 16] = n % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def video_case(folder: Path, scale: float, rounds: int) -> dict[str, Any]:
    """Time moments of a film in drawn order; frames must be the same as PyAV's."""
    import av

    from healthfm.formats import video
    from healthfm.formats.source import Source

    path, length = folder / "film.mp4", max(6, round(600 * scale))
    film(path, length)
    when = [
        n / RATE + 0.01
        for n in np.random.default_rng(1).integers(0, RATE * length, max(20, round(200 * scale))).tolist()
    ]

    def ours() -> list[int]:
        return [int(one.sum()) for one in video.moments(Source(path), when)]

    def by_av() -> list[int]:
        found = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for one in when:
                target = round(one / stream.time_base) + (stream.start_time or 0)
                container.seek(target, stream=stream)
                shown = None
                for frame in container.decode(stream):
                    if frame.pts > target:
                        break
                    shown = frame
                assert shown is not None
                found.append(int(shown.to_ndarray(format="rgb24").sum()))
        return found

    calls: dict[str, Callable[[], Any]] = {"healthfm": ours, "pyav": by_av}
    try:
        import decord

        calls["decord"] = lambda: [int(decord_reader[int(one * RATE)].asnumpy().sum()) for one in when]
        decord_reader = decord.VideoReader(str(path), num_threads=1)
    except ImportError:
        print("decord is not installed: it is not raced")
    seconds, given = alternate(calls, rounds)
    assert given["healthfm"] == given["pyav"], "the frames differ"
    each = {name: round(1000 * one / len(when), 3) for name, one in seconds.items()}
    return {
        "moments": len(when),
        "milliseconds a frame": each,
        "ratio": {name: round(one / each["healthfm"], 2) for name, one in each.items() if name != "healthfm"},
    }


CASES = {"dicom": dicom_case, "table": table_case, "zip": zip_case, "video": video_case}


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reference:
        sys.path.append(str(arguments.reference))
    if arguments.one:
        print(json.dumps((table_pass if arguments.one[0] == "table" else decode_pass)(Path(arguments.one[1]))))
        return
    result: dict[str, Any] = {"target": TARGETS, "scale": arguments.scale, "rounds": arguments.rounds}
    for name in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            result[name] = CASES[name](Path(folder), arguments.scale, arguments.rounds)
        print(name, json.dumps(result[name]), flush=True)
    output = arguments.output or (RESULT if arguments.scale == 1 and len(arguments.cases) == len(CASES) else None)
    if output:
        output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
