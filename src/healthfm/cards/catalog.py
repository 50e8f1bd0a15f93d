"""The catalogue: the card that a name or alias means, with its variant and protocol checked; where there is none, near names."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from healthfm.cards import files
from healthfm.cards.files import KINDS, SHIPPED, Entry, Stats
from healthfm.errors import CardError

if TYPE_CHECKING:
    from healthfm.cards.schema import DatasetCard, ModelCard

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


def is_shipped(slug: str) -> bool:
    """Say whether a model's card is one of the package's, not one of ``HEALTHFM_CARDS`` or of none."""
    entry = files.entries().get(("model", slug))
    return entry is not None and Path(entry["path"]).is_relative_to(SHIPPED)


def is_known(model: ModelCard) -> bool:
    """Say whether a model's card is one of the catalogue's, not one that a caller made under whatever name."""
    return ("model", model.slug) in files.entries() and card(model.slug, "model") == model


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
    for entry in files.told(stats)[0].values():
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
    stats = files.stats()
    every, wrong = files.told(stats)
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
        _VALID[state] = files.validate(entry)
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
    for entry in files.entries().values():
        if kind in (None, entry["kind"]):
            yield validated(entry)
