"""A dataset's card as a page of Markdown, in the order of Hugging Face's dataset cards; what is not known says so."""

from __future__ import annotations

from typing import Any

from healthfm.cards.schema import DatasetCard

ACCESS = {
    "open": "open to everybody", "registration": "after registration with the owners", "credentialed": "to credentialed users only",
    "ids-only": "identifiers only", "recipe-only": "a recipe only", "unclear": "not clear", "closed": "never given out", "own": "the user's own data",
}  # fmt: skip


def data_card(card: DatasetCard, summary: dict[str, Any] | None = None) -> str:
    """Return the page. ``summary``: ``Dataset.summary()`` of a copy, whose counts then stand beside the card's."""
    parts = [f"# {_plain(card.name)}", _plain(card.summary)]
    parts += _section("Facts", _table(("", ""), _facts(card)))
    parts += _section(
        "Splits", _table(("variant", "split", "records (card)", "records (this copy)"), _splits(card, summary))
    )
    parts += _section("Labels", _table(("name", "kind", "values"), [
        (one.name, one.kind, ", ".join(one.classes) or one.note or "") for one in card.labels
    ]))  # fmt: skip
    parts += _section("Licence", _lines(
        f"{one.name} ({one.covers}){'' if one.checked in ('read', 'run') else ', **unverified**'}{f', {one.source}' if one.source else ''}" for one in card.licences
    ) or ["not known"])  # fmt: skip
    parts += _section("Privacy", _lines([privacy(card)]))
    parts += _section("Overlap with other datasets", _lines(overlaps(card)))
    parts += _section(
        "Known problems",
        _lines((*card.corrections, *card.obstacles, *(f"unverified: {one}" for one in card.unverified))),
    )
    parts += _section(
        "Files", _table(("role", "path", "format"), [(one.role, f"`{one.path}`", one.format) for one in card.files])
    )
    parts += _section(
        "Papers",
        _lines(
            f"{one.title}{f' ({one.year})' if one.year else ''}{f', {one.url}' if one.url else ''}"
            for one in card.papers
        ),
    )
    return "\n\n".join(parts) + "\n"


def privacy(card: DatasetCard) -> str:
    """Say what may be done with the records, as the card has it."""
    may = "may" if card.may_show_inputs else "may not"
    remote = "may not" if card.stays_in_house else "may"
    return f"Access: {ACCESS[card.access]}. Records {may} be shown in reports, and {remote} be sent to a server elsewhere without a word of the user."


def overlaps(card: DatasetCard) -> list[str]:
    """Return the ties to other datasets, one a line."""
    kinds = (("contains", card.contains), ("made from", card.derived_from), ("overlaps", card.overlaps))
    return [
        f"{kind} {one.dataset}: {one.what}{'' if one.checked in ('read', 'run') else ' (unverified)'}"
        for kind, links in kinds
        for one in links
    ]


def _facts(card: DatasetCard) -> list[tuple[str, str]]:
    rows = [
        ("owner", card.owner), ("home", card.homepage), ("code", card.code), ("access", ACCESS[card.access]), ("size", card.size),
        ("modalities", ", ".join(card.modalities)), ("tasks", ", ".join(card.tasks)), ("languages", ", ".join(card.languages)), ("record", card.record),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value]


def _splits(card: DatasetCard, summary: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    here = summary["splits"] if summary else {}
    variant = summary["dataset"].partition(":")[2] or "default" if summary else None
    counts = {name: dict(found) for name, found in card.counts.items()}
    if variant is not None:
        counts.setdefault(variant, {})
        counts[variant] = {**dict.fromkeys(here), **counts[variant]}
    return [
        (name, split, "" if n is None else f"{n:,}", f"{here[split]['records']:,}" if name == variant and split in here else "")
        for name, found in counts.items() for split, n in found.items()
    ]  # fmt: skip


def _section(title: str, body: list[str]) -> list[str]:
    return [f"## {title}", "\n".join(body)] if body else []


def _lines(items: Any) -> list[str]:
    return [f"- {_plain(one)}" for one in items]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    told = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(_plain(str(cell)).replace("|", "\\|") for cell in row) + " |" for row in told]


def _plain(text: str) -> str:
    """Return a text on one line, in which nothing begins a tag."""
    return " ".join(text.split()).replace("<", "&lt;")
