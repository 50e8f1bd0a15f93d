"""Card files: those of the package and of the folders of ``HEALTHFM_CARDS``, read into plain dictionaries.

They are kept in one JSON file under ``HEALTHFM_HOME`` until a card changes, so that ``healthfm find`` answers at once; a card that is
handed out has been validated.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthfm.errors import CardError
from healthfm.home import home

if TYPE_CHECKING:
    from healthfm.cards.schema import DatasetCard, ModelCard

Entry = dict[str, Any]
KINDS = {"models": "model", "datasets": "dataset"}
SHIPPED = Path(__file__).parent
_CACHE_FORMAT = 2
Stats = tuple[tuple[str, int, int], ...]  # of each file its path, time and size


def card_files() -> list[str]:
    """Return every card's path: the shipped ones, then those of the folders in ``HEALTHFM_CARDS``, sorted."""
    return [path for path, _, _ in stats()]


def slugs(kind: str | None = None) -> list[str]:
    """Return the names of the cards of a kind (None: of all), by their files alone. Raises ``CardError``: ``HEALTHFM_CARDS`` names no folder of cards."""
    found = [Path(path) for path in card_files()]
    return sorted({one.stem for one in found if kind in (None, _kind(one))})


def stats() -> Stats:
    found = list(_shipped())
    for folder in [Path(p).expanduser() for p in os.environ.get("HEALTHFM_CARDS", "").split(os.pathsep) if p]:
        if not folder.is_dir():
            raise CardError(f"HEALTHFM_CARDS: no folder {folder}")
        if not any((folder / top).is_dir() for top in KINDS):
            raise CardError(f"HEALTHFM_CARDS: {folder} has neither a folder models nor a folder datasets")
        found += _below(folder)
    return tuple(sorted(found))


@functools.cache
def _shipped() -> Stats:
    """The package's own cards, which do not change while a program runs."""
    return tuple(_below(SHIPPED))


def _below(folder: Path) -> Iterator[tuple[str, int, int]]:
    for top in KINDS:
        for place, _, names in os.walk(folder / top):
            for name in names:
                if name.endswith(".toml") and not name.startswith("."):
                    path = os.path.join(place, name)  # noqa: PTH118  a Path a file makes every look-up slow
                    try:
                        one = os.stat(path)  # noqa: PTH116
                        yield path, one.st_mtime_ns, one.st_size
                    except OSError:
                        yield path, 0, 0  # a link to nothing: said when it is read


def _kind(path: Path) -> str:
    """Return what a card is of, by the folder that it lies in."""
    return KINDS[next(part for part in reversed(path.parts) if part in KINDS)]


def parse(path: Path) -> Entry:
    """Read one card file into a plain dictionary, with its ``kind`` and ``path`` set."""
    import tomllib

    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}") from None
    entry.setdefault("kind", _kind(path))
    entry["path"] = str(path)
    if entry.get("slug") != path.stem:
        raise CardError(f"{path}: slug is {entry.get('slug')!r}, the file says {path.stem!r}")
    return entry


@functools.cache
def _parsed(path: str, _time: int, _size: int) -> Entry:
    return parse(Path(path))


@functools.cache
def told(stats: Stats) -> tuple[dict[tuple[str, str], Entry], dict[str, str]]:
    """Return the entries, and why each file of ``HEALTHFM_CARDS`` that is none is left out, by path."""
    key = hashlib.sha256(repr((_CACHE_FORMAT, stats)).encode()).hexdigest()[:16]
    cache = home() / "cache" / f"cards-{key}.json"
    paths = [path for path, _, _ in stats]
    try:
        listed = json.loads(cache.read_text(encoding="utf-8"))
        if [entry["path"] for entry in listed] != paths:
            raise ValueError("not the cache of these cards")
        found = _told_apart(listed)
    except (OSError, ValueError, TypeError, KeyError):
        listed = _read(stats)
        found = _told_apart(listed)
        _write_cache(cache, listed)
    return found


def _told_apart(listed: list[Entry]) -> tuple[dict[tuple[str, str], Entry], dict[str, str]]:
    entries = {(entry["kind"], entry["slug"]): entry for entry in listed if "broken" not in entry}
    return entries, {entry["path"]: entry["broken"] for entry in listed if "broken" in entry}


def _read(stats: Stats) -> list[Entry]:
    """Return every card, in order; one of the user's that is none is its path and what is ``broken``. Raises ``CardError`` of a shipped card."""
    names: dict[tuple[str, str], str] = {}
    found: dict[str, Entry] = {}
    for one in sorted(
        stats, key=lambda one: not Path(one[0]).is_relative_to(SHIPPED)
    ):  # of one name the shipped card stays
        own = not Path(one[0]).is_relative_to(SHIPPED)
        try:
            entry = _parsed(*one)
            if own:
                validate(entry)  # the shipped cards are validated by their tests
            name = (entry["kind"], entry["slug"])
            if name in names:
                raise CardError(f"{one[0]}: {name[0]} '{name[1]}' already has a card, {names[name]}")
            names[name], found[one[0]] = one[0], entry
        except CardError as error:
            if not own:
                raise
            found[one[0]] = {"path": one[0], "broken": str(error)}
    return [found[path] for path, _, _ in stats]


def _write_cache(cache: Path, listed: list[Entry]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in cache.parent.glob("cards-*.json"):
            old.unlink(missing_ok=True)
        draft = cache.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(listed), encoding="utf-8")
        draft.replace(cache)
    except (OSError, TypeError):
        return  # a home that cannot be written only costs time


def entries() -> dict[tuple[str, str], Entry]:
    """Return every card as a plain dictionary, keyed by (kind, slug)."""
    return told(stats())[0]


def broken() -> dict[str, str]:
    """Return what is wrong with each file of ``HEALTHFM_CARDS`` that is no card, by path; all others are listed without it."""
    return told(stats())[1]


def validate(entry: Entry) -> ModelCard | DatasetCard:
    """Validate a plain card against the schema; errors name the file and the field."""
    from pydantic import ValidationError

    from healthfm.cards.schema import DatasetCard, ModelCard
    from healthfm.cards.schema.common import in_a_line

    fields = {k: v for k, v in entry.items() if k != "path"}
    try:
        return ModelCard(**fields) if entry["kind"] == "model" else DatasetCard(**fields)
    except ValidationError as error:
        raise CardError(f"{entry.get('path', entry.get('slug'))}: {in_a_line(error)}") from None
