"""Run the published extractors of answers on ``answers_table`` and store what they read.

    python -m tests.references.make_answers_table MEDEVALKIT MIRAGE > tests/data/expected/answers_200.json

MEDEVALKIT and MIRAGE are checkouts of ``SOURCES``; lm-evaluation-harness is the installed one, its patterns those of its own
task files. MedEvalKit needs the packages rouge 1.0.1 and mathruler 0.1.0 beside the project's own.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter

from tests.references.answers_table import answers, of_four
from tests.references.make_medevalkit import own

SOURCES = {
    "MedEvalKit": "github.com/alibaba-damo-academy/MedEvalKit@9b12e3b34232a8779cc1275417bf4f72f03d28e0 utils/utils.py judge_multi_choice",
    "MIRAGE": "github.com/Teddy-XiongGZ/MIRAGE@392943af99cd94cafd50a0de2e7fca24bbf65494 src/utils.py locate_answer",
    "lm-evaluation-harness": f"lm_eval {metadata.version('lm_eval')}",
}
TASKS = {
    "mmlu strict-match": ("mmlu/flan_cot_zeroshot/_mmlu_flan_cot_zeroshot_template_yaml", "strict-match"),
    "mmlu flexible-extract": ("mmlu/flan_cot_zeroshot/_mmlu_flan_cot_zeroshot_template_yaml", "flexible-extract"),
    "mmlu_pro custom-extract": ("mmlu_pro/_default_template_yaml", "custom-extract"),
}
Reader = Callable[[str, Mapping[str, str]], str | None]


class _Loader(yaml.SafeLoader):
    """Reads task files, whose tags name functions: those are not wanted."""


_Loader.add_multi_constructor("!", lambda *_: None)


def harness(file: str, name: str) -> Reader:
    """Return a filter of a task of lm-evaluation-harness, as its file declares it; what it extracts counts where it is one letter."""
    folder = Path(lm_eval.__file__).parent / "tasks"
    facts = yaml.load((folder / file).read_text(encoding="utf-8"), _Loader)
    declared = next(one for one in facts["filter_list"] if one["name"] == name)["filter"][0]
    kind = {"regex": RegexFilter, "multi_choice_regex": MultiChoiceRegexFilter}[declared.pop("function")]
    made = kind(**declared)

    def read(text: str, options: Mapping[str, str]) -> str | None:
        [[found]] = made.apply([[text]], [{"choices": list(options.values())}])
        letters = "".join(c for c in str(found) if c.isalnum()).upper()  # its exact_match ignores case and punctuation
        return letters if letters in options else None

    return read


def medevalkit(folder: Path) -> Reader:
    """Return MedEvalKit's judge as a reader: the letter that it takes a text to be right for, if it is one."""
    [utils] = own(folder, "utils")

    def read(text: str, options: Mapping[str, str]) -> str | None:
        choices = [f"{key}. {one}" for key, one in options.items()]
        right = [key for key in options if utils.judge_multi_choice(choices, key, text)]
        return right[0] if len(right) == 1 else None

    return read


def mirage(folder: Path) -> Reader:
    """Return MIRAGE's reader behind the marker that its evaluation cuts a text at."""
    spec = importlib.util.spec_from_file_location("mirage_utils", folder / "src/utils.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def read(text: str, options: Mapping[str, str]) -> str | None:
        found: str = module.locate_answer(text.split('"answer_choice": "')[-1].strip())
        return found if found in options else None

    return read


def main(kit: Path, benchmark: Path) -> dict[str, Any]:
    """Return what each extractor reads in the answers to questions with the options A to D, in their order."""
    rows = answers()
    readers = {
        **{f"lm-evaluation-harness, {name}": harness(*where) for name, where in TASKS.items()},
        "MedEvalKit": medevalkit(kit), "MIRAGE": mirage(benchmark),
    }  # fmt: skip
    return {
        "sources": SOURCES,
        "read": {
            name: [read(rows[i]["text"], rows[i]["options"]) for i in of_four(rows)] for name, read in readers.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2])), indent=1))
