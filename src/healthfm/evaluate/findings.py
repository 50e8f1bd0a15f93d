"""A run's facts in plain words, the same on the command line and on the page."""

from __future__ import annotations

from typing import Any

from healthfm.evaluate.run import Run


def concerning(run: Run) -> list[dict[str, Any]]:
    """Return the lineage paths that can concern the evaluated split."""
    split = run.facts["request"].get("split")
    return [
        one for one in run.facts.get("lineage", {}).get("overlaps", []) if not one["splits"] or split in one["splits"]
    ]


def contamination_line(run: Run) -> str:
    """Say in one sentence what the cards know of the model having seen the data."""
    lineage = run.facts.get("lineage")
    if not lineage or not lineage["asked"]:
        return "contamination: not asked, the model or the data has no card in the catalogue"
    found = concerning(run)
    if not found:
        others = f" ({len(lineage['overlaps'])} paths concern other splits)" if lineage["overlaps"] else ""
        return f"contamination: the cards show no way by which this split reached the model{others}; that is not proof that none exists"
    return f"contamination: {found[0]['meaning']}: {' > '.join(found[0]['path'])} ({len(found)} paths in all)"


def headline_notes(run: Run) -> list[str]:
    """Return what a reader must know beside the headline: baseline, sample, precision, quantisation, notices."""
    request, scores = run.facts["request"], run.scores
    majority = scores["majority"]
    whole = (
        f"the {majority['n']} questions of the split" if run.facts.get("majority") else f"these {majority['n']} rows"
    )
    notes = [f"baseline: always '{majority['class']}' is right for {majority['accuracy']:.1%} of {whole}"]
    if request.get("limit") and scores["n"] < run.facts.get("split_records", 0):
        notes.append(
            f"sample: {scores['n']} of {run.facts['split_records']} questions, drawn with seed {request['seed']}"
        )
    for environment in run.facts.get("environments", [])[-1:]:
        model = environment["model"]
        notes.append(f"model: {model.get('weights')}, {model.get('dtype')} on {model.get('device')}")
    if usage := run.facts.get("usage"):
        notes.append(
            f"endpoint: {usage['requests']} requests, {usage['prompt_tokens']} tokens read and {usage['completion_tokens']} written"
        )
    if len(run.facts.get("environments", [])) > 1:
        notes.append("resumed under other versions or hardware: see the provenance section")
    if scores["unanswered"]:
        notes.append(f"unanswered: {scores['unanswered']} predictions are missing and count as wrong")
    return notes + [f"notice: {one}" for one in run.facts.get("notices", [])]
