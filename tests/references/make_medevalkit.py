"""Run MedEvalKit's own metric code on ``medevalkit_cases`` and store what it gives.

    python -m tests.references.make_medevalkit FOLDER > tests/data/expected/medevalkit.json

FOLDER is a checkout of ``SOURCE``. The packages rouge 1.0.1 and mathruler 0.1.0, which its metrics use, must be installed
beside the project's own; the clients of remote judges are replaced by one that says the verdicts of the cases.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import datasets  # noqa: F401  (loaded before any stand-in, so that it sees none)

from tests.references.medevalkit_cases import OTHER, PLAIN, REFUSALS, VISUAL, YES_NO, letters, questions

SOURCE = "github.com/alibaba-damo-academy/MedEvalKit@9b12e3b34232a8779cc1275417bf4f72f03d28e0"
SETS = ("VQA_RAD", "PATH_VQA", "SLAKE")  # each has its own copy of ``cal_metrics``
SAYS = {
    True: "<judge>0</judge>",
    False: "<judge>1</judge>",
    None: None,
}  # theirs: 0 is correct, None a call that failed


def own(folder: Path, *names: str) -> list[ModuleType]:
    """Load modules of MedEvalKit's ``utils`` alone; the package's own start would load every data set's."""
    package = ModuleType("medevalkit")
    package.__path__ = [str(folder / "utils")]
    clients = {name: mock.MagicMock() for name in ("google", "google.genai", "openai", "tenacity", "tqdm.asyncio")}
    silent = SimpleNamespace(tqdm=lambda rows, **_: rows, asyncio=clients["tqdm.asyncio"])
    found = {"medevalkit": package, "tqdm": silent, **clients}
    with mock.patch.dict(sys.modules, found), mock.patch.dict("os.environ", {"api_key": "none"}):
        return [importlib.import_module(f"medevalkit.{name}") for name in names]


def verdicts(messages: list[Any]) -> list[str | None]:
    """Say of each question, whose text is its number, what its case says."""
    asked = [re.search(r"The question is: (\d+)", one[0]["content"]) for one in messages]
    return [SAYS[VISUAL[int(one.group(1))][2]] for one in asked if one]


def visual(module: ModuleType, judge: bool) -> dict[str, Any]:
    """Return a data set's metrics of the cases, each answer with every column that one of the data sets asks for."""
    rows = [
        {"question": str(i), "answer": answer, "response": written, "lang": "en", "answer_type": "CLOSED" if answer in ("yes", "no") else "OPEN"}
        for i, (answer, written, _) in enumerate(VISUAL)
    ]  # fmt: skip
    module.judger = SimpleNamespace(generate_outputs=verdicts)  # type: ignore[attr-defined]
    with mock.patch.dict("os.environ", {"use_llm_judge": str(judge)}):
        metrics, _ = getattr(module, module.__name__.rpartition(".")[2])(None, None, None).cal_metrics(rows)
    return dict(metrics)


def multiple_choice(module: ModuleType, written: list[str]) -> dict[str, Any]:
    """Return the metrics of answers to MedQA's questions, and which it takes for right."""
    rows = [
        {"response": text, "answer": one.answer, "choices": [f"{key}. {option}" for key, option in one.options.items()]}
        for text, one in zip(written, questions(), strict=True)
    ]
    metrics, judged = module.MedQA_USMLE(None, None, None).cal_metrics(rows)
    return {**metrics["total metrics"], "correct": "".join(str(int(row["correct"])) for row in judged)}


def main(folder: Path) -> dict[str, Any]:
    """Return everything that the tests hold ours against."""
    utils, medqa, *sets = own(folder, "utils", "MedQA_USMLE.MedQA_USMLE", *(f"{name}.{name}" for name in SETS))
    try:
        empty = utils.judge_open_end_vqa("liver", "")
    except Exception as error:
        empty = f"{type(error).__name__}: {error}"
    return {
        "source": SOURCE,
        "open": [{**utils.judge_open_end_vqa(*pair), "calculate_f1": utils.calculate_f1(*pair[::-1])} for pair in (*PLAIN, *OTHER)],
        "open, nothing written": empty,
        "yes or no": [utils.judge_judgement(*pair) for pair in YES_NO],
        "medqa": multiple_choice(medqa, letters(questions())),
        "medqa refusals": {text: multiple_choice(medqa, [text] * len(questions()))["acc"] for text in REFUSALS},
        "visual": {name: {"rules": visual(one, False), "judge": visual(one, True)} for name, one in zip(SETS, sets, strict=True)},
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=1))
