"""The section "contamination" of a report: lineage, content and behaviour together, there also when nothing was asked."""

from __future__ import annotations

from typing import Any

from healthfm.engine.store import RunFolder
from healthfm.score.result import Result
from healthfm.score.sentences import concerning, contamination_line

FILE = "contamination.json"
NOT_SEARCHED = (
    "content: no corpus was searched for these texts (healthfm contamination DATASET --against CORPUS --run RUN)"
)
NOT_PROBED = (
    "behaviour: the model's likelihoods were not probed (healthfm contamination DATASET --model MODEL --run RUN)"
)


def section(run: Result) -> dict[str, Any]:
    """Return what is known of contamination of a run. Plain data: ``lineage``, ``content``, ``behaviour`` and ``says``, never empty.

    ``lineage``: was it ``asked``, the ``overlaps`` on the cards, and those ``concerning`` the evaluated split. ``content`` and
    ``behaviour``: the findings kept in the run's folder (see ``Finding`` and ``Behaviour``). ``says``: all of it in sentences.
    """
    kept = (RunFolder(run.path).read_json(FILE) if run.path is not None else None) or {}
    content, behaviour = list(kept.get("content", {}).values()), list(kept.get("behaviour", {}).values())
    lineage = run.facts.get("lineage") or {"asked": False, "overlaps": []}
    says = [contamination_line(run).replace("contamination:", "lineage:")]
    says += [f"content: {line}" for one in content for line in one["says"]] or [NOT_SEARCHED]
    says += [f"behaviour of {one['model']}: {line}" for one in behaviour for line in one["says"]] or [NOT_PROBED]
    return {
        "lineage": {**lineage, "concerning": concerning(run)}, "content": content, "behaviour": behaviour, "says": list(dict.fromkeys(says)),
    }  # fmt: skip
