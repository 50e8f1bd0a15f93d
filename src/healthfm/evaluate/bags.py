"""Multiple-instance learning: a bag of pictures has one class, and which of them make it is learned from the bags alone.

A bag is a slide (its tiles), a volume (its axial slices), a film (its frames) or, of still images, a patient. All of its pictures
are used, in training and at test time; what each weighed in the prediction is kept in the room ``attention`` of the run folder.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from healthfm.cards.schema import Labels
from healthfm.datasets.dataset import Dataset
from healthfm.embed import identity
from healthfm.embed.items import of_record
from healthfm.errors import CapabilityError, DatasetError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.classification import chance_columns, label_of, labelled
from healthfm.evaluate.embedded import said_among, settle, squared_among
from healthfm.evaluate.job import CHARACTERS_PER_PART, Ask, Finished, Job, cut_parts, sample_columns, subgroup_columns
from healthfm.evaluate.probes import PICTURE, classes_of, probed_space, two_splits
from healthfm.models.model import Model
from healthfm.records import Image, Record, Slide, Visual, unit_of

if TYPE_CHECKING:
    from healthfm.embed.embedder import Embedder
    from healthfm.embed.units import Unit

SCHEMA = pa.schema([
    ("bag", pa.int32()), ("id", pa.string()), ("record", pa.string()), ("number", pa.int32()), ("x", pa.int64()), ("y", pa.int64()),
    ("digest", pa.string()), ("embedding", pa.list_(pa.float32())), ("problem", pa.string()), ("input", pa.string()), ("blank", pa.bool_()),
    ("ratio", pa.float64()), ("notices", pa.list_(pa.string())), ("notice", pa.string()),
])  # fmt: skip
SHOWN = ["id", "number", "record", "x", "y"]  # what the room of attention has of these


@dataclass(frozen=True)
class Bag:
    """Records whose pictures have one label together. ``record`` stands for them in the predictions.

    ``sources`` are the identities of the members' files.
    """

    record: Record
    members: tuple[Visual, ...]
    label: str
    sources: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The patient; a bag of nobody's is a group of its own."""
        return unit_of(self.record)


@dataclass(frozen=True, kw_only=True)
class Bagged(Job):
    """Bags of pictures, those to ``fit`` on before those to ``test``; attention pooling is fitted on the first.

    A bag to fit on without a picture (a slide without tissue) is left out; an evaluated one has no prediction, counts as wrong, and its
    probabilities are the classes' shares of the bags that were fitted on.
    """

    fit: Sequence[Bag]
    test: Sequence[Bag]
    seed: int
    room: str = "embeddings"
    whole: ClassVar[bool] = True

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Embedder:
        from healthfm.embed.embedder import Embedder  # needs torch, which statistics alone do not

        return Embedder(model, settled=(settled or {}).get("arithmetic"))

    def compute(self, tool: Embedder, rows: range) -> pa.Table:
        return settle(tool, _embedded(tool, [*self.fit, *self.test], rows), _tile(tool.model, self.fit[0].members[0]))

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        assert self.classes is not None
        chances, attention, how = _predicted(table, self.fit, self.test, self.classes, self.seed)
        found = [None if row is None else self.classes[int(row.argmax())] for row in chances]
        prior = np.array([sum(bag.label == one for bag in self.fit) for one in self.classes]) / len(self.fit)
        whole = pa.table({
            **sample_columns(self.records, [bag.label for bag in self.test], _inputs(table, [*self.fit, *self.test])[len(self.fit) :]),
            **chance_columns(self.classes, np.stack([prior if row is None else row for row in chances])),
            "prediction": pa.array(found, pa.string()), **self.columns,
        })  # fmt: skip
        return Finished(
            whole,
            {
                **how,
                **_told(table),
                "arithmetic": settled.get("arithmetic", {}),
                **({"tile": settled["tile"]} if "tile" in settled else {}),
            },
            {"attention": attention},
        )


def prepare(ask: Ask) -> Job:
    """Return the job of embedding the pictures of all bags, fitting attention pooling on a split's and predicting another's.

    ``shots_from`` is as for probes.
    """
    from healthfm.adapt import mil  # needs torch, which statistics alone do not

    assert ask.task is not None
    opened, request = ask.opened, ask.request
    source, fit_on, evaluated, notices = two_splits(ask)
    space = probed_space(ask)
    fit_on, _, unfit = labelled(fit_on, lambda record: label_of(record, opened, space))
    evaluated, _, lost = labelled(evaluated, lambda record: label_of(record, opened, space))
    notices += [*(f"to fit on: {one}" for one in unfit), *lost]
    noun = _refuse_unfit([*fit_on, *evaluated], opened, space)
    fit, every = _bags(fit_on, opened, space), _bags(evaluated, opened, space)
    classes = classes_of([bag.label for bag in fit], [bag.label for bag in every], opened, space)
    test = [every[i] for i in protocols.sample(len(every), request.limit, request.seed)]
    mil.refuse_few([bag.label for bag in fit], [bag.group for bag in fit])
    records, bags = [bag.record for bag in test], [*fit, *test]
    return Bagged(
        task=ask.task, name=f"{opened.name}#{ask.task}", records=records, total=len(every), classes=classes, fit=fit, test=test, seed=request.seed,
        every_target=[bag.label for bag in every], targets=[bag.label for bag in test], columns=subgroup_columns(records, request.subgroups),
        parts=cut_parts([_size(bag) for bag in bags]), content=[[bag.record.id, bag.sources, bag.label] for bag in bags],
        asked={"fit_on": source, "fitted_on": len(fit)}, facts={"notices": notices, "noun": noun},
    )  # fmt: skip


# Bags -----------------------------------------------------------------------------------------------------------------


def _refuse_unfit(records: Sequence[Record], opened: Dataset, space: Labels | None) -> str:
    """Return what a bag of these records is called. Raises ``RunError`` where they make none."""
    kind = type(records[0]) if records else Image
    if not issubclass(kind, Visual):
        raise RunError(f"mil needs slides, volumes, films, or images of patients; these are {kind.__name__} records")
    if not kind.stacked:
        nobody = sum(record.patient is None for record in records)
        if nobody:
            raise RunError(
                f"{opened.name}: {nobody} of {len(records)} images name no patient, and a bag is the images of one. Name it "
                "(--columns patient=COLUMN), or classify image by image (--task linear-probe); slides in .tif stand in a "
                "column 'slide' of a manifest"
            )
        labels: dict[str | None, set[str | None]] = {}
        for record in records:
            labels.setdefault(record.patient, set()).add(label_of(record, opened, space))
        apart = sum(len(found) > 1 for found in labels.values())
        if apart:
            raise RunError(
                f"{opened.name}: the images of {apart} of {len(labels)} patients have different classes, and a bag has one. Give "
                "them one, leave these patients out, or classify image by image (--task linear-probe)"
            )
    return kind.noun if kind.stacked else "patient"


def _bags(records: Sequence[Record], opened: Dataset, space: Labels | None) -> list[Bag]:
    """Return the bags of records, in order; of images those of each patient, who is named by what all of them have in common."""
    groups: dict[str, list[Any]] = {}
    for record in records:
        groups.setdefault(record.id if record.stacked else str(record.patient), []).append(record)
    sources = dict(zip([record.id for record in records], identity.of_records(records), strict=True))
    return [
        _bag(name, tuple(members), str(label_of(members[0], opened, space)), tuple(sources[one.id] for one in members))
        for name, members in groups.items()
    ]


def _bag(name: str, members: tuple[Any, ...], label: str, sources: tuple[str, ...]) -> Bag:
    first = members[0]
    if first.stacked:
        return Bag(first, members, label, sources)
    shared = {
        what: {key: value for key, value in getattr(first, what).items() if all(getattr(one, what).get(key) == value for one in members)}
        for what in ("labels", "meta")
    }  # fmt: skip
    site = first.site if all(one.site == first.site for one in members) else None
    return Bag(Record(id=name, split=first.split, patient=name, site=site, **shared), members, label, sources)


def _inputs(table: pa.Table, bags: Sequence[Bag]) -> list[str | None]:
    """Return the digest of what each bag holds, of images: their ids and pixels; None of others, whose pixels are too many for one."""
    seen: dict[int, list[Any]] = {}
    if bags[0].members[0].stacked:
        return [None] * len(bags)
    for bag, record, pixels in zip(*(table[name].to_pylist() for name in ("bag", "record", "input")), strict=True):
        seen.setdefault(bag, []).append([record, pixels])
    return [hashlib.sha256(json.dumps(seen.get(i)).encode()).hexdigest()[:16] for i in range(len(bags))]


def _tile(model: Model, record: Visual) -> dict[str, Any]:
    """Return at what resolution and how large the tiles of slides are, so that a heat map can be drawn later; {} of other records."""
    from healthfm.embed.tiles import tile_at

    if not isinstance(record, Slide):
        return {}
    mpp, side = tile_at(model, None)
    return {"tile": {"mpp": mpp, "side": side}}


def _size(bag: Bag) -> int:
    """Return what a bag counts for in a part: that of images by their number; any other has a part to itself."""
    return CHARACTERS_PER_PART if bag.members[0].stacked else PICTURE * len(bag.members)


# Vectors --------------------------------------------------------------------------------------------------------------


def _embedded(embedder: Embedder, bags: Sequence[Bag], rows: range) -> pa.Table:
    """Return a row for each picture of some bags; one with a ``problem`` where a bag has none."""
    from healthfm.embed.embedder import instances
    from healthfm.embed.units import told
    from healthfm.models.vision.transform import is_square

    model = embedder.model
    if not any(issubclass(kind, Visual) for kind in model.takes):
        raise CapabilityError(f"{model.name} reads no pictures, which the bags of mil are made of")
    problems = dict.fromkeys(rows, "no pictures in it")
    made: dict[int, list[Unit]] = {number: [] for number in rows}
    with ExitStack() as opened:

        def units() -> Iterator[Unit]:
            for number in rows:
                for record, source in zip(bags[number].members, bags[number].sources, strict=True):
                    try:
                        found = opened.enter_context(instances(record, model))
                    except DatasetError as error:
                        problems[number] = told(of_record(record), error)
                        continue
                    for unit in found:
                        yield replace(unit, part=number, source="" if record.stacked else source)

        for unit in embedder.stream(units(), tiles_may_fail=True):
            made[unit.part].append(unit)
    found: list[dict[str, Any]] = []
    for number, some in made.items():
        name = bags[number].record.id
        if some and all(unit.problem is not None for unit in some):
            problems[number], some = f"all of its {len(some)} tiles are damaged: {some[0].problem}", []
        for i, unit in enumerate(some):
            x, y = unit.place or (None, None)
            found.append(
                {"bag": number, "id": name, "record": unit.item.id, "number": i, "x": x, "y": y, "digest": unit.digest, "embedding": unit.vector, "problem": unit.problem,
                 "input": unit.seen or None, "blank": unit.blank, "ratio": None if is_square(unit.ratio) else unit.ratio,
                 "notices": list(unit.notices), "notice": unit.notice if not i and unit.notice else None}
            )  # fmt: skip
        if not some:
            found.append({"bag": number, "id": name, "problem": problems[number]})
    return pa.Table.from_pylist(found, SCHEMA)


def _told(table: pa.Table) -> dict[str, Any]:
    """Return what a report says of the pictures of all bags: how many, and which are none, damaged, blank, or were made square."""
    lost = table.filter(table["problem"].is_valid())
    empty = lost.filter(lost["number"].is_null()).select(["id", "problem"]).to_pylist()
    damaged = lost.filter(lost["number"].is_valid())["id"].to_pylist()
    noticed = table.filter(table["notice"].is_valid())
    names = table["record"].to_pylist()
    return {
        "pictures": len(table) - len(lost), "empty": empty, "damaged": dict(Counter(damaged)),
        "slides": dict(zip(noticed["id"].to_pylist(), noticed["notice"].to_pylist(), strict=True)),
        "blank": sorted(table.filter(pc.fill_null(table["blank"], False))["record"].unique().to_pylist()),
        "squared": squared_among(names, table), "said": said_among(names, table),
    }  # fmt: skip


def _predicted(
    table: pa.Table, fit: Sequence[Bag], test: Sequence[Bag], classes: Sequence[str], seed: int
) -> tuple[list[npt.NDArray[np.float64] | None], pa.Table, dict[str, Any]]:
    """Return the probabilities of each test bag (None: it has no picture), the attention of their pictures, and what was done."""
    from healthfm.adapt import mil

    vectors = mil.bags(table, "bag")
    known = [i for i in range(len(fit)) if i in vectors]
    asked = [i for i in range(len(test)) if len(fit) + i in vectors]
    if not asked:
        raise RunError(f"nothing can be evaluated: {table['problem'].drop_null()[-1]}")
    shares, weights, how = mil.attention_mil(
        [vectors[i] for i in known], [fit[i].label for i in known], [vectors[len(fit) + i] for i in asked], classes,
        [fit[i].group for i in known], seed,
    )  # fmt: skip
    told = dict(zip(asked, shares, strict=True))
    rows = pc.and_(pc.greater_equal(table["bag"], len(fit)), table["problem"].is_null())
    attention = table.select(SHOWN).filter(rows).append_column("weight", pa.array(np.concatenate(weights)))
    return [told.get(i) for i in range(len(test))], attention, how
