"""The catalogue: every card on this machine, found by free text, by filters, by name or alias.

Cards are TOML files in ``healthfm/cards/{models,datasets}`` and in the folders of ``HEALTHFM_CARDS``. Searching works
on plain dictionaries, kept in one JSON file under ``HEALTHFM_HOME`` until a card changes, so that ``healthfm find``
answers at once; a card that is handed out has been validated.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import warnings
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
_VALID: dict[tuple[str, int], ModelCard | DatasetCard] = {}
FORMS = (
    "hf",
    "endpoint",
    "python",
    "baseline",
)  # what names of models without a card begin with (``healthfm.models.own``)
OWN_DATA = "; your own data: a path such as ./ward.csv; your own card: HEALTHFM_CARDS=FOLDER"
OWN_MODELS = (
    "; a folder of yours: hf:./folder; a server: endpoint:URL#MODEL; your own code: python:module:function; "
    "your own card: HEALTHFM_CARDS=FOLDER"
)


Stats = tuple[tuple[str, int, int], ...]  # of each file its path, time and size


def card_files() -> list[str]:
    """Return every card's path: the shipped ones, then those of the folders in ``HEALTHFM_CARDS``, sorted."""
    return [path for path, _, _ in _stats()]


def _stats() -> Stats:
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


def parse(path: Path) -> Entry:
    """Read one card file into a plain dictionary, with its ``kind`` and ``path`` set."""
    import tomllib

    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}") from None
    top = next(part for part in reversed(path.parts) if part in KINDS)
    entry.setdefault("kind", KINDS[top])
    entry["path"] = str(path)
    if entry.get("slug") != path.stem:
        raise CardError(f"{path}: slug is {entry.get('slug')!r}, the file says {path.stem!r}")
    return entry


@functools.cache
def _parsed(path: str, _time: int, _size: int) -> Entry:
    return parse(Path(path))


@functools.cache
def _entries(stats: Stats) -> tuple[dict[tuple[str, str], Entry], dict[str, str]]:
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
    return _entries(_stats())[0]


def broken() -> dict[str, str]:
    """Return what is wrong with each file of ``HEALTHFM_CARDS`` that is no card, by path; all others are listed without it."""
    return _entries(_stats())[1]


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


def is_shipped(slug: str) -> bool:
    """Say whether a model's card is one of the package's, not one of ``HEALTHFM_CARDS`` or of none."""
    entry = entries().get(("model", slug))
    return entry is not None and Path(entry["path"]).is_relative_to(SHIPPED)


def is_known(model: ModelCard) -> bool:
    """Say whether a model's card is one of the catalogue's, not one that a caller made under whatever name."""
    return ("model", model.slug) in entries() and card(model.slug, "model") == model


def split_name(name: str) -> tuple[str, str | None, str | None]:
    """Split ``slug[:variant][@protocol]`` into its three parts."""
    head, _, protocol = name.partition("@")
    slug, _, variant = head.partition(":")
    return slug.strip(), variant.strip() or None, protocol.strip() or None


@functools.lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9一-鿿]+", "", text.lower())


@functools.cache
def _named(stats: Stats) -> dict[str, list[Entry]]:
    """Return the entries that each plain form of a slug, name or alias means."""
    found: dict[str, list[Entry]] = {}
    for entry in _entries(stats)[0].values():
        for plain in {_plain(one) for one in (entry["slug"], entry["name"], *entry.get("aliases", ()))}:
            found.setdefault(plain, []).append(entry)
    return found


def check_kind(kind: str | None) -> None:
    """Refuse a kind that is neither None, "model" nor "dataset"."""
    if kind is not None and kind not in KINDS.values():
        raise CardError(f"no kind is called '{kind}' (kinds: {', '.join(KINDS.values())})")


def lookup(name: str, kind: str | None = None) -> Entry:
    """Return the entry a slug, name or alias means; a miss raises ``CardError`` with near names."""
    check_kind(kind)
    slug, _, _ = split_name(name)
    stats = _stats()
    every, wrong = _entries(stats)
    wanted = [every[k, slug] for k in KINDS.values() if (k, slug) in every and kind in (None, k)]
    if not wanted:
        wanted = [e for e in _named(stats).get(_plain(slug), ()) if kind in (None, e["kind"])]
    meant = {slug, *(entry["slug"] for entry in wanted)}
    for path, said in wrong.items():  # also where another card has the name: which one was meant is not known
        if Path(path).stem in meant and kind in (None, *(KINDS[part] for part in Path(path).parts if part in KINDS)):
            raise CardError(said)
    if len(wanted) == 1:
        return wanted[0]
    if wanted:
        raise CardError(
            f"'{name}' is both: " + ", ".join(f"{e['kind']} {e['slug']}" for e in wanted) + "; say which kind"
        )
    import difflib

    if kind != "dataset" and slug in FORMS:
        raise CardError(
            f"'{name}' is a model without a card: evaluate, generate, embed, contamination and --judge take it; what is asked here "
            "is written on cards"
        )
    names = {
        n.lower(): e["slug"]
        for e in every.values()
        for n in (e["slug"], e["name"], *e.get("aliases", ()))
        if kind in (None, e["kind"])
    }
    near = list(dict.fromkeys(names[n] for n in difflib.get_close_matches(slug.lower(), names, n=5, cutoff=0.55)))
    hint = f"; near names: {', '.join(near)}" if near else ""
    more = OWN_MODELS if kind == "model" else OWN_DATA
    raise CardError(f"no {kind or 'model or dataset'} is called '{slug}'{hint} (healthfm find lists them{more})")


def validated(entry: Entry) -> ModelCard | DatasetCard:
    """Return an entry's card; it is validated once while its file stays as it is."""
    state = (entry["path"], Path(entry["path"]).stat().st_mtime_ns)
    if state not in _VALID:
        _VALID[state] = validate(entry)
    return _VALID[state]


def card(name: str, kind: str | None = None) -> ModelCard | DatasetCard:
    """Return the card a name or alias means.

    ``name`` is ``slug[:variant][@protocol]``; ``kind`` is "model" or "dataset" where both have the name.
    Raises ``CardError``: no such row (with near names), or an unknown variant or protocol (with the known ones).
    """
    entry = lookup(name, kind)
    found = validated(entry)
    _, variant, protocol = split_name(name)
    if variant is not None and variant not in found.variants:
        known = ", ".join(found.variants) or "none"
        raise CardError(f"{found.slug} has no variant '{variant}' (variants: {known})")
    part = found.variants.get(variant or found.default_variant or "")
    if part is not None and part.row is not None and protocol is not None:
        card(f"{part.row}@{protocol}", kind)  # a part that is a row of its own is asked by that row's protocols
        return found
    protocols = getattr(found, "protocols", {})
    if protocol is not None and protocol not in protocols:
        raise CardError(f"{found.slug} has no protocol '{protocol}' (protocols: {', '.join(protocols) or 'none'})")
    return found


def all_cards(kind: str | None = None) -> Iterator[ModelCard | DatasetCard]:
    """Yield every card, validated."""
    for entry in entries().values():
        if kind in (None, entry["kind"]):
            yield validated(entry)


_WEIGHTS = (("slug", 12), ("name", 12), ("aliases", 10), ("tasks", 5), ("modalities", 5), ("group", 4), ("summary", 3))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[一-鿿]", text.lower())


def _relevance(entry: Entry, words: list[str]) -> float:
    """Every word must occur somewhere; where it occurs, and whether as a whole word, makes the rank."""
    everything = json.dumps({k: v for k, v in entry.items() if k != "path"}, ensure_ascii=False).lower()
    if not all(word in everything for word in words):
        return 0.0
    score = float(len(words))
    for field, weight in _WEIGHTS:
        value = entry.get(field, "")
        tokens = _words(" ".join(value) if isinstance(value, list) else str(value))
        for word in words:
            if word in tokens:
                score += 2.0 * weight
            elif any(token.startswith(word) for token in tokens):
                score += 1.2 * weight
    return score


def search(
    text: str = "", *, kind: str | None = None, group: str | None = None, modality: str | None = None,
    task: str | None = None, access: str | None = None, licence: str | None = None, has_runner: bool | None = None,
) -> list[Entry]:  # fmt: skip
    """Return the entries that match, most relevant first (see ``find``); plain dictionaries, nothing validated."""
    check_kind(kind)
    words = _words(text)
    found: list[tuple[float, str, Entry]] = []
    for entry in entries().values():
        licences = " ".join(one.get("name", "") for one in entry.get("licences", ())).lower()
        keep = (
            kind in (None, entry["kind"])
            and (group is None or group.lower() == entry.get("group", ""))
            and (modality is None or modality.lower() in entry.get("modalities", ()))
            and (task is None or any(task.lower() in one.lower() for one in entry.get("tasks", ())))
            and (access is None or access.lower() == entry.get("access"))
            and (licence is None or licence.lower() in licences)
            and (has_runner is None or has_runner == runnable(entry))
        )
        if not keep:
            continue
        score = _relevance(entry, words) if words else 1.0
        if score:
            found.append((-score, entry["slug"], entry))
    return [entry for _, _, entry in sorted(found, key=lambda hit: (hit[0], hit[1], hit[2]["kind"]))]


def runnable(entry: Entry) -> bool:
    """Whether healthfm can run the model, or read the dataset, that this entry describes."""
    if entry["kind"] == "model":
        return "run" in entry
    return bool(entry.get("reader")) or any(one.get("row") for one in entry.get("variants", {}).values())


def find(
    text: str = "", *, kind: str | None = None, group: str | None = None, modality: str | None = None,
    task: str | None = None, access: str | None = None, licence: str | None = None, has_runner: bool | None = None,
) -> list[ModelCard | DatasetCard]:  # fmt: skip
    """Find cards by free text and filters, most relevant first.

    Every word of ``text`` must occur on the card; a word in the name counts more than one in a summary.
    ``kind``: "model" or "dataset"; ``group``, ``modality``, ``access``: the card's words; ``task``, ``licence``:
    a part of them; ``has_runner``: only rows that can (True) or cannot (False) be run or read by this version. Files of ``HEALTHFM_CARDS``
    that are no cards are left out, each with a warning.
    """
    for said in broken().values():
        warnings.warn(f"left out: {said}", stacklevel=2)
    hits = search(
        text,
        kind=kind,
        group=group,
        modality=modality,
        task=task,
        access=access,
        licence=licence,
        has_runner=has_runner,
    )
    return [validated(entry) for entry in hits]
