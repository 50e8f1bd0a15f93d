"""Run seqeval, trec_eval and the SQuAD 2.0 script on ``found_cases`` and store what they give.

    python -m tests.references.make_found SQUAD > tests/data/expected/found.json

SQUAD is the path of ``squad_utils.py`` of github.com/mingzhu0527/MASHQA@86e0a7d7 (the SQuAD 2.0 script, as MASH-QA's owners use it), or of the script
itself. Needs seqeval 1.2.2 and pytrec_eval-terrier 0.5.11.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.references.found_cases import ANSWERS, SCHEMES, rankings, tags


def sequences() -> dict[str, Any]:
    """Return precision, recall and F1 of each scheme's tags by seqeval's default and by its strict mode."""
    from seqeval import scheme as schemes
    from seqeval.metrics import classification_report

    warnings.filterwarnings("ignore")
    found = {}
    for name in SCHEMES:
        true, given = tags(name)
        lenient = classification_report(true, given, output_dict=True)
        strict = classification_report(true, given, output_dict=True, mode="strict", scheme=getattr(schemes, name))
        found[name] = {
            mode: {of: {k: float(v) for k, v in one.items()} for of, one in report.items()}
            for mode, report in (("lenient", lenient), ("strict", strict))
        }
    return found


def ranks() -> dict[str, float]:
    """Return trec_eval's means over the queries."""
    import pytrec_eval

    cases = rankings()
    truth = {f"q{i}": {f"d{j}": one for j, one in enumerate(relevance)} for i, (relevance, _) in enumerate(cases)}
    run = {f"q{i}": {f"d{j}": one for j, one in enumerate(scores)} for i, (_, scores) in enumerate(cases)}
    measures = {"map", "recip_rank", "P_1", "recall_5", "ndcg_cut_10"}
    per_query = pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run)
    return {name: sum(one[name] for one in per_query.values()) / len(per_query) for name in sorted(measures)}


def answers(path: Path) -> dict[str, Any]:
    """Return the SQuAD 2.0 script's exact match and F1 of each answer."""
    script = own(path)
    asked = [{"id": str(i), "answers": [{"text": one} for one in accepted]} for i, (accepted, _) in enumerate(ANSWERS)]
    exact, f1 = script.get_raw_scores(
        [{"paragraphs": [{"qas": asked}]}], {str(i): written for i, (_, written) in enumerate(ANSWERS)}
    )
    return {"exact": [float(exact[one["id"]]) for one in asked], "f1": [float(f1[one["id"]]) for one in asked]}


def own(path: Path) -> ModuleType:
    """Load one script."""
    spec = importlib.util.spec_from_file_location("squad", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    print(json.dumps({"tags": sequences(), "ranks": ranks(), "answers": answers(Path(sys.argv[1]))}, indent=1))
