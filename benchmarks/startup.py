"""How long the command line takes to start, against importing the two libraries it is made of.

Alternating runs of ``healthfm --help``, ``healthfm find slide`` and ``python -c 'import typer, rich.table'``; the ratio of medians
must be at most 1.5 and 3.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 21
HEALTHFM = str(Path(sys.executable).with_name("healthfm"))
COMMANDS = {
    "import typer, rich.table": [sys.executable, "-c", "import typer, rich.table"],
    "healthfm --help": [HEALTHFM, "--help"],
    "healthfm find slide": [HEALTHFM, "find", "slide"],
    "healthfm find": [HEALTHFM, "find"],
}


def main() -> None:
    """Run, print and store the ratios."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(ROUNDS + 1):
            for name, command in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run(
                    command, stdout=subprocess.DEVNULL, check=True, env={"HEALTHFM_HOME": home, "PATH": "/usr/bin:/bin"}
                )
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    base = medians["import typer, rich.table"]
    ratios = {name: round(value / base, 2) for name, value in medians.items()}
    result = {
        "rounds": ROUNDS,
        "base_seconds": round(base, 3),
        "ratio": ratios,
        "target": {"healthfm --help": 1.5, "healthfm find slide": 3},
    }
    (Path(__file__).parent / "results" / "startup.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
