"""A run's facts in plain words, the same on the command line and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from healthfm.cards.lineage import web_sentence
from healthfm.formats import notices as said_notices
from healthfm.formats.dicom import pixel_shape
from healthfm.records import USUAL
from healthfm.score import baselines, robustness
from healthfm.score.result import Result, not_the_row
from healthfm.score.statistics.subgroups import apart
from healthfm.score.tasks import TASKS
from healthfm.score.written import finishes, judged
from healthfm.spelling import counted, several

SAME = 0.95  # the share of rows with one answer from which that is said
CALLERS = "the caller's"  # where and in which precision code of the user's own computes is not known
FEW_ANSWERS = 10  # rows under which one answer to all says little
RIVALS = {
    "dictionary": "looking up the training split's mentions, word for word,", "bm25": "BM25, which knows shared words alone,",
}  # fmt: skip
HEADLINE_RULES = (
    "ranked by lot",
    "worst cases",
    "not scored",
    "left out",
    "resampled by",
    "no file was given",
    "NSD is not given",
    "positive class",
    "what counts in an answer",
    "letters of scripts without blanks",
)
ENDS = {  # a server's words, and what they mean
    "length": "cut off at the longest answer (length)", "content_filter": "held back or cut by the server's filter (content_filter)",
    "refusal": "a refusal", "tool_calls": "a call of a tool in place of an answer (tool_calls)", "reasoning only": "thoughts without an answer",
    "no message": "no message", "no choice": "no choice in the reply",
}  # fmt: skip


def concerning(run: Result) -> list[dict[str, Any]]:
    """Return the lineage paths that can concern the evaluated split."""
    split = run.facts["request"].get("split")
    return [
        one for one in run.facts.get("lineage", {}).get("overlaps", []) if not one["splits"] or split in one["splits"]
    ]


def contamination_line(run: Result) -> str:
    """Say in one sentence what the cards know of the model having seen the data."""
    lineage = run.facts.get("lineage")
    if not lineage or not lineage["asked"]:
        return "contamination: not asked, the model or the data has no card in the catalogue (lineage unknown)"
    found, crawls = concerning(run), lineage.get("crawls", [])
    if found:
        said = f"{found[0]['meaning']}: {' > '.join(found[0]['path'])} ({_paths(len(found))} in all)"
    else:
        others = f" (other splits: {_paths(len(lineage['overlaps']))})" if lineage["overlaps"] else ""
        said = f"the cards show no way by which this split reached the model{others}"
    if crawls:
        said += f"; {web_sentence(crawls)}"
    elif not found:
        said += "; that is not proof that none exists"
    return f"contamination: {said}"


def _paths(n: int) -> str:
    return f"{n} path{'s' * (n != 1)}"


def environment(run: Result) -> dict[str, Any]:
    """Return what the run says of the model as it was last run (weights, dtype, device); empty for predictions made elsewhere.

    Where a judge looked at the answers, what ran last may have been the judge: the model is what ran first.
    """
    found = run.facts.get("environments", [])
    return dict(found[0 if run.facts["request"].get("judge") else -1]["model"]) if found else {}


def judge_sentence(found: Mapping[str, Any]) -> str:
    """Say how far a judge's verdicts can be trusted, from what ``judge.findings`` found."""
    same = found.get("agreement")
    if same and same["n"]:
        return f"A language model judged the answers. Where people judged the same ones ({same['n']:,}), it agreed for {same['raw']:.0%}."
    return "A language model judged the answers, and nobody held its verdicts against people's: how far they can be trusted is not known."


def noun(run: Result) -> str:
    """Return what one sample of a run is called: a question, a slide (or what else is a bag), a sample, or a row of a table made elsewhere."""
    request = run.facts["request"]
    if "noun" in run.facts:
        return str(run.facts["noun"])
    if "spearman" in run.predictions.column_names:  # a row an assay
        return "assay"
    noun = TASKS[request["task"]].noun
    return "row" if noun == "sample" and "split" not in request else noun


def carved(run: Result) -> int:
    """Return how many samples of the evaluated split were used for fitting: none, unless a probe was carved out of it."""
    request = run.facts["request"]
    return int(request["fitted_on"]) if request.get("fit_on") and request["fit_on"] == request.get("split") else 0


def of_split(run: Result, n: int) -> str:
    """Say how many samples of the split ``n`` are, and what became of the others where some were fitted on."""
    if others := carved(run):
        return f"{n} of {n + others} {several(noun(run))} of the split (the others were used for fitting)"
    return f"the {n} {several(noun(run))} of the split"


def headline_notes(run: Result) -> list[str]:
    """Return what a reader must know beside the headline: baseline, sample, precision, quantisation, notices."""
    request, scores = run.facts["request"], run.scores
    notes = [f"another model? {one}" for one in not_the_row(run.facts)]
    if majority := scores.get("majority"):
        whole = (
            of_split(run, majority["n"])
            if run.facts.get("majority")
            else f"these {majority['n']} rows"
            if majority["n"] != 1
            else "this row"
        )
        notes.append(f"baseline: always '{majority['class']}' is right for {majority['accuracy']:.1%} of {whole}")
    notes += baselines.says(scores["baselines"]) if scores.get("baselines") else []
    compared = (scores.get("baselines") or {}).get("strongest") is not None
    for name, values in ({} if compared else scores.get("rivals", {})).items():
        notes += [
            f"cheap rival: {RIVALS.get(name, name)} reaches {metric.replace('_', '-')} {value:.3f}"
            for metric, value in values.items()
        ]
    notes += [rule for rule in scores.get("rules", []) if rule.startswith(HEADLINE_RULES)]
    notes += _one_answer(run)
    notes += [f"words: {one}" for one in (scores.get("prompts") or {"says": ()})["says"]]
    notes += [f"labels: {one}" for one in (scores.get("few_labels") or {"says": ()})["says"]]
    fitted = run.facts.get("fitted", {})
    notes += [robustness.says(fitted["robustness"])] if "robustness" in fitted else []
    if scib := fitted.get("integration"):
        each = ", ".join(f"{name} {value:.3f}" for name, value in scib.items() if name not in ("version", "cells"))
        notes.append(f"scIB's metrics of {scib['cells']:,} cells (scib-metrics {scib['version']}, not scaled): {each}")
    if over := fitted.get("accuracy_over_draws"):
        notes.append(
            f"few-shot: fitted on {fitted['fitted_on']} examples, {fitted['shots_per_class']} a class, drawn {fitted['draws']} times; numbers with intervals are "
            f"means over the draws, of which 95 % have an accuracy between {over['low']:.3f} and {over['high']:.3f}. Confusion, calibration, curves and "
            "rows are those of the draw nearest to the mean"
        )
    notes += _random(run)
    if request.get("limit") and scores["n"] < run.facts.get("split_records", 0):
        notes.append(
            f"sample: {scores['n']} of {run.facts['split_records']} {several(noun(run))}, drawn with seed {request['seed']}"
        )
    if model := environment(run):
        dtype, device = model.get("dtype"), model.get("device")
        where = "" if dtype == device == CALLERS else f", {dtype} on {device}"  # code of the caller's says neither
        notes.append(f"model: {model.get('weights')}{where}")
    if usage := run.facts.get("usage"):
        notes.append(
            f"endpoint: {usage['requests']} requests, {usage['prompt_tokens']} tokens read and {usage['completion_tokens']} written"
        )
    if len(run.facts.get("environments", [])) > 1 + bool(request.get("judge")):
        notes.append("resumed under other versions or hardware: see the provenance section")
    if blank := fitted.get("blank"):
        notes.append(
            f"all black or all white as shown (see the window): {', '.join(blank[:5])}{', ...' if len(blank) > 5 else ''} ({len(blank)} in all)"
        )
    if damaged := fitted.get("damaged"):
        some = ", ".join(f"{name} ({count})" for name, count in list(damaged.items())[:5]) + (
            ", ..." if len(damaged) > 5 else ""
        )
        notes.append(f"damaged tiles, left out of their slides: {some}")
    if slides := fitted.get("slides"):
        notes.append(
            "; ".join(f"{name}: {text}" for name, text in list(slides.items())[:5])
            + ("; ..." if len(slides) > 5 else "")
        )
    if squared := fitted.get("squared"):
        notes.append(pixel_shape.told(squared))
    notes += [said_notices.counted(notice, ids) for notice, ids in fitted.get("said", {}).items()]
    if cut := fitted.get("cut"):
        notes.append(f"longer than the model reads: of {cut} texts the end is not in their vectors")
    if empty := fitted.get("empty"):
        notes.append(
            f"without a picture: {'; '.join(sorted(one['id'] + ' (' + one['problem'] + ')' for one in empty))}. To fit on, such a {noun(run)} is "
            "left out; evaluated, it counts as wrong"
        )
    if scores["unanswered"]:
        one, more = (
            ("is left out", "are left out")
            if scores.get("kind") == "numbers"
            else ("counts as wrong", "count as wrong")
        )
        what = counted(scores["unanswered"], f"prediction is missing and {one}", f"predictions are missing and {more}")
        notes.append(f"unanswered: {what}")
    notes += _ends(run)
    if found := judged(run.predictions):
        notes.append(f"judge: {judge_sentence(found)}")
    every = [*run.facts.get("notices", []), *model.get("notices", [])]
    if TASKS[request["task"]].verb == "generate":
        every += model.get("generation_notices", [])
    return notes + [f"notice: {one}" for one in every]


def weights_of(run: Result) -> str:
    """Return what the run says of its weights, as they were loaded or as they were asked for."""
    return str(environment(run).get("weights") or run.facts["request"].get("weights"))


def _random(run: Result) -> list[str]:
    """Say where weights were drawn at random: then no number speaks of the model."""
    said = "random weights: a dry run of the road, whose numbers say nothing of the model"
    return [said] if weights_of(run).startswith("random") else []


def _one_answer(run: Result) -> list[str]:
    """Say where nearly every row got the same answer, though the targets are several."""
    table = run.predictions
    if run.scores.get("kind") not in ("classes", "ordinal") or table.num_rows < FEW_ANSWERS:
        return []
    given = Counter(one for one in table["prediction"].to_pylist() if one is not None)
    targets = Counter(table["target"].to_pylist())
    if (
        not given
        or given.most_common(1)[0][1] < SAME * table.num_rows
        or targets.most_common(1)[0][1] >= SAME * table.num_rows
    ):
        return []
    answer, count = given.most_common(1)[0]
    return [
        f"one answer: {count} of {table.num_rows} {several(noun(run))} got '{answer}', which is right for {targets.get(answer, 0)}; the model hardly tells them "
        "apart, or its answers are read wrongly"
    ]


def groups_apart(run: Result) -> list[str]:
    """Return a sentence for each grouping in which a group surely does worse than the rest, by the headline or a metric beside it."""
    found = []
    for column, groups in run.scores.get("subgroups", {}).items():
        names = dict.fromkeys(metric for one in groups for metric in (one["metric"], *one.get("beside", {})))
        worst = [said for name in names if (said := _worst(name, groups)) is not None]
        if worst:
            found.append(f"It is not the same for everyone, by {column}: {'; '.join(worst)}.")
    return found


def _worst(name: str, groups: Sequence[Mapping[str, Any]]) -> str | None:
    """Say in which group a metric is surely worse than in the rest, and worst; None where it is in none."""
    cells = [(one["group"], one if one["metric"] == name else one["beside"][name], one["too_few"]) for one in groups]
    worse = [
        (cell["gap"] * (-1 if cell["lower_is_better"] else 1), group, cell) for group, cell, few in cells if apart({**cell, "too_few": few})
    ]  # fmt: skip
    gap, group, cell = min(worse, key=lambda one: one[:2], default=(0.0, "", {}))
    if gap >= 0:
        return None
    ends = f"95 % interval {cell['gap_low']:+.3f} to {cell['gap_high']:+.3f}"
    return f"{name.replace('_', '-')} in {group} is {cell['value']:.3f}, {cell['gap']:+.3f} from the rest ({ends})"


def _ends(run: Result) -> list[str]:
    """Say how many answers, and how many of a judge's verdicts, ended in another way than the model's own."""
    notes = []
    for column, what in (("finish_reason", "answers"), ("judge_finish_reason", "the judge's replies")):
        counts = finishes(run.predictions, column)
        unusual = {name: n for name, n in counts.items() if name not in USUAL}
        if unusual:
            said = ", ".join(f"{n} {ENDS.get(name, name)}" for name, n in unusual.items())
            notes.append(f"how {what} ended: {said} (of {sum(counts.values())} that say so)")
    return notes


def without_interval(run: Result) -> list[str]:
    """Return a sentence that names the metrics without an interval and says why; [] where all have one."""
    bare = [name.replace("_", "-") for name, one in run.metrics.items() if one["low"] is None]
    if not bare:
        return []
    return [
        f"No interval is given of {', '.join(bare)}: every resample of these rows gives the same value, or nearly every one, which is no proof of certainty."
    ]
