"""What embedding a slide costs beside its tiles: going on after being killed, and memory against the size of the slide.

A synthetic slide is embedded once without a stop, and once by processes that kill themselves (SIGKILL) whenever another tenth of the
tiles is done, each going on where the last one was cut. Processor seconds of whole processes are compared. What the cut run costs more
is told apart: tiles that were made twice (a kill costs at most the part being made and what is in flight), starting Python and loading the
model again, and the rest: compiling, finding tissue again, reading what is there. Weights are random, so that nothing is found in a
shared store. Then the peak memory of a process that embeds a whole slide, for two sizes, with a small network.

    python benchmarks/embed_slides.py --size 20480 --model S
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from memory import peak_mib
from synthetic_slide import make

MODELS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 96, "depth": 2, "num_heads": 3},
    "S": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "B": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "L": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}
PIECES = 10
LEAST = 192  # tiles of a piece: a part of 128 must come to its end in it, or nothing is ever kept
TARGET = 0.02
MEMORY_SIZES = (5120, 20480)


def child(slide: Path, output: Path, model: str, stop: int | None) -> None:
    """Embed a slide; with ``stop``, until so many tiles are done. Print processor seconds of the start, tiles done, peak memory."""
    import healthfm as hfm
    from healthfm.embed.run import embed

    network = hfm.load_model("uni", "random", config=MODELS[model], device="cpu")
    started, told = time.process_time(), 0

    def hear(done: int, _: int) -> None:
        nonlocal told
        told = done
        if stop is not None and done >= stop:
            print(json.dumps({"start": started, "tiles": done}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    embed(network, [slide], output, progress=hear)
    print(json.dumps({"start": started, "tiles": told, "peak_mib": peak_mib()}), flush=True)


def run(slide: Path, output: Path, model: str, stop: int | None = None) -> dict[str, Any]:
    """Return what a child printed, with its processor seconds and whether it came to its end."""
    command = [sys.executable, __file__, "--child", str(slide), str(output), model, str(stop or 0)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "HEALTHFM_HOME": f"{output}-home"}
    )
    assert process.stdout is not None
    said = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if not said or status not in (0, signal.SIGKILL):
        raise SystemExit(f"a run of {slide.name} failed")
    return {**json.loads(said[-1]), "cpu": usage.ru_utime + usage.ru_stime, "finished": status == 0}


def resuming(slide: Path, room: Path, model: str) -> dict[str, Any]:
    """Return what being cut in pieces costs, as shares of the run that was not."""
    whole = run(slide, room / "whole", model)
    pieces: list[dict[str, Any]] = []
    piece = max(whole["tiles"] // PIECES, LEAST)
    while not pieces or not pieces[-1]["finished"]:
        pieces.append(run(slide, room / "cut", model, piece))
    same = [[path.read_bytes() for path in sorted((room / name / "embeddings").iterdir())] for name in ("whole", "cut")]
    assert same[0] == same[1], "the cut run has other bytes"
    again = run(slide, room / "whole", model)
    work = whole["cpu"] - whole["start"]
    twice = sum(one["tiles"] for one in pieces) - whole["tiles"]
    more = {
        "made twice": twice * work / whole["tiles"],
        "python and loading": sum(one["start"] for one in pieces) - whole["start"],
    }  # fmt: skip
    every = sum(one["cpu"] for one in pieces) - whole["cpu"]
    more["rest"] = every - sum(more.values())
    return {
        "tiles": whole["tiles"], "processes": len(pieces), "tiles_made_twice": twice,
        "cpu_seconds": {"whole": round(whole["cpu"], 1), "cut": round(whole["cpu"] + every, 1), "finished folder again": round(again["cpu"], 1)},
        "more": round(every / whole["cpu"], 4), "target": TARGET,
        "more_by": {name: round(seconds / whole["cpu"], 4) for name, seconds in more.items()},
        "more_a_kill": round(every / whole["cpu"] / max(1, len(pieces) - 1), 4),
    }  # fmt: skip


def main() -> None:
    """Measure both and store the result."""
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]) or None)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20480, help="pixels a side of the slide that is cut in pieces")
    parser.add_argument("--model", default="S", choices=list(MODELS))
    parser.add_argument("--memory-sizes", type=int, nargs="*", default=MEMORY_SIZES)
    parser.add_argument("--no-store", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        result: dict[str, Any] = {"slide": f"{arguments.size} px", "model": f"ViT-{arguments.model}, random weights"}
        result["resuming"] = resuming(make(room / "slide.svs", arguments.size), room, arguments.model)
        print(json.dumps(result["resuming"], indent=1), flush=True)
        peaks = {}
        for size in arguments.memory_sizes:
            found = run(make(room / f"{size}.svs", size), room / f"memory-{size}", "tiny")
            peaks[str(size)] = {"tiles": found["tiles"], "peak_mib": found["peak_mib"]}
        result["peak_memory"] = peaks
        print(json.dumps(peaks, indent=1))
    if not arguments.no_store:
        (Path(__file__).parent / "results" / "embed_slides.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
