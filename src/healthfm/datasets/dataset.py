"""``Dataset``: the records of official files, or of one's own, by split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from healthfm import notebook
from healthfm.cards.schema import DatasetCard
from healthfm.datasets.summary import Tally
from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import Problems, Source
from healthfm.formats.walk import Passed, told
from healthfm.records import Mark, Record, Timeline, Volume

if TYPE_CHECKING:
    import datasets
    import pandas
    import pyarrow as pa
    import torch.utils.data


LATER = ("labels", "spans", "status")  # of a turn or a span: left out of a table where they say nothing


@dataclass(frozen=True)
class Division:
    """How records were divided: the rule's name with its seed, how many are in each split and in none, and a digest of who is where."""

    name: str
    sizes: Mapping[str, int]
    left_out: int
    digest: str


class Dataset:
    """Records of one dataset, read lazily from files.

    Iterate it for the records of the selected split (of every present split when none was selected);
    ``ds["train"]`` selects; ``len`` counts by reading. ``errors`` lists rows that could not be read when opened with
    ``on_error="collect"``; ``notices`` what the reader found different from the card; ``passed_over`` the files of own data that are
    no records, with the reason. All fill while iterating.
    ``path`` and ``columns`` say how own data was opened; ``remarks`` are notices that stand before any record is read; ``doubt`` says
    what its owner must decide before it can be asked by default, "" where there is nothing;
    ``stated`` is the card without what was guessed. ``division``: how records that came without splits were divided (``splits.divide``).
    """

    def __init__(
        self, card: DatasetCard, read: Callable[[str, Problems], Iterator[Record]], splits: tuple[str, ...], *,
        variant: str | None = None, protocol: str | None = None, root: Path | None = None, split: str | None = None,
        on_error: Literal["raise", "collect"] = "raise", path: Path | None = None, columns: Mapping[str, Any] | None = None,
        passed_over: Sequence[Passed] = (),
        remarks: Sequence[str] = (), doubt: str = "", stated: DatasetCard | None = None,
        division: Division | None = None,
    ) -> None:  # fmt: skip
        self.remarks, self.doubt, self.stated, self.division = tuple(remarks), doubt, stated or card, division
        self.path, self.columns = path, dict(columns or {})
        self.card, self.variant, self.protocol, self.root, self.splits = card, variant, protocol, root, splits
        self.split, self.on_error = split, on_error
        self.errors: list[DatasetError] = []
        self.notices: list[str] = []
        self.passed_over = list(passed_over)
        self._passed_over = tuple(passed_over)
        self._read = read
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.split or '+'.join(self.splits)} from {self.root}>"

    @property
    def name(self) -> str:
        """``slug[:variant]``."""
        return self.card.slug + (f":{self.variant}" if self.variant else "")

    @property
    def selected(self) -> tuple[str, ...]:
        """The splits that iteration covers."""
        return self.splits if self.split is None else (self.split,)

    def _repr_html_(self) -> str:
        counts = self.card.counts.get(self.variant or "default", {})
        return notebook.facts(self.name, [
            ("what", self.card.summary), ("record", self.card.record), ("from", self.root),
            *((f"split {split}", f"{counts[split]:,} records, says the card" if split in counts else "here") for split in self.selected),
        ])  # fmt: skip

    @overload
    def __getitem__(self, split: str) -> Dataset: ...
    @overload
    def __getitem__(self, split: int) -> Record: ...
    def __getitem__(self, split: str | int) -> Dataset | Record:
        """Return the dataset with one split selected, the owner's word for it works too; or, of a number, that record, from 0.

        A record is read from the files each time, with all before it. Raises ``IndexError``: there are not so many.
        """
        if isinstance(split, int):
            found = next(itertools.islice(self, split, None), None) if split >= 0 else None
            if found is None:
                raise IndexError(f"{self.name}: no record {split} (they count from 0)")
            return found
        name = split_name(self.card, split)
        if name not in self.splits:
            raise DatasetError(f"{self.name} has no split '{split}' here (present: {', '.join(self.splits) or 'none'})")
        return Dataset(
            self.card, self._read, self.splits, variant=self.variant, protocol=self.protocol, root=self.root,
            split=name, on_error=self.on_error, path=self.path, columns=self.columns, passed_over=self._passed_over,
            remarks=self.remarks, doubt=self.doubt, stated=self.stated, division=self.division,
        )  # fmt: skip

    def first(self, count: int) -> Dataset:
        """Return the dataset with the first ``count`` records of each split; nothing is said of the card's counts then."""

        def read(split: str, problems: Problems) -> Iterator[Record]:
            return itertools.islice(self._read(split, problems), count)

        card = self.card.model_copy(update={"counts": {}})
        return Dataset(
            card, read, self.splits, variant=self.variant, protocol=self.protocol, root=self.root, split=self.split,
            on_error=self.on_error, path=self.path, columns=self.columns, passed_over=self._passed_over, remarks=self.remarks,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Record]:
        self.errors, self.notices, self.passed_over = [], list(self.remarks), list(self._passed_over)
        kept: dict[Source, Any] | None = {} if len(self.selected) > 1 else None
        for split in self.selected:
            problems = Problems(self.on_error, kept=kept)
            seen: set[str] = set()
            for record in self._whole(split, problems):
                if record.id in seen:
                    problems.add(DatasetError(f"{self.name}, split {split}: the id '{record.id}' occurs twice"))
                    continue
                seen.add(record.id)
                yield record
            self._finish(split, len(seen), problems)
        self.notices += filter(None, [told(self.passed_over)])

    def _whole(self, split: str, problems: Problems) -> Iterator[Record]:
        """Yield a split's records; damage that ends a file is one more problem where problems are collected."""
        try:
            yield from self._read(split, problems)
        except DatasetError as error:
            problems.add(error)

    def _finish(self, split: str, count: int, problems: Problems) -> None:
        self._counts[split] = count
        known = set(map(str, self.errors))  # a table of several splits is read for each of them
        self.errors += [error for error in problems.found if str(error) not in known]
        left = set(self.passed_over)
        self.passed_over += [one for one in problems.passed if one not in left]
        self.notices += problems.notices
        expected = self.card.counts.get(self.variant or "default", {}).get(split)
        if expected is not None and expected != count:
            self.notices.append(f"{self.name}, split {split}: {count} records read, the card says {expected}")

    def __len__(self) -> int:
        if any(split not in self._counts for split in self.selected):
            for _ in self:
                pass
        return sum(self._counts[split] for split in self.selected)

    def summary(self, seen: Sequence[Any] = ()) -> dict[str, Any]:
        """Read everything once; return counts per split beside the card's, labels, patients, lengths, missing values, rows not read, notices.

        ``seen``: whatever else looks at the records as they pass (each has a method ``see``); a ``Tally`` among them is the one told.
        """
        tally = next((one for one in seen if isinstance(one, Tally)), None) or Tally()
        watching = [tally, *(one for one in seen if one is not tally)]
        for record in self:
            self._hold_in_place(record)
            for one in watching:
                one.see(record)
        counts = self.card.counts.get(self.variant or "default", {})
        return {
            "dataset": self.name, "root": str(self.root), "record": ", ".join(tally.kinds) or self.card.record,
            "splits": {s: {"records": self._counts[s], "card": counts.get(s)} for s in self.selected},
            "absent_splits": [s for s in self.card.splits if s not in self.splits],
            **tally.told(),
            "errors": [str(error) for error in self.errors], "notices": [n for n in self.notices if n != told(self.passed_over)],
            "passed_over": [{"file": file, "reason": reason} for file, reason in self.passed_over],
        }  # fmt: skip

    def _hold_in_place(self, record: Record) -> None:
        """Note a volume whose header, or whose slices' headers, give it no place: it could never be shown."""
        if isinstance(record, Volume):
            try:
                _ = record.affine
            except DatasetError as error:
                if self.on_error == "raise":
                    raise
                self.errors.append(error)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for record in self:
            yield as_row(record)

    def to_arrow(self) -> pa.Table:
        """Return the selected records as an Arrow table; options, labels and meta are JSON text, pixels are left out."""
        import pyarrow as pa

        rows = list(self._rows())
        if not rows:
            raise DatasetError(f"{self.name}: no records to convert")
        return pa.Table.from_pylist(rows)

    def to_parquet(self, path: Path | str) -> Path:
        """Write the selected records as one Parquet file and return its path."""
        import pyarrow.parquet as pq

        pq.write_table(self.to_arrow(), path)
        return Path(path)

    def to_meds(self, path: Path | str) -> list[str]:
        """Write selected timelines as a MEDS dataset and return what to know of it (see ``healthfm.datasets.meds``)."""
        from healthfm.datasets import meds

        return meds.write(self, path)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the selected records as a pandas table (columns as in ``to_arrow``)."""
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise MissingExtra("models", "pandas") from None
        return self.to_arrow().to_pandas()

    def to_hf(self) -> datasets.Dataset:
        """Return a Hugging Face ``datasets.Dataset`` of the selected records (columns as in ``to_arrow``)."""
        try:
            import datasets
        except ImportError:
            raise MissingExtra("models", "the datasets package") from None
        return datasets.Dataset(self.to_arrow())

    def to_torch(self) -> torch.utils.data.Dataset[Record]:
        """Return a map-style ``torch.utils.data.Dataset`` of the selected records; pixels stay lazy."""
        try:
            from torch.utils.data import Dataset as TorchDataset
        except ImportError:
            raise MissingExtra("models", "torch") from None
        records = list(self)

        class Records(TorchDataset[Record]):
            def __len__(self) -> int:
                return len(records)

            def __getitem__(self, index: int) -> Record:
                return records[index]

        return Records()


def as_row(record: Record) -> dict[str, Any]:
    """Return a record as a flat row: text, numbers, and JSON text for mappings."""
    import json

    row: dict[str, Any] = {}
    for one in fields(record):
        value = getattr(record, one.name)
        if callable(value) or one.name in ("media", "masks", "ratio", "load", "codes", "layers", "runs"):
            continue
        if isinstance(value, Mapping | tuple):
            value = json.dumps(value, ensure_ascii=False, default=_plain)
        row[one.name] = value
    if isinstance(record, Timeline):
        row["events"] = json.dumps(record.events.to_pylist(), ensure_ascii=False, default=str)
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, Mark):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in fields(value)}
        return {name: one for name, one in held.items() if one or name not in LATER}
    return str(value)


def split_name(card: DatasetCard, split: str) -> str:
    """Return our name of a split, given ours or the owner's."""
    if split in card.splits or split not in card.splits.values():
        return split
    return next(ours for ours, theirs in card.splits.items() if theirs == split)
