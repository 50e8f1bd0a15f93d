"""Samples of timelines, as a cohort declares them (``cards/cohorts``): a stay, what was known of it at a moment, and what came of it.

The moment is never passed: events after it do not enter, nor do ends, deaths and billing codes that were written later.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import healthfm.cards
from healthfm.cards.schema.cohort import Cohort, Split, duration
from healthfm.errors import RunError
from healthfm.records import MISSING, Label, Stay, Timeline
from healthfm.records.timeline import Moment, before

FOLDER = Path(healthfm.cards.__file__).parent / "cohorts"
OLD = 90.0  # what "> 89" and a birth 300 years ago are read as
EARLIEST = "start"


def cohorts_of(slug: str) -> dict[str, Cohort]:
    """Return the cohorts that are declared for a dataset, by their task."""
    path = FOLDER / f"{slug}.toml"
    if not path.is_file():
        return {}
    return {name: Cohort.model_validate(one) for name, one in tomllib.loads(path.read_text(encoding="utf-8")).items()}


@dataclass
class Drawn:
    """What became of the stays: how many there were, and why some are no samples."""

    stays: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def told(self, kept: int) -> str:
        """Return it in one line."""
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.left.most_common())
        return f"cohort: {kept:,} of {self.stays:,} stays" + (f" (left out: {why})" if why else "")


def samples(timeline: Timeline, cohort: Cohort, task: str, drawn: Drawn) -> Iterator[tuple[Timeline, Moment]]:
    """Yield a timeline for each stay of the cohort, as it was known at the moment of foretelling, with its label; and the stay's start."""
    mine = [stay for stay in timeline.stays if stay.kind == cohort.stay]
    for stay in mine:
        drawn.stays += 1
        reason, label = _why_not(stay, timeline, cohort), MISSING
        if reason is None:
            reason, label = _label(stay, timeline, cohort)
        if reason is not None:
            drawn.left[reason] += 1
            continue
        assert stay.start is not None
        index = _at(cohort.index, stay)
        shown = timeline.until(index)
        if cohort.without:
            shown = replace(shown, load=_Without(shown, cohort.without))
        yield replace(shown, id=stay.id, labels={task: label}, meta={**timeline.facts, "stays": len(mine)}), stay.start


@dataclass(frozen=True)
class _Without:
    """Events but those whose code begins so."""

    timeline: Timeline
    beginnings: tuple[str, ...]

    def __call__(self) -> pa.Table:
        events = self.timeline.events
        for one in self.beginnings:
            events = events.filter(pc.invert(pc.starts_with(events["code"], one)))
        return events


def side_of(sample: Timeline, split: Split, seed: int) -> str | None:
    """Return "fit" or "on", or None for what is on neither side. A patient is on one side only, where patients are drawn."""
    if split.by == "patient":
        drawn = int(hashlib.sha256(f"{seed} {sample.patient}".encode()).hexdigest()[:8], 16) / 2**32
        return "on" if split.share is not None and drawn < split.share else "fit"
    fact = sample.meta.get(split.by)
    return "fit" if fact in split.fit else "on" if fact in split.on else None


def counts_of(sample: Timeline, start: Moment, cohort: Cohort) -> dict[str, int]:
    """Return how often each code stands in each window, "WINDOW CODE"; static facts are "static CODE"."""
    events = sample.events
    when, code, kind = events["time"], events["code"], events["time"].type
    found = _counted("static", code.filter(events["static"]))
    for name, (first, last) in cohort.windows.items():
        inside = pc.is_valid(when)
        if first != EARLIEST:
            inside = pc.and_kleene(inside, pc.greater_equal(when, pa.scalar(start + duration(first), kind)))
        if last not in ("end", cohort.index):
            inside = pc.and_kleene(inside, pc.less(when, pa.scalar(start + duration(last), kind)))
        found |= _counted(name, code.filter(inside))
    return found


def _counted(window: str, codes: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(codes)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return {f"{window} {name}": count for name, count in sorted(zip(names, numbers, strict=True))}


def age_at(facts: Mapping[str, str], moment: Moment) -> float | None:
    """Return the age in years by what the owner says: an age, an age in an anchor year, or a day of birth. None: nobody says."""
    said = facts.get("age")
    if said is not None:
        return OLD if said.startswith(">") else _number(said)
    if isinstance(moment, datetime) and "anchor_age" in facts and "anchor_year" in facts:
        age, year = _number(facts["anchor_age"]), _number(facts["anchor_year"])
        return None if age is None or year is None else age + moment.year - year
    if isinstance(moment, datetime) and "dob" in facts:
        try:
            years = (moment - datetime.fromisoformat(facts["dob"])) / timedelta(days=365.25)
        except ValueError:
            return None
        return OLD if years > 150 else years
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _at(edge: str, stay: Stay) -> Moment:
    assert stay.start is not None and stay.end is not None
    return stay.end if edge == "end" else stay.start + duration(edge)


def _why_not(stay: Stay, timeline: Timeline, cohort: Cohort) -> str | None:
    """Return why a stay is no sample, None where it is one."""
    if stay.start is None or stay.end is None or not before(stay.start, stay.end):
        return "without a start and an end in order"
    if cohort.lasting is not None and not before(stay.start + duration(cohort.lasting), stay.end):
        return f"shorter than {cohort.lasting}"
    if cohort.age_at_least is not None:
        age = age_at(timeline.facts, stay.start)
        if age is None:
            return "of unknown age"
        if age < cohort.age_at_least:
            return f"under {cohort.age_at_least} years"
    beside = [one for one in timeline.stays if one.kind == "unit" and one.within == stay.within and one.id != stay.id]
    if cohort.one_unit_stay and stay.kind == "unit" and beside:
        return "of a hospital stay with several unit stays"
    number = stay.facts.get("unitvisitnumber")
    later = (
        number != "1"
        if number is not None
        else any(one.start is not None and before(one.start, stay.start) for one in beside)
    )
    if cohort.first_only and later:
        return "not the first of the hospital stay"
    for pair in (cohort.same, cohort.also_same):
        if pair is not None and stay.facts.get(pair[0]) != stay.facts.get(pair[1]):
            return "with a transfer between units"
    return None


def _label(stay: Stay, timeline: Timeline, cohort: Cohort) -> tuple[str | None, Label]:
    """Return why a stay has no label, or None and its label."""
    asked, around = cohort.label, _hospital_stay(stay, timeline)
    assert stay.start is not None and stay.end is not None
    if asked.of == "length":
        assert asked.longer_than is not None
        return None, asked.classes[int(stay.end - stay.start > duration(asked.longer_than))]  # type: ignore[operator]
    if around is None:
        return "in no hospital stay", MISSING
    if asked.of == "codes":
        events = timeline.events
        codes = events["code"].filter(pc.equal(events["visit"], around.id)).to_pylist()
        coded = [one.removeprefix(asked.vocabulary) + "$" for one in codes if one.startswith(asked.vocabulary)]
        held = {name for name, starts in asked.groups.items() if any(code.startswith(starts) for code in coded)}
        return None, frozenset(held)
    if around.died is None:
        return "nobody says how it ended", MISSING
    if asked.of == "death":
        return None, asked.classes[int(around.died)]
    if around.died:
        return "ended in death", MISSING
    assert asked.within is not None
    until = stay.end + duration(asked.within)
    again = [
        one
        for one in timeline.stays
        if one.kind == "hospital" and one.id != stay.id and one.start is not None and not before(one.start, stay.end)
    ]
    return None, asked.classes[int(any(before(one.start, until) for one in again if one.start is not None))]


def _hospital_stay(stay: Stay, timeline: Timeline) -> Stay | None:
    if stay.kind == "hospital":
        return stay
    return next((one for one in timeline.stays if one.kind == "hospital" and one.id == stay.within), None)


def split_named(cohort: Cohort, name: str, what: str) -> Split:
    """Return a split of a cohort. Raises ``RunError`` that names those there are."""
    if name not in cohort.splits:
        why = (
            ""
            if "later" in cohort.splits
            else "; there is no split in time: the dates of each patient are shifted by their own amount"
        )
        raise RunError(f"{what} has no split '{name}' (it has: {', '.join(cohort.splits)}{why})")
    return cohort.splits[name]
