"""A run's report as data, as Markdown and as a table: what the page says, for other tools."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from healthfm.report import clinical
from healthfm.report.contamination import section
from healthfm.report.page import asked_for, headline_sentences
from healthfm.report.words import big, big_span, number, span, word
from healthfm.score import limits, sentences
from healthfm.score.result import Result

COLUMNS = ("part", "of", "metric", "value", "low", "high", "n", "method", "note")


def as_data(run: Result, *, show_inputs: bool = False) -> dict[str, Any]:
    """Return what the page says as plain data: the headline in words, notes, limits, contamination, and all of ``metrics.json``.

    What was matched of private data in a corpus is left out unless ``show_inputs`` asks for it, as on the page.
    """
    seen = section(run)
    if not (run.may_show_inputs or show_inputs):
        seen = {**seen, "content": [_without_snippets(one) for one in seen["content"]]}
    return {
        "path": str(run.path) if run.path else None, "title": run.title, "says": headline_sentences(run), "request": run.facts["request"],
        "notes": sentences.headline_notes(run), "limits": limits.limits(run), "contamination": seen, **run.scores,
    }  # fmt: skip


def _without_snippets(finding: Mapping[str, Any]) -> dict[str, Any]:
    def bare(text: Mapping[str, Any]) -> dict[str, Any]:
        return {**text, "places": [{k: v for k, v in place.items() if k != "snippet"} for place in text["places"]]}

    return {**finding, "found": [bare(text) for text in finding["found"]]}


def to_csv(run: Result) -> str:
    """Return every number with its interval as one table: overall, by class, calibration, by subgroup, fairness."""
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows([COLUMNS, *_rows(run.scores)])
    return made.getvalue()


def _rows(scores: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    def row(part: str, of: str, metric: str, one: Mapping[str, Any], note: str | None = "") -> tuple[Any, ...]:
        return (part, of, metric, *(one.get(key) for key in ("value", "low", "high", "n", "method")), note)

    for name, one in scores["metrics"].items():
        yield row("overall", "", name, one, one.get("rule"))
    if risk := scores.get("clinical"):
        yield from _risk_rows(risk, row)
    for kind, found in scores["per_class"].items():
        for name, one in found.items():
            yield row("class", kind, name, one, one.get("rule"))
    for part, name in (("calibration", "ece"), ("selective", "aurc")):
        if one := scores[part]:
            ends = {
                "value": one[name],
                "low": one.get(f"{name}_low"),
                "high": one.get(f"{name}_high"),
                "n": scores["n"],
            }
            yield row("overall", "", name, {**ends, "method": one.get(f"{name}_method", one.get("method"))})
    for one in (scores["learning_curve"] or {"points": ()})["points"]:
        yield row("learning curve", f"fitted on {one['size']}", scores["learning_curve"]["metric"], one)
    if (words := scores.get("prompts")) and words["spread"]:
        yield row("words", "all prompts together", words["metric"], words["ensemble"])
        for name in ("shuffled", "nonsense"):
            if one := words[name]:
                yield row("words", name, words["metric"], {"value": one["value"]}, f"{one['least']} to {one['most']} over {one['n']}")  # fmt: skip
        for one in words["draws"]:
            yield row("words", " / ".join(one["templates"]), words["metric"], one, ", ".join(one["names"]))
    if labels := scores.get("few_labels"):
        yield row("labels", "zero-shot, 0 a class", "accuracy", labels["zero"])
        for one in labels["points"]:
            yield row("labels", f"{one['by']}, {one['shots']} a class", "accuracy", {**one, "method": labels["method"]})
        for name in ("shuffled", "nonsense"):
            yield row("labels", name, "accuracy", labels[name])
    for column, groups in scores["subgroups"].items():
        for one in groups:
            few, of = "too few to say" if one["too_few"] else "", f"{column}: {one['group']}"
            yield row("subgroup", of, one["metric"], one, few)
            gap = {
                "value": one["gap"],
                "low": one["gap_low"],
                "high": one["gap_high"],
                "n": one["n"],
                "method": one["gap_method"],
            }
            yield row("gap to the rest", of, one["metric"], gap, few)
    for column, found in scores["fairness"].items():
        for name in ("equalised_odds", "demographic_parity"):
            if found[name]:
                yield row("fairness", column, name, {**found[name], "n": scores["n"]})


def _risk_rows(found: Mapping[str, Any], row: Callable[..., tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for name, one in found["metrics"].items():
        yield row("risk", found["positive"], name, one)
    curve = found["decision"] or {"thresholds": ()}
    for i, threshold in enumerate(curve["thresholds"]):
        ends = {key: curve[column][i] for key, column in (("value", "model"), ("low", "low"), ("high", "high"))}
        more = {"n": found["n"], "method": curve["method"]}
        yield row("decision curve", f"threshold {threshold:g}", "net_benefit", {**ends, **more})
        yield row(
            "decision curve",
            f"threshold {threshold:g}",
            "net_benefit_of_treating_all",
            {"value": curve["all"][i], "n": found["n"]},
        )
    for column, groups in found["subgroups"].items():
        for one in groups:
            for cell in (one, *one["beside"].values()):
                yield row(
                    "risk by subgroup",
                    f"{column}: {one['group']}",
                    cell["metric"],
                    cell,
                    "too few to say" if one["too_few"] else "",
                )


def to_markdown(run: Result) -> str:
    """Return the report in Markdown: the headline, what was run, metrics, subgroups, contamination, limits."""
    name = run.scores["headline"]
    first = run.metrics[name]
    parts = [
        f"# {_plain(run.title)}",
        f"**{word(name).label}: {big(name, first)}** ({'95 % interval ' if first['low'] is not None else ''}{big_span(name, first)}, n = {first['n']:,})",
        _plain(headline_sentences(run)),
        _bullets([f"{key}: {value}" for key, value in asked_for(run)] + sentences.headline_notes(run)),
        "## Metrics", _table(("metric", "value", "95 % interval", "n", "interval by"), [
            (word(k).label, number(one["value"]), span(one), f"{one['n']:,}", one["method"]) for k, one in run.metrics.items()
        ]),
        *_clinical(run.scores), *_by_class(run.scores), *_by_words(run.scores), *_by_labels(run.scores), *_by_size(run.scores), *_by_group(run.scores), "## Has the model seen this data?", _bullets(section(run)["says"]),
        "## What this cannot say", _bullets(limits.limits(run)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _by_class(scores: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (kind, word(name).label, number(one["value"]), span(one), f"{one['n']:,}")
        for kind, found in scores["per_class"].items() for name, one in found.items()
    ]  # fmt: skip
    if rows:
        yield "## Class by class"
        yield _table(("class", "metric", "value", "95 % interval", "n"), rows)


def _clinical(scores: Mapping[str, Any]) -> Iterator[str]:
    found = scores.get("clinical")
    if found:
        yield "## As a clinical risk"
        yield _plain(" ".join(clinical.sentences(found)))
        for title, columns, rows in clinical.to_markdown(found):
            yield f"### {_plain(title)}"
            yield _table(tuple(columns), rows)
        yield _bullets([*(f"{one}." for one in found["says"]), *clinical.methods(found)])


def _by_words(scores: Mapping[str, Any]) -> Iterator[str]:
    if found := scores.get("prompts"):
        yield "## Would other words change it?"
        yield _bullets(found["says"])


def _by_labels(scores: Mapping[str, Any]) -> Iterator[str]:
    if found := scores.get("few_labels"):
        yield "## What is a label worth?"
        rows = [("zero-shot", "0", number(found["zero"]["value"]), span(found["zero"]))]
        rows += [(one["by"], f"{one['shots']:,}", number(one["value"]), span(one)) for one in found["points"]]
        yield _table(("by", "labels a class", "accuracy", "interval"), rows)
        yield _bullets([*found["says"], found["note"]])


def _by_size(scores: Mapping[str, Any]) -> Iterator[str]:
    if found := scores["learning_curve"]:
        yield "## Would more samples help?"
        rows = [(f"{one['size']:,}", number(one["value"]), span(one)) for one in found["points"]]
        yield _table(("fitted on", word(found["metric"]).label, "95 % interval"), rows)
        yield f"{_plain(found['says'])} The parts are {_plain(found['note'])}."


def _by_group(scores: Mapping[str, Any]) -> Iterator[str]:
    for column, groups in scores["subgroups"].items():
        yield f"## By {_plain(column)}"
        yield _table(
            ("group", "n", word(scores["headline"]).label, "95 % interval", "gap to the rest", "its interval", ""),
            [
                (one["group"], f"{one['n']:,}", number(one["value"]), span(one), number(one["gap"], signed=True),
                 span(one, "gap", signed=True), "too few to say" if one["too_few"] else "")
                for one in groups
            ],
        )  # fmt: skip


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown takes as text: no HTML, no link, no cell border, one line."""
    escaped = (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace("|", "\\|")
        .replace("[", "\\[")
        .replace("`", "\\`")
        .replace("*", "\\*")
    )
    return " ".join(escaped.split())
