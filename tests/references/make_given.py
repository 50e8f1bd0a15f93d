"""Write ``tests/data/expected/given.json``: what the owners' code gives for masks and boxes (``given_cases``, ``array_cases.masks``).

google-deepmind's surface-distance 0.1 for surfaces by area; the lesion-wise script of BraTS 2023 (github.com/rachitsaluja/BraTS-2023-Metrics,
commit 43c905242b2eecf421d4ab2da7af8ece9777d322; two lines that pandas 3 cannot run are replaced, see ``brats``); pycocotools 2.0.11 for average
precision; ``computeFROC`` of LUNA16's ``noduleCADEvaluationLUNA16.py`` (the copy in github.com/uci-cbcl/NoduleNet, commit
364621c81e899ffaf2de512ba24d25969d8e15c3) for FROC. All of them are run here and never imported by the package.

    python -m tests.references.make_given --brats FOLDER --luna FOLDER
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.references import array_cases, given_cases

TARGET = Path(__file__).parents[1] / "data" / "expected" / "given.json"


def surfaces() -> dict[str, Any]:
    """deepmind's surface Dice at 1 and 2.5 units and robust Hausdorff distance at 95 %."""
    import surface_distance

    found = {}
    for name, reference, prediction, spacing in array_cases.masks():
        measured = surface_distance.compute_surface_distances(reference, prediction, spacing)
        near = [surface_distance.compute_surface_dice_at_tolerance(measured, limit) for limit in (1.0, 2.5)]
        found[name] = {
            "nsd": [float(one) for one in near],
            "hd95": float(surface_distance.compute_robust_hausdorff(measured, 95)),
        }
    return found


def brats(folder: Path) -> dict[str, Any]:
    """BraTS 2023's lesion-wise numbers by case, challenge and region."""
    import nibabel

    for name in [name for name in sys.modules if name.startswith("surface_distance")]:
        del sys.modules[name]  # the script has a copy of its own, of the same name
    sys.path.insert(0, str(folder))
    source = (folder / "metrics.py").read_text()
    source = source.replace(
        "metric_df = metric_df.replace(np.inf, 374)",
        "metric_df['hd95_lesionwise'] = metric_df['hd95_lesionwise'].replace(np.inf, 374)",
    )
    source = source.replace("final_lesionwise_metrics_df = final_lesionwise_metrics_df.append(metric_df)", "pass")
    space: dict[str, Any] = {}
    exec(source, space)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, reference, prediction in given_cases.brats():
            for file, grid in (("true", reference), ("given", prediction)):
                nibabel.Nifti1Image(grid, np.eye(4)).to_filename(f"{place}/{file}.nii.gz")
            for challenge in given_cases.CHALLENGES:
                table = space["get_LesionWiseResults"](
                    f"{place}/given.nii.gz", f"{place}/true.nii.gz", challenge
                ).set_index("Labels")
                found.setdefault(name, {})[challenge] = {
                    region: [float(table.loc[region, key]) for key in ("Num_TP", "Num_FN", "Num_FP", "LesionWise_Score_Dice", "LesionWise_Score_HD95")]
                    for region in given_cases.REGIONS
                }  # fmt: skip
    return found


def coco() -> list[dict[str, float]]:
    """pycocotools' average precision over ten overlaps, at 0.5, at 0.75, and each label's at 0.5."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = []
    for seed in range(4):
        rows = given_cases.pictures(seed)
        true: dict[str, Any] = {"images": [{"id": i} for i in range(len(rows))], "annotations": []}
        true["categories"] = [{"id": i} for i in range(len(given_cases.LABELS))]
        given = []
        for i, row in enumerate(rows):
            for one in row["target"]:
                box = _sides(one)
                true["annotations"].append(
                    {
                        **box,
                        "id": len(true["annotations"]) + 1,
                        "image_id": i,
                        "iscrowd": 0,
                        "area": box["bbox"][2] * box["bbox"][3],
                    }
                )
            given += [{**_sides(one), "image_id": i, "score": one["score"]} for one in row["prediction"]]
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = COCO()
            dataset.dataset = true
            dataset.createIndex()
            scored = COCOeval(dataset, dataset.loadRes(given), "bbox")
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
        each = {
            f"ap_50/{label}": float(scored.eval["precision"][0, :, i, 0, 2].mean())
            for i, label in enumerate(given_cases.LABELS)
        }
        found.append({**dict(zip(("ap_50_95", "ap_50", "ap_75"), map(float, scored.stats[:3]), strict=True)), **each})
    return found


def _sides(one: dict[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = one["corners"]
    return {"bbox": [left, top, right - left, bottom - top], "category_id": given_cases.LABELS.index(one["label"])}


def froc(folder: Path) -> list[dict[str, list[float]]]:
    """Sensitivity at LUNA16's rates by its own curve, each label alone, a box meeting a true one from IoU 0.5 on."""
    import sklearn.metrics

    tree = ast.parse((folder / "evaluationScript/noduleCADEvaluationLUNA16.py").read_text())
    [function] = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "computeFROC"]
    space: dict[str, Any] = {"skl_metrics": sklearn.metrics, "np": np}
    exec(compile(ast.Module([function], []), "LUNA16", "exec"), space)
    return [{label: _of_luna16(space["computeFROC"], seed, label) for label in given_cases.LABELS} for seed in range(4)]


def _of_luna16(curve: Any, seed: int, label: str) -> list[float]:
    rows = given_cases.pictures(seed)
    truth, scores, excluded = [], [], []
    for row in rows:
        true = [one["corners"] for one in row["target"] if one["label"] == label]
        given = [one for one in row["prediction"] if one["label"] == label]
        meets = np.array([[_iou(one["corners"], other) >= 0.5 for other in true] for one in given], bool).reshape(
            len(given), len(true)
        )
        for j in range(len(true)):
            met = [one["score"] for one, hit in zip(given, meets[:, j], strict=True) if hit]
            truth, scores, excluded = [*truth, 1.0], [*scores, max(met, default=-1e10)], [*excluded, not met]
        for one, hits in zip(given, meets, strict=True):
            if not hits.any():
                truth, scores, excluded = [*truth, 0.0], [*scores, one["score"]], [*excluded, False]
    false, found, _ = curve(truth, scores, len(rows), excluded)
    return [float(np.interp(rate, false, found)) for rate in given_cases.RATES]


def _iou(one: list[float], other: list[float]) -> float:
    wide, tall = (max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * tall / (sum(areas) - wide * tall)


def main() -> None:
    """Run the references and write what they print."""
    np.Inf = np.inf  # the name that they use and numpy 2 has not
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brats", type=Path, required=True)
    parser.add_argument("--luna", type=Path, required=True)
    arguments = parser.parse_args()
    found = {"surfaces": surfaces(), "brats": brats(arguments.brats), "coco": coco(), "froc": froc(arguments.luna)}
    TARGET.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
