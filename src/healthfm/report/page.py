"""One run as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from healthfm.report import assays, clinical, given, maps, plots, svg, words
from healthfm.report.contamination import section
from healthfm.report.looks import looks
from healthfm.report.outlines import outlines
from healthfm.report.samples import Input, confused, errors, inputs, listed
from healthfm.report.svg import Axis, bar, covering, scale
from healthfm.report.words import number, span, word
from healthfm.score import baselines, limits, sentences
from healthfm.score.result import Result, served_names
from healthfm.score.statistics.subgroups import apart
from healthfm.score.written import finishes, judged
from healthfm.spelling import counted

ROWS_SHOWN = 500
FOUND_SHOWN = 50  # texts of the data that a corpus holds
PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
PAGES.globals.update(
    {
        one.__name__: one
        for one in (
            words.word,
            words.number,
            words.span,
            words.big,
            words.big_span,
            words.chance,
            counted,
            words.listed,
            words.broken,
            words.renamed,
        )
    }
)
HIDDEN = (
    "Their inputs are not shown: the data are not known to be open (--show-inputs shows them, and stamps the page)."
)
NO_INPUT = Input()


def render(run: Result, *, show_inputs: bool = False) -> str:
    """Return the page of a run.

    Inputs, free answers and matched texts are shown when the dataset's card lets anyone share its inputs, and of other data
    only when ``show_inputs`` asks for it: the page is then stamped.
    """
    facts, scores = run.facts, run.scores
    private = not (run.may_show_inputs or show_inputs)
    worst, rows = errors(run, private), listed(run, ROWS_SHOWN, private)
    mixed = confused(run)
    pictured = {*(one.id for one in worst.samples), *(i for cell in mixed for i in cell.ids)}
    texts, why = ({}, HIDDEN) if private else inputs(run, {*pictured, *(one.id for one in rows.samples)}, pictured)
    bags, unseen = ([], "") if private else looks(run, worst.samples)
    outlined, gone = ([], HIDDEN if "given" in facts else "") if private else outlines(run)
    seen = section(run)
    told = bool(texts or bags or outlined) or scores["kind"] == "text" or any(one["found"] for one in seen["content"])
    context = {
        "title": run.title, "n": scores["n"], "request": facts["request"], "facts": facts, "protocol": facts.get("protocol"),
        "notes": [words.renamed(one) for one in sentences.headline_notes(run)], "limits": [words.renamed(one) for one in limits.limits(run)], "asked_for": asked_for(run),
        "confusion": scores["confusion"], "classes": scores["classes"], "rules": [_rule(one) for one in scores["rules"]],
        **_headline(run), **_metrics(run), **_classes(scores), **_confidence(scores), **_curves(scores), **_learning(scores), **_prompts(scores), **_few_labels(scores), **_subgroups(run), **clinical.context(scores.get("clinical")),
        **_scatter(run), "strip": assays.strip(scores), "maps": maps.drawn(run.path), "signs": svg.SIGNS, "contamination": seen, "snippets": not private, "most_found": FOUND_SHOWN,
        "other_splits": len(seen["lineage"]["overlaps"]) - len(seen["lineage"]["concerning"]), **_judge(run),
        "errors": worst, "samples": rows, "total": run.predictions.num_rows, "texts": texts,
        "private_text": private and scores["kind"] == "text", "hidden": why,
        "confused": [cell for cell in mixed if any(texts.get(i, NO_INPUT).picture for i in cell.ids)], "looks": bags, "looks_note": unseen, "outlined": outlined, "outlined_note": gone, **_cases(run),
        "stamped": show_inputs and not run.may_show_inputs and told, "provenance": provenance(run),
    }  # fmt: skip
    return PAGES.get_template("run.html.j2").render(**context, contents=_contents(context))


def provenance(run: Result) -> str:
    """Return everything a run wrote down of itself but the lineage, which stands in words, as JSON text."""
    return json.dumps(
        {k: v for k, v in run.facts.items() if k not in ("lineage", "judge_prompt")}, indent=1, ensure_ascii=False
    )


def asked_for(run: Result) -> list[tuple[str, str]]:
    """Return what was run and on what, as names and values."""
    request, facts, model = run.facts["request"], run.facts, sentences.environment(run)
    given = request.get("shots") and request.get("shots_from")  # of few-shot fits "fitted on" says it
    shots = f"{request['shots']} from {given}, {request.get('shots_order')}" if given else ""
    fitted = facts.get("fitted") or {}
    rows = [
        ("model", request["model"]), ("loaded as", model.get("loaded_as")), ("server's model", ", ".join(served_names(facts))), ("weights", model.get("weights") or request.get("weights")),
        ("number format", model.get("dtype")), ("data", request["dataset"]), ("split", request.get("split")),
        ("task", request["task"]), ("samples", _samples(run)),
        ("examples", shots), ("fitted on", _fitted(fitted)),
        ("window", "{} (black) to {} (white)".format(*request["window"]) if "window" in request else None),
        ("prompt", (facts.get("protocol") or {}).get("summary")), ("read by", (request.get("prompt") or {}).get("parser")),
        ("judge", (request.get("judge") or {}).get("model") or (request.get("judge") or {}).get("endpoint")),
        ("judge's server", (facts.get("judge_served") or {}).get("name")), ("answers ended by", _counts(run, "finish_reason")),
        ("verdicts ended by", _counts(run, "judge_finish_reason")), ("seed", request["seed"]),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _fitted(fitted: Mapping[str, Any]) -> str | None:
    if "fitted_on" not in fitted:
        return None
    often = f", {fitted['draws']} times on others" if fitted.get("draws") else ""
    return f"{fitted['fitted_on']} samples{often}, {fitted.get('probe', 'nearest neighbours')}"


def _counts(run: Result, column: str) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in finishes(run.predictions, column).items())


def _samples(run: Result) -> str:
    n, whole, others = run.scores["n"], run.facts.get("split_records"), sentences.carved(run)
    used = f" (the split's other {others:,} were used for fitting)" if others else ""
    return f"{n:,} of {whole:,}{used}" if whole else f"{n:,}"


def headline_sentences(run: Result) -> str:
    """Say the headline, and the baseline it has to beat, for somebody who does not read intervals."""
    name = run.scores["headline"]
    said = words.sentence(name, run.metrics[name], sentences.noun(run))
    if name != "accuracy":
        said = f"{word(name).label[:1].upper()}{word(name).label[1:]}: {word(name).meaning}. {said}"
    majority = run.scores.get("majority")
    if name == "accuracy" and majority:
        said += f" Always answering '{majority['class']}' would be right for {majority['accuracy']:.0%}."
    lowest = [f"{one[:1].upper()}{one[1:]}." for one in (run.scores.get("clinical") or {"worst": ()})["worst"]]
    beats = baselines.verdict(run.scores.get("baselines"))
    return " ".join([said, *lowest, *([beats] if beats else []), *sentences.groups_apart(run)])


def _headline(run: Result) -> dict[str, Any]:
    name = run.scores["headline"]
    baseline = (run.scores.get("majority") or {}).get("accuracy") if name == "accuracy" else None
    plot = plots.headline(name, run.metrics[name], baseline)
    return {
        "headline": name,
        "first": run.metrics[name],
        "headline_plot": plot,
        "sentence": headline_sentences(run),
        "baseline": baseline,
    }


def _metrics(run: Result) -> dict[str, Any]:
    """Return the metrics, headline first, the bars of those with a scale, and the names of metrics by their interval's method."""
    name = run.scores["headline"]
    metrics = {name: run.metrics[name], **run.metrics}
    scaled = {k: one for k, one in metrics.items() if word(k).best == 1 and word(k).worst in (0, -1)}
    lows = [one["value"] if one["low"] is None else one["low"] for one in scaled.values()]
    axis = Axis("", min([0.0, *lows]), 1)
    majority = run.scores.get("majority")
    bars = {
        k: bar(axis, one["value"], one["low"], one["high"], majority["accuracy"] if k == "accuracy" and majority else None)
        if k in scaled else Markup("")
        for k, one in metrics.items()
    }  # fmt: skip
    methods: dict[str, list[str]] = {}
    for k, one in metrics.items():
        methods.setdefault(one["method"], []).append(word(k).label)
    return {
        "metrics": metrics,
        "metric_scale": scale(axis) if scaled else Markup(""),
        "metric_bars": bars,
        "methods": methods,
    }


def _rule(said: str) -> str:
    """Return a rule with the metric it begins with, if any, called as the page calls it."""
    name, colon, rest = said.partition(":")
    return f"{word(name).label}{colon}{rest}" if name in words.WORDS else said


def _classes(scores: Mapping[str, Any]) -> dict[str, Any]:
    found = scores["per_class"]
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    names.sort(
        key=lambda name: (
            ("auroc", "average_precision", "f1").index(name) if name in ("auroc", "average_precision", "f1") else 9
        )
    )
    bars = {}
    for kind, one in found.items():
        first = one.get(names[0], {})
        bars[kind] = bar(
            Axis(""), first.get("value"), first.get("low"), first.get("high"), 0.5 if names[0] == "auroc" else None
        )
    return {
        "per_class": found,
        "class_metrics": names,
        "class_bars": bars,
        "class_scale": scale(Axis("")),
        "positives": scores.get("positives"),
    }


def _confidence(scores: Mapping[str, Any]) -> dict[str, Any]:
    found, careful = scores["calibration"], scores["selective"]
    drawn: dict[str, Any] = {
        "calibration": found,
        "selective": careful,
        "surest": "",
        "calibration_plot": "",
        "selective_plot": "",
        "half_risk": 0.0,
    }
    if found:
        last = found["bins"][-1]
        drawn["calibration_plot"] = plots.calibration(found)
        drawn["surest"] = (
            f"Where it is surest ({counted(last['n'], 'answer')}) it states {last['confidence']:.0%} on average and is right for "
            f"{last['accuracy']:.0%} (95 % interval {last['low']:.0%} to {last['high']:.0%})."
        )  # fmt: skip
    if careful:
        drawn |= {"selective_plot": plots.risk_coverage(careful), "half_risk": plots.at_half(careful)}
    return drawn


def _curves(scores: Mapping[str, Any]) -> dict[str, Any]:
    roc, pr = scores["curves"]["roc"], scores["curves"]["pr"]
    if not roc:
        return {"roc": [], "pr": []}
    return {
        "roc": plots.shown(roc, "auroc"), "pr": plots.shown(pr, "average_precision"),
        "roc_plot": plots.roc(roc), "pr_plot": plots.precision_recall(pr),
    }  # fmt: skip


def _learning(scores: Mapping[str, Any]) -> dict[str, Any]:
    found = scores.get("learning_curve")
    drawn = found is not None and len(found["points"]) > 1
    return {
        "learning": found,
        "learning_plot": plots.learning_curve(found["points"], found["metric"])
        if found is not None and drawn
        else Markup(""),
    }


def _prompts(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what prompts gave, and their plot, where there were several."""
    found = scores.get("prompts")
    if found is None or found["spread"] is None:
        return {"prompts": found, "prompts_plot": Markup(""), "prompts_key": []}
    drawn, lines = plots.prompts(found)
    return {"prompts": found, "prompts_plot": drawn, "prompts_key": lines}


def _few_labels(scores: Mapping[str, Any]) -> dict[str, Any]:
    found = scores.get("few_labels")
    drawn, lines = plots.few_labels(found) if found is not None else (Markup(""), [])
    return {"few_labels": found, "few_labels_plot": drawn, "few_labels_key": lines}


def _subgroups(run: Result) -> dict[str, Any]:
    found, name = run.scores["subgroups"], run.scores["headline"]
    every = [
        v
        for groups in found.values()
        for one in groups
        for v in (one["low"], one["value"], one["high"])
        if v is not None
    ]
    axis = Axis("") if word(name).best == 1 and min(every, default=0) >= 0 else covering(every)
    overall = run.metrics[name]["value"]
    drawn = {
        column: [
            (one, bar(axis, one["value"], one["low"], one["high"], overall, "faint" if one["too_few"] else "c1"), apart(one))
            for one in groups
        ]
        for column, groups in found.items()
    }  # fmt: skip
    beside = list(next((one["beside"] for groups in found.values() for one in groups), {}))
    return {
        "subgroups": drawn,
        "subgroup_scale": scale(axis),
        "subgroup_beside": beside,
        "apart": apart,
        "fairness": run.scores["fairness"],
    }


def _cases(run: Result) -> dict[str, Any]:
    labels, shown, every = given.cases(run)
    return {"cases": shown, "case_labels": labels if len(labels) <= given.MATRIX else [], "cases_in_all": every}


def _scatter(run: Result) -> dict[str, Markup]:
    """Return how numbers lie against their targets, and how far from them."""
    if run.scores["kind"] != "numbers":
        return {"scatter": Markup(""), "agreement": Markup("")}
    columns = (run.predictions[name].to_pylist() for name in ("target", "prediction"))
    pairs = [(t, p) for t, p in zip(*columns, strict=True) if p is not None]
    target, said = [t for t, _ in pairs], [p for _, p in pairs]
    drawn = plots.agreement(target, said, run.metrics) if "agreement_low" in run.metrics else Markup("")
    return {"scatter": plots.numbers(target, said), "agreement": drawn}


def _judge(run: Result) -> dict[str, Any]:
    """Return what the page says of a judge, if one looked at the answers."""
    found = judged(run.predictions)
    if found is None:
        return {"judge": None}
    named = run.facts["request"].get("judge") or {}
    same = found.get("agreement")
    rows = [
        ("judge", named.get("model") or named.get("endpoint")), ("prompt", f"{named.get('prompt')} ({named.get('prompt_digest')})" if named else None),
        ("answers judged", f"{found['asked']:,}"), ("verdicts missing", f"{found['missing_verdicts']:,}, left out of the mean"),
        ("no answer", f"{found['unanswered']:,}, counted as not right"),
    ]  # fmt: skip
    if same and same["n"]:
        kappa = "not defined" if same["kappa"] is None else number(same["kappa"])
        rows += [
            ("agrees with people", f"{same['raw']:.1%} ({span(same)}) of {same['n']:,} answers that people scored too"),
            ("Cohen's kappa", kappa),
        ]
    return {
        "judge": found,
        "judge_words": sentences.judge_sentence(found),
        "judge_facts": [(name, value) for name, value in rows if value],
    }


def _contents(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and name of each section that is there."""
    names = (
        ("limits", "Limits", True), ("clinical", "As a risk", context["clinical"]), ("metrics", "Metrics", True), ("classes", "Classes", context["per_class"]),
        ("confusion", "Confusion", context["confusion"]), ("calibration", "Calibration", context["calibration"]),
        ("selective", "When sure", context["selective"]), ("roc", "ROC", context["roc"]), ("scatter", "Scatter", context["scatter"]), ("agreement", "Agreement", context["agreement"]), ("strip", "Assays", context["strip"]), ("map", "Map", context["maps"]), ("words", "Other words?", context["prompts"]), ("labels", "Worth of labels", context["few_labels"]), ("learning", "More samples?", context["learning"]),
        ("subgroups", "Subgroups", context["subgroups"]), ("contamination", "Contamination", True), ("judge", "Judge", context["judge"]),
        ("cases", "Cases", context["cases"]), ("outlined", "Outlines", context["outlined"]), ("errors", "Errors", context["errors"].samples), ("gallery", "Confused", context["confused"]), ("looks", "Where it looked", context["looks"]), ("samples", "Samples", True), ("provenance", "Provenance", True),
    )  # fmt: skip
    return [(anchor, name) for anchor, name, there in names if there]
