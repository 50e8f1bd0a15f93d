"""May runs be ranked? Only on the same samples and targets, asked in the same way; else how exactly they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score import tasks
from healthfm.score.result import Result
from healthfm.spelling import counted

NAMED = 5  # how many differing samples an error names
# What may differ between runs that are ranked: the model, and how and where it was run. ``dataset``, ``split``, ``cards``
# and ``items`` are looked at in their parts; ``limit``, ``seed`` and ``subgroups`` show in the samples.
FREE = {
    "model", "weights", "device", "dtype", "endpoint", "seed", "limit", "subgroups", "dataset", "split", "cards", "items",
}  # fmt: skip


def refuse_unlike(runs: Sequence[Result], labels: Sequence[str], across_protocols: bool) -> list[str]:
    """Raise ``RunError`` where runs cannot be ranked; return how they differ in what was allowed."""
    paths = [run.path.resolve() for run in runs if run.path]
    if len(set(paths)) < len(paths):
        raise RunError("the same run folder is named twice")
    allowed: list[str] = []
    for run, label in zip(runs[1:], labels[1:], strict=True):
        names = f"{labels[0]} and {label}"
        samples = unlike_samples(runs[0], run)
        if samples:
            hint = "; --common compares what all have" if any(" samples are in the " in one for one in samples) else ""
            raise RunError(f"{names} cannot be ranked, their samples are not the same: {'; '.join(samples)}{hint}")
        asked = unlike_protocols(runs[0], run)
        if asked and not across_protocols:
            raise RunError(
                f"{names} cannot be ranked, they were asked in different ways: {'; '.join(asked)}. If that is what you "
                "want to compare, say so: across_protocols=True (--across-protocols)"
            )
        allowed += [f"{names} were asked in different ways, as allowed: {'; '.join(asked)}"] if asked else []
    return allowed


def unlike_samples(a: Result, b: Result) -> list[str]:
    """Say how the samples of two runs differ: dataset, split, ids, inputs, targets, what is predicted."""
    found = []
    one, other = a.facts["request"], b.facts["request"]
    if tasks.TASKS[one["task"]].kind != tasks.TASKS[other["task"]].kind:
        found.append(f"the tasks predict different things ({one['task']}, {other['task']})")
    if "split" in one and "split" in other:
        for what, x, y in (("datasets", _data_name(one), _data_name(other)), ("splits", one["split"], other["split"])):
            found += [f"the {what} are {x} and {y}"] if x != y else []
    rows_a, rows_b = _rows(a.predictions), _rows(b.predictions)
    for here, there, which in ((rows_a, rows_b, "first"), (rows_b, rows_a, "second")):
        alone = [i for i in here if i not in there]
        if alone:
            found.append(f"{counted(len(alone), 'sample is', 'samples are')} in the {which} only ({_some(alone)})")
    shared = [i for i in rows_a if i in rows_b]
    for column, what in (("input", "inputs"), ("target", "targets")):
        apart = [i for i in shared if _differ(rows_a[i].get(column), rows_b[i].get(column), column == "input")]
        found += (
            [f"the {what} of {len(apart)} of {len(shared)} shared samples differ ({_some(apart)})"] if apart else []
        )
    return found


def _differ(one: Any, other: Any, may_lack: bool) -> bool:
    return one != other and not (may_lack and (one is None or other is None))


def _rows(table: pa.Table) -> dict[str, dict[str, Any]]:
    columns = [name for name in ("id", "input", "target") if name in table.column_names]
    return {row["id"]: row for row in table.select(columns).to_pylist()}


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")


def _data_name(request: Mapping[str, Any]) -> str:
    return str(request["dataset"]).partition("@")[0].partition("#")[0]


def unlike_protocols(a: Result, b: Result) -> list[str]:
    """Say how the ways of asking differ: protocol, examples, task, the dataset card's edition."""
    one, other = a.facts["request"], b.facts["request"]
    if ("split" in one) != ("split" in other):
        return ["one is a table of predictions made elsewhere, by which protocol is not known"]
    found = [f"the protocols are {one['dataset']} and {other['dataset']}"] if one["dataset"] != other["dataset"] else []
    differing = [key for key in {**one, **other} if key not in FREE and one.get(key) != other.get(key)]
    if found:  # the protocol's name tells the task
        differing = [key for key in differing if key != "task"]
    if "shots" in differing:  # of no example there is no place and no order, and of others there are other ids
        differing = [
            key for key in differing
            if key != "shot_ids" and (key not in ("shots_from", "shots_order") or None not in (one.get(key), other.get(key)))
        ]  # fmt: skip
    found += [_in_words(key, one.get(key), other.get(key)) for key in differing]
    if a.facts.get("protocol") != b.facts.get("protocol") and not found:
        found.append("the protocol's wording changed between the runs")
    cards = [request.get("cards", {}).get("dataset") for request in (one, other)]
    if cards[0] != cards[1]:
        found.append("the dataset's card changed between the runs")
    if not found and one.get("items") != other.get("items"):
        found.append("the models were shown different texts")
    return found


def _in_words(key: str, one: Any, other: Any) -> str:
    """Say how two runs differ in one thing that they were asked, without the digests that a request holds."""
    words = {
        "task": "the tasks are {} and {}", "shots": "the numbers of solved examples are {} and {}",
        "shots_from": "the solved examples are from {} and from {}", "shots_order": "the solved examples were taken {} and {}",
        "fit_on": "they were fitted on {} and on {}", "fitted_on": "they were fitted on {} and on {} samples",
        "prompt": "the prompts are {} and {}", "judge": "the judges are {} and {}", "uncertain": "uncertain labels: {} and {}",
    }  # fmt: skip
    if key == "shot_ids":
        return "the solved examples are not the same ones"
    shown = [_named(key, value) for value in (one, other)]
    if shown[0] == shown[1]:
        return f"the wording of {'the prompt' if key == 'prompt' else f'what was asked ({key})'} is not the same"
    return words.get(key, f"{key}: {{}} and {{}}").format(*shown)


def _named(key: str, value: Any) -> str:
    if key == "prompt" and isinstance(value, Mapping):
        name = f" ({value['name']})" if value.get("name") else ""
        return f"{value.get('by')}{name}, answers read by {value.get('parser')}"
    if key == "judge" and isinstance(value, Mapping):
        return f"{value.get('model') or value.get('endpoint')}{', beside people' if 'human' in value else ''}"
    return f"{len(value)} of its own" if isinstance(value, list) else "none" if value is None else str(value)
