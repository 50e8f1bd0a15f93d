"""Run the published scorers of MLQA and CMRC 2018 on ``span_answers`` and store what they give.

    python -m tests.references.make_span_scores FOLDER > tests/data/expected/span_scores.json

FOLDER holds ``mlqa_evaluation_v1.py`` and ``cmrc2018_evaluate.py`` of ``SOURCES``; the latter needs nltk, which rouge-score brings.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.references.span_answers import CASES, CHINESE

SOURCES = {
    "mlqa_evaluation_v1.py": "github.com/facebookresearch/MLQA@24bf470b2e68f2bfb93b2fd31c370bb8ee18d9ed",
    "cmrc2018_evaluate.py": "github.com/ymcui/cmrc2018@c0eb1b6ba219847457e6af3180da722bbeb656af, folder baseline",
}


def own(folder: Path, name: str) -> ModuleType:
    """Load one script."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), folder / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder: Path) -> dict[str, Any]:
    """Return exact match and F1 of each case: MLQA's of all, CMRC's of the Chinese ones."""
    mlqa, cmrc = (own(folder, name) for name in SOURCES)
    return {
        "sources": SOURCES,
        "mlqa": [
            [float(mlqa.exact_match_score(written, answer, lang)), float(mlqa.f1_score(written, answer, lang))] for lang, answer, written in CASES
        ],
        "cmrc": [
            [float(cmrc.calc_em_score([answer], written)), float(cmrc.calc_f1_score([answer], written))] for answer, written in CHINESE
        ],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=1))
