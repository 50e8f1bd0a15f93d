"""Robustness indices by the owners' code: github.com/bifold-pathomics/PathoROB@46594e9, pathorob/robustness_index (needs pandas and matplotlib).

python tests/references/make_pathorob.py FOLDER_OF_THE_REPOSITORY > tests/data/expected/pathorob.json
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelEncoder, Normalizer

CASES = {  # how far class and site move the vectors, samples of a slide, slides of a class at a site, dimensions
    "biology": (2.0, 0.3, 5, 4, 16), "site": (0.3, 2.0, 5, 4, 16), "both": (1.0, 1.0, 3, 6, 8), "neither": (0.0, 0.0, 4, 5, 8), "alone": (1.0, 0.5, 1, 12, 4),
}  # fmt: skip
CLASSES, SITES = ("normal", "tumour", "stroma"), ("north", "south", "west")


def made(name: str) -> tuple[Any, list[str], list[str], list[str]]:
    """Return the vectors of a case, with the class, the site and the slide of each."""
    biology, place, each, slides, size = CASES[name]
    rng = np.random.default_rng(list(CASES).index(name))
    of_class, of_site = rng.normal(size=(len(CLASSES), size)) * biology, rng.normal(size=(len(SITES), size)) * place
    vectors, classes, sites, groups = [], [], [], []
    for c, kind in enumerate(CLASSES):
        for s, site in enumerate(SITES):
            for slide in range(slides):
                own = rng.normal(size=size) * 0.5
                for _ in range(each):
                    vectors.append(of_class[c] + of_site[s] + own + rng.normal(size=size))
                    classes.append(kind)
                    sites.append(site)
                    groups.append(f"{kind}-{site}-{slide}")
    return np.array(vectors), classes, sites, groups


def owners(name: str) -> dict[str, Any]:
    """Return what the owners' functions find: the index at every k, and the k that predicts the class best."""
    import pandas as pd
    from pathorob.robustness_index import robustness_index_utils as theirs

    vectors, classes, sites, groups = made(name)
    meta = pd.DataFrame(
        {"biological_class": classes, "medical_center": sites, "slide_id": groups, "patch_index": range(len(classes))}
    )
    x, y = Normalizer(norm="l2").fit_transform(vectors), LabelEncoder().fit_transform(classes)
    values = [int(k) for k in theirs.get_k_values("camelyon", False) if k <= len(x)]
    _, _, distances, near, _ = theirs.evaluate_knn_accuracy(meta, "camelyon", x, x, y, y, values[-1], 1)
    values = [k for k in values if k <= near.shape[1]]
    accuracies = [theirs.evaluate_knn_accuracy(meta, "camelyon", x, x, y, y, k, 1, distances, near)[0] for k in values]
    found = theirs.evaluate_embeddings("camelyon", meta, near)
    for key in ("prediction_log_reg_AUC", "OOD_prediction_log_reg_AUC", "confounder_log_reg_AUC"):
        found[key] = 0.0  # asked for by what follows, of no use to the index
    total = theirs.aggregate_stats([found], compute_bootstrapped_robustness_index=False)
    best = values[int(np.argmax(accuracies))]
    index = [float(one) for one in total["robustness_index"]]
    return {
        "k": best,
        "balanced_accuracy": float(max(accuracies)),
        "index": index[best - 1],
        "index_at": {str(k): index[k - 1] for k in values},
    }


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        results = {name: owners(name) for name in CASES}
    print(json.dumps(results, indent=1))
