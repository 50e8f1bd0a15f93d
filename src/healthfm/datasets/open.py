"""``open_dataset``: the door to official files, and to one's own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.locate import AbsentFile, Tree, locate, wanted
from healthfm.datasets.own.opening import open_own
from healthfm.datasets.reader import reader_of
from healthfm.errors import CardError, DatasetError
from healthfm.formats.source import Problems, plain_name
from healthfm.home import home
from healthfm.records import Record


def own_path(name: str | Path) -> Path | None:
    """Return the path of own data that is meant, or None where it is a name: a table's name, a file that is there, anything with a slash."""
    if isinstance(name, Path):
        return name
    looks_like_path = (
        "/" in name
        or name.startswith(".")
        or ("." in name and Path(name).is_file())  # e.g. an .xlsx: the reader says what it takes instead
        or plain_name(name).endswith((".csv", ".tsv", ".jsonl", ".parquet", ".toml"))
    )
    return Path(name) if looks_like_path else None


def open_dataset(
    name: str | Path, root: Path | str | None = None, split: str | None = None,
    on_error: Literal["raise", "collect"] = "raise", columns: Mapping[str, Any] | None = None,
) -> Dataset:  # fmt: skip
    """Open a dataset by name, or one's own data by path.

    ``name``: ``slug[:variant][@protocol]`` of a card, or a ``Path``, or its text where that has a slash or is a table's name: a folder with a ``dataset.toml``, a folder of
    class folders, or a CSV, TSV, Parquet or JSON-lines manifest (``columns`` maps record fields to its column names).
    ``root``: the folder with the official files, packed or not (default ``HEALTHFM_HOME/datasets/SLUG``).
    ``split``: select one; ``on_error="collect"`` lists unreadable rows in ``.errors`` instead of stopping at the first.
    Raises ``CardError`` (unknown name), ``DatasetError`` (files absent, ambiguous or damaged).
    """
    if on_error not in ("raise", "collect"):
        raise DatasetError(f"on_error is '{on_error}'; use 'raise' or 'collect'")
    path = own_path(name)
    if path is not None:
        opened = open_own(path, columns, on_error)
        opened.path, opened.columns = path, dict(columns or {})
    else:
        assert isinstance(name, str)
        if columns:
            raise DatasetError(f"{name}: columns are those of a table of your own; its card says where everything is")
        opened = _open_card(name, root, on_error)
    return opened if split is None else opened[split]


def _unread(card: DatasetCard, variant: str | None) -> DatasetError:
    about = f" ({card.variants[variant].summary})" if variant in card.variants else ""
    named = {file.variant for file in card.files}
    read = ", ".join(name for name, one in card.variants.items() if name in named or one.row)
    return DatasetError(f"{card.slug}:{variant}: this part is not read yet{about}; parts that are: {read or 'none'}")


def _open_card(name: str, root: Path | str | None, on_error: Literal["raise", "collect"]) -> Dataset:
    try:
        card = catalog.card(name, "dataset")
    except CardError as error:
        own = f"; {name} is a file or folder of your own: give it as a pathlib.Path" if Path(name).exists() else ""
        raise CardError(f"{error}{own}") from None
    assert isinstance(card, DatasetCard)
    _, named, protocol = catalog.split_name(name)
    variant = named or card.default_variant
    if variant in card.variants and (row := card.variants[variant].row):
        try:
            return _open_card(f"{row}@{protocol}" if protocol else row, root, on_error)
        except AbsentFile as error:
            if named is None and (here := _parts_here(card, variant, root)):
                raise DatasetError(
                    f"{name}: '{variant}' is not {f'in {root}' if root else 'at home'}, but {', '.join(here)} {'is' if len(here) == 1 else 'are'}: name one ({card.slug}:{here[0]})"
                ) from error
            raise
    whole, card = card, card.of_variant(variant)
    reader = reader_of(card)
    folder = Path(root).expanduser() if root is not None else home() / "datasets" / card.slug
    tree = Tree(folder)
    present, reasons = _present(card, variant, tree)
    instead = None
    if not present and named is None:
        here = [
            one
            for one in whole.variants
            if one != variant and not whole.variants[one].row and _present(whole.of_variant(one), one, tree)[0]
        ]
        if len(here) > 1:
            raise DatasetError(
                f"{name}: '{variant}' is not in {folder}, but {', '.join(here)} are: name one ({card.slug}:{here[0]})"
            )
        if here:
            instead = f"{card.slug}: '{variant}', which is meant where none is named, is not in {folder}; '{here[0]}' is, and is read"
            variant, card = here[0], whole.of_variant(here[0])
            present, reasons = _present(card, variant, tree)
    if not present:
        raise reasons[0] if reasons else _unread(card, variant)

    def read(split: str, problems: Problems) -> Iterator[Record]:
        return reader(locate(card, tree, variant, split, problems), split)

    return Dataset(
        card, read, tuple(present), variant=variant, protocol=protocol, root=folder, on_error=on_error,
        remarks=[one for one in (instead, card.caution) if one],
    )  # fmt: skip


def _parts_here(suite: DatasetCard, but: str, root: Path | str | None) -> list[str]:
    """Return the parts of a suite, beside one, that are rows of their own and stand in a folder."""
    here = []
    for part, one in suite.variants.items():
        if one.row and part != but:
            with suppress(CardError, DatasetError):
                _open_card(one.row, root, "raise")
                here.append(part)
    return here


def _present(card: DatasetCard, variant: str | None, tree: Tree) -> tuple[list[str], list[AbsentFile]]:
    """Return the splits of a variant whose files are there, and why others are not."""
    present, reasons = list[str](), list[AbsentFile]()
    for split in card.splits:
        if all(
            file.optional for file, _ in wanted(card, variant, split)
        ):  # a split of nothing but what may be absent is no split of this variant
            continue
        try:
            locate(card, tree, variant, split, Problems())
            present.append(split)
        except AbsentFile as error:
            reasons.append(error)
    return present, reasons
