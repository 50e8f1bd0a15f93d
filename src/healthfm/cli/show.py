"""``healthfm show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from healthfm.cli.console import emit_fields, emit_json
from healthfm.cli.options import JsonFlag, row_names

if TYPE_CHECKING:
    from healthfm.cards.schema import DatasetCard, ModelCard, Variant


def register(app: typer.Typer) -> None:
    @app.command()
    def show(
        name: Annotated[str, typer.Argument(help="A slug, name or alias.", autocompletion=row_names())],
        kind: Annotated[str | None, typer.Option(help="model or dataset, where both have the name.")] = None,
        data_card: Annotated[
            bool, typer.Option("--data-card", help="Of a dataset: its card as a page of Markdown.")
        ] = False,
        json: JsonFlag = False,
    ) -> None:
        """Show what is known of a model or dataset, and how well each fact was checked.

        Example: healthfm show pubmedqa
        """
        from healthfm.cards import catalog

        card = catalog.card(name, kind)
        if data_card:
            print(page(card), end="")
            return
        if json:
            emit_json(told(card))
            return
        print(f"{card.name} ({card.kind} {card.slug})\n")
        fields = _common(card)
        fields += _model(card) if card.kind == "model" else _dataset(card)  # type: ignore[arg-type]
        fields += [
            ("corrections", list(card.corrections)),
            ("in the way", list(card.obstacles)),
            ("unverified", list(card.unverified)),
        ]
        emit_fields(fields)


def told(card: ModelCard | DatasetCard) -> dict[str, Any]:
    """Return everything that a card says."""
    found = card.model_dump(mode="json")
    if card.kind == "dataset":
        found["downloads"] = [one.model_dump(mode="json") for one in card.downloads]
    return found


def page(card: ModelCard | DatasetCard) -> str:
    """Return a dataset's card as Markdown. Raises ``CardError``: it is a model's."""
    from healthfm.datasets.export.data_card import data_card
    from healthfm.errors import CardError

    if card.kind == "model":
        raise CardError(f"{card.slug} is a model; --data-card is of datasets")
    return data_card(card)


def _mark(fact: Any) -> str:
    return "" if fact.checked in ("read", "run") else " (unverified)"


def _part(variant: Variant) -> str:
    """Say of a suite's part how it is read, and which row it is."""
    from healthfm.cards.coverage import READ

    said = [READ[variant.reads]] if variant.reads else []
    return (
        f" [{'; '.join((*said, *([f'the row {variant.row}'] if variant.row else [])))}]" if said or variant.row else ""
    )


def _common(card: ModelCard | DatasetCard) -> list[tuple[str, Any]]:
    return [
        ("what", card.summary), ("group", card.group), ("modalities", ", ".join(card.modalities)), ("tasks", ", ".join(card.tasks)),
        ("languages", ", ".join(card.languages)), ("also called", ", ".join(card.aliases)),
        ("listed in", [f"{one.list}: {one.section}{' / ' + one.subfield if one.subfield else ''} as {one.entry}" for one in card.lists]),
        ("papers", [f"{p.title}{f' ({p.year})' if p.year else ''} {p.url or ''}" for p in card.papers]),
        ("home", card.homepage), ("code", card.code), ("access", card.access),
        ("licences", [f"{one.name} ({one.covers}){_mark(one)}" for one in card.licences]),
        ("variants", [f"{name}{' (default)' if name == card.default_variant else ''}: {v.summary}{_part(v)}" for name, v in card.variants.items()]),
        ("runs here", "yes" if card.has_runner else "not yet"),
    ]  # fmt: skip


def _model(card: ModelCard) -> list[tuple[str, Any]]:
    return [
        ("network", card.architecture), ("keys and sizes from", card.keys_from),
        ("built on", ", ".join((*card.base, *card.base_models))),
        ("parameters", f"{card.parameters:,}" if card.parameters else None),
        ("weights", [f"{w.variant + ': ' if w.variant else ''}{w.hub or w.source}, {w.format}, {w.access}{_mark(w)}" for w in card.weights]),
        ("trained on", [
            f"{t.name}{' = ' + t.dataset if t.dataset else ''}{', ' + '/'.join(t.splits) + ' only' if t.splits else ''} ({t.stage}){_mark(t)}"
            for t in card.trained_on
        ]),
        ("published", [
            f"{r.dataset} {r.metric} {r.value:g}{r.unit}{' ' + r.variant if r.variant else ''}{' (' + r.protocol + ')' if r.protocol else ''}, {r.source}{_mark(r)}"
            for r in card.results
        ]),
        ("prompts", [f"{name}: {p.source}{_mark(p)}" for name, p in card.prompts.items()]),
    ]  # fmt: skip


def _dataset(card: DatasetCard) -> list[tuple[str, Any]]:
    def links(which: Any) -> list[str]:
        return [
            f"{one.dataset}: {one.what}{' (' + '/'.join(one.splits) + ' only)' if one.splits else ''}{', key ' + one.key if one.key else ''}{_mark(one)}"
            for one in which
        ]

    return [
        ("record", card.record), ("owner", card.owner), ("size", card.size),
        ("sharing", f"inputs {_may(card.may_show_inputs)}, outputs {_may(card.shareable_outputs)}, remote endpoints {_may(not card.stays_in_house)}"),
        ("splits", ", ".join(f"{ours} ({theirs})" if ours != theirs else ours for ours, theirs in card.splits.items())),
        ("counts", [f"{variant}: " + ", ".join(f"{s} {n:,}" for s, n in counts.items()) for variant, counts in card.counts.items()]),
        ("files", [f"{f.role}: {f.path}{' [' + f.variant + ']' if f.variant else ''}" for f in card.files]),
        ("to be had from", [f"{one.url}{' [' + one.variant + ']' if one.variant else ''}{_mark(one)}" for one in card.downloads]),
        ("labels", [f"{one.name} ({one.kind}{f', {one.variant}' if one.variant not in (None, one.name) else ''}): {', '.join(one.classes) or one.note or ''}" for one in card.labels]),
        ("layout from", list(card.layout_source)), ("layout", f"{card.layout_checked}"),
        ("protocols", [f"{n}{' (default)' if n == card.default_protocol else ''}: {p.summary} After {p.follows}" for n, p in card.protocols.items()]),
        ("contains", links(card.contains)), ("made from", links(card.derived_from)), ("overlaps", links(card.overlaps)),
        ("check against", ", ".join(card.check_against)),
    ]  # fmt: skip


def _may(allowed: bool) -> str:
    return "may" if allowed else "may not"
