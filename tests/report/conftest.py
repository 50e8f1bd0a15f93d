"""Pages on disk that the tests of reports share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import compare, evaluate_predictions
from healthfm.report.comparison import write
from healthfm.report.embedding import write as write_map
from healthfm.report.leaderboard import write as write_board
from healthfm.report.page import render
from healthfm.score.leaderboard import leaderboard
from tests.evaluate.studies import answers, put
from tests.report.made import KINDS, by_hand, documents, embedded, facts, image_run, of_kind, of_probe, table


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a table of predictions, of a full run folder, of one with long names, of every kind of table, of a comparison, of a leaderboard."""
    root = tmp_path_factory.mktemp("pages")
    rows = table(**{"subgroup.site": ["north"] * 50 + ["south"] * 10, "patient": [str(i // 2) for i in range(60)]})
    wide = tuple(f"class-{'x' * 20}-{i}" for i in range(9))
    long = table(60, wide, **{"subgroup.a-long-name-of-a-subgroup": [f"group {'y' * 90}"] * 30 + ["z"] * 30})
    long["id"] = [f"{'record' * 14}-{i}" for i in range(60)]
    crowded = by_hand(
        root / "crowded", long, classes=list(wide), majority=None, notices=["notice " + "z" * 200],
        dataset="a-data-set-whose-name-never-ends-" * 4,
    )  # fmt: skip
    found = {
        "table": evaluate_predictions(table(), "yes-no-maybe", output=root / "table").report(),
        "full": by_hand(root / "full", rows).report(), "crowded": crowded.report(),
    }  # fmt: skip
    found["probe"] = of_probe(root / "probe").report()
    found["clinical"] = of_kind("binary", output=root / "clinical").report(threshold=0.3, prevalence=0.02)
    (root / "shown").mkdir()
    found["pictures"] = root / "pictures.html"
    found["pictures"].write_text(render(image_run(root / "shown"), show_inputs=True))
    items = documents(60)
    places = np.random.default_rng(0).normal(size=(60, 5))
    found["map"] = write_map(embedded(root / "map", places, [one.id for one in items]), items)
    made = {kind: of_kind(kind, output=root / kind) for kind in KINDS}
    found |= {kind: run.report() for kind, run in made.items()}
    worse = table(**{key: rows[key] for key in ("subgroup.site", "patient")})
    worse["prediction"] = ["maybe" if i % 3 else one for i, one in enumerate(worse["prediction"])]
    del worse["options"], worse["probabilities"]
    two = [
        evaluate_predictions(one, "yes-no-maybe", name=name)
        for one, name in ((rows, "first model"), (worse, "a second model " * 5))
    ]
    found["comparison"] = write(compare(two), root / "compare.html")
    runs = root / "runs"
    for i, name in enumerate(("first-model", "a second model " * 4, "third")):
        for j, data in enumerate(("heart@p", "lung", "a-data-set-of-a-long-name-" * 3)):
            put(
                runs,
                name,
                data,
                answers((0.9, 0.88, 0.5)[i], 60, 10 * i + j),
                lineage=facts()["lineage"] if i + j == 1 else None,
            )
    put(runs, "less", "lung", answers(0.9, 20, 3))
    found["leaderboard"] = write_board(leaderboard(runs, paired=True), runs)
    return found
