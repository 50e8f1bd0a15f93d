"""One run as one self-contained HTML page."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from healthfm.datasets.dataset import open_dataset
from healthfm.errors import HealthfmError
from healthfm.evaluate.findings import concerning, contamination_line, headline_notes
from healthfm.evaluate.run import Run
from healthfm.records import digest
from healthfm.report import plots

ROWS_SHOWN = 2_000
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(run: Run, *, show_inputs: bool = False) -> str:
    """Return the page of a run.

    Questions are shown when the dataset's card lets anyone share its inputs, and of other data only when
    ``show_inputs`` asks for it: the page is then stamped.
    """
    facts, scores = run.facts, run.scores
    shareable = bool(facts.get("data", {}).get("shareable_inputs"))
    texts = _inputs(run) if shareable or show_inputs else {}
    table = run.predictions.slice(0, ROWS_SHOWN).to_pylist()
    baseline = scores["majority"]["accuracy"]
    page = _PAGES.get_template("page.html.j2").render(
        title=run.title, n=scores["n"], metrics=run.metrics, notes=headline_notes(run), request=facts["request"],
        protocol=facts.get("protocol"), interval_plot=plots.intervals(run.metrics, baseline),
        calibration=scores["calibration"], calibration_plot=plots.calibration(scores["calibration"]["bins"]) if scores["calibration"] else "",
        classes=scores["classes"], confusion=scores["confusion"], subgroups=scores["subgroups"],
        contamination=contamination_line(run), overlaps=concerning(run), other_splits=_others(run),
        rows=table, total=run.predictions.num_rows, texts=texts, stamped=bool(texts) and not shareable,
        limits=limits(run), facts=json.dumps({k: v for k, v in facts.items() if k != "lineage"}, indent=1, ensure_ascii=False),
    )  # fmt: skip
    return page


def _others(run: Run) -> int:
    return len(run.facts.get("lineage", {}).get("overlaps", [])) - len(concerning(run))


def _inputs(run: Run) -> dict[str, str]:
    """Return the questions by id, read again from the official files; nothing where they are gone or have changed."""
    facts, data = run.facts, run.facts.get("data", {})
    try:
        name = Path(data["path"]) if data.get("path") else facts["request"]["dataset"].partition("@")[0]
        opened = open_dataset(name, facts.get("root"), facts["request"]["split"], columns=data.get("columns"))
        asked = dict(zip(run.predictions["id"].to_pylist(), run.predictions["input"].to_pylist(), strict=True))
        return {one.id: getattr(one, "question", "") for one in opened if asked.get(one.id) == digest(one)}
    except (HealthfmError, KeyError):
        return {}


def limits(run: Run) -> list[str]:
    """Return what this run cannot say, from its facts."""
    facts, scores = run.facts, run.scores
    found = ["Research use only. This is not a medical device, and no number here speaks of a patient's care."]
    if scores["n"] < facts.get("split_records", scores["n"]):
        found.append(
            f"Only {scores['n']} of the split's {facts['split_records']} questions were asked: the intervals carry that."
        )
    accuracy = scores["metrics"]["accuracy"]
    if accuracy["low"] <= scores["majority"]["accuracy"] <= accuracy["high"]:
        found.append(
            "The accuracy's interval includes the majority baseline: this run does not show that the model knows more than the commonest answer."
        )
    elif accuracy["high"] < scores["majority"]["accuracy"]:
        found.append("The accuracy lies below the majority baseline.")
    if facts.get("protocol"):
        found.append(
            "One prompt was used. Published numbers of other prompts, shots or answer rules are not comparable with these."
        )
    for environment in facts.get("environments", [])[-1:]:
        if "dequantised" in str(environment["model"].get("weights")):
            found.append(
                f"The weights are {environment['model']['weights']}: the published full-precision weights can score otherwise."
            )
    if facts.get("lineage", {}).get("asked"):
        found.append(
            "The contamination finding rests on what the cards say of training data; most owners publish little of it."
        )
    return found
