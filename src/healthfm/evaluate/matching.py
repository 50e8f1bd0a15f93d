"""Retrieval of pictures by texts and of texts by pictures: what belongs together among all of a split's, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from healthfm.embed import identity
from healthfm.embed.plan import matrix
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.embedded import Embedded, said
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, left_out, sample_columns, subgroup_columns
from healthfm.evaluate.probes import size_of
from healthfm.models.model import Model
from healthfm.records import Record, TextRecord, Visual, unit_of
from healthfm.score.kinds.matches import PICTURES, picture_id
from healthfm.score.metrics import matching
from healthfm.spelling import counted

TASK = "image-text-retrieval"


@dataclass(frozen=True, kw_only=True)
class Matched(Embedded):
    """Pictures, the first ``count`` inputs, and texts; ``pairs``: (picture, text) that belong together, by their places on their sides."""

    count: int
    pairs: Sequence[tuple[int, int]]
    ways: Sequence[str] = tuple(PICTURES)
    nouns: tuple[str, str] = ("images", "texts")

    def fits(self, model: Model) -> None:
        """Raise ``CapabilityError``: the model does not take both sides."""
        if not (
            any(issubclass(one, Visual) for one in model.takes)
            and any(issubclass(one, TextRecord) for one in model.takes)
        ):
            raise CapabilityError(f"{model.name} has no space that pictures and texts share, which this task needs")

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Any:
        self.fits(model)
        return super().tool(model, settled)

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        vectors, count = matrix(table), self.count
        try:
            both = matching.ranks(vectors[:count], vectors[count:], self.pairs)
        except ValueError as error:
            raise RunError(f"the vectors cannot be compared: {error}") from None
        ids, places = [record.id for record in self.records], [range(count), range(count, len(self.records))]
        first = [ids[places[1 - side][int(i)]] for side, one in enumerate(both) for i in one.first]
        inputs = table["input"].to_pylist()
        found = pa.table({
            **sample_columns(self.records, self.targets, [one or self.records[i].digest() for i, one in enumerate(inputs)]),
            "direction": pa.array([way for way, rows in zip(self.ways, places, strict=True) for _ in rows], pa.string()),
            "ranks": pa.array([row.tolist() for one in both for row in one.found], pa.list_(pa.int64())),
            "prediction": pa.array(first, pa.string()), **self.columns,
        })  # fmt: skip
        told = said(table.slice(0, count), ids[:count]) | (
            {"cut": cut} if (cut := sum(table["cut"].to_pylist())) else {}
        )
        sizes = {self.nouns[0]: count, self.nouns[1]: len(ids) - count, "pairs": len(self.pairs)}
        return Finished(
            found,
            {
                "retrieval": "cosine of embeddings, exact ranks",
                **sizes,
                **told,
                "arithmetic": settled.get("arithmetic", {}),
            },
        )


def belongs(records: Sequence[Record]) -> bool:
    """Say whether records are pictures with texts."""
    return any(isinstance(one, TextRecord) and one.media for one in records)


def prepare(ask: Ask, records: Sequence[Record], notices: Sequence[str]) -> Job:
    """Return the job of ranking the texts of a split for each of its pictures, and the pictures for each text.

    Equal texts are one, which belongs to the pictures of all of them, and so are equal pictures. A limit draws records, and what is
    ranked is theirs alone.
    """
    whole = [one for one in records if isinstance(one, TextRecord) and one.media and one.as_text.strip()]
    if not whole:
        raise RunError(f"{ask.opened.name}: no record of split '{ask.split}' has both a picture and a text")
    kept = set(map(id, whole))
    lost = left_out(
        [one for one in records if id(one) not in kept],
        "record has no picture, or no text,",
        "records have no picture, or no text,",
    )
    chosen = [whole[i] for i in protocols.sample(len(whole), ask.request.limit, ask.request.seed)]
    sources = iter(identity.of_records([one for record in chosen for one in record.media]))
    pictures: dict[str, tuple[Record, str]] = {}
    texts: dict[str, Record] = {}
    pairs: dict[tuple[str, str], None] = {}
    for record in chosen:
        text, own = record.as_text.strip(), unit_of(record)
        texts.setdefault(text, replace(record, patient=own))
        for number, one in enumerate(record.media):
            source = next(sources)
            name = picture_id(record.id, number)
            asked = replace(
                one, id=name, patient=one.patient or own, site=record.site, labels=record.labels, meta=record.meta
            )
            pictures.setdefault(source or name, (asked, source))
            pairs[source or name, text] = None
    place = [{key: i for i, key in enumerate(side)} for side in (pictures, texts)]
    joined = [(place[0][a], place[1][b]) for a, b in pairs]
    rows = [*(one for one, _ in pictures.values()), *texts.values()]
    targets: list[list[str]] = [[] for _ in rows]
    for a, b in joined:
        targets[a].append(rows[len(pictures) + b].id)
        targets[len(pictures) + b].append(rows[a].id)
    inputs: list[str | Record] = [*(one for one, _ in pictures.values()), *texts]
    return Matched(
        task=TASK, name=f"{ask.opened.name}#{ask.task}", records=rows, total=sum(1 + len(one.media) for one in whole), inputs=inputs, count=len(pictures), pairs=joined,
        sources=[*(source for _, source in pictures.values()), *([""] * len(texts))], targets=targets, columns=subgroup_columns(rows, ask.request.subgroups),
        parts=cut_parts([size_of(one) for one in inputs]), content=[[source for _, source in pictures.values()], list(texts), joined, [row.id for row in rows]],
        facts={"notices": [*notices, *lost, *_merged(chosen, pictures, texts), *_small(chosen, whole)], "noun": "query"},
    )  # fmt: skip


def _merged(chosen: Sequence[Any], pictures: Mapping[str, Any], texts: Mapping[str, Any]) -> list[str]:
    """Say how many texts and pictures were equal to others."""
    more = {"text": len(chosen) - len(texts), "picture": sum(len(one.media) for one in chosen) - len(pictures)}
    said = " and ".join(counted(n, what) for what, n in more.items() if n)
    return (
        [f"{said} are equal to others and count as one with them, which belongs to all that they belong to"]
        if said
        else []
    )


def _small(chosen: Sequence[Record], whole: Sequence[Record]) -> list[str]:
    if len(chosen) == len(whole):
        return []
    return [
        f"what is ranked is of {len(chosen):,} of {len(whole):,} records: among fewer all is found earlier, so compare no recall with that of the whole split"
    ]
