"""``healthfm weights``."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from healthfm.cli.console import emit_fields, emit_json
from healthfm.cli.fetch import carry_out, told_size
from healthfm.cli.options import JsonFlag, ListedModel

if TYPE_CHECKING:
    from healthfm.cards.schema import ModelCard
    from healthfm.fetch.plan import Plan
    from healthfm.models.files.weights import Place

STEPS = {
    "gated": "the owners give access on request: accept their terms at the hub page with an account, then log in (hf auth login)",
    "credentialed": "the owners give access to credentialed users: follow the source, then put the files into the folder",
    "drive": "the files lie on a drive: follow the source, then put them into the folder",
    "closed": "not to be had: the weights were never given out",
    "unreleased": "not to be had: the weights were never released",
}


def register(app: typer.Typer) -> None:
    @app.command()
    def weights(
        model: ListedModel,
        download: Annotated[
            bool, typer.Option("--download", help="Download them into the folder where they are looked for.")
        ] = False,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="With --download: state licence, files and sizes, and stop.")
        ] = False,
        json: JsonFlag = False,
    ) -> None:
        """Show where a model's weights are published, whether they are here, and the command that brings them; download them on request.

        A download goes on where it was stopped, is held against the hub's digests at one commit, and takes safetensors where there are any.

        Example: healthfm weights uni
        """
        from healthfm.cards import catalog
        from healthfm.cards.schema import ModelCard
        from healthfm.models.files.weights import places

        card = catalog.card(model, "model")
        assert isinstance(card, ModelCard)
        found = places(card, catalog.split_name(model)[1])
        if download or dry_run:
            carry_out(_plan(card, found), dry_run, json)
            return
        if json:
            emit_json([
                {
                    **one.weights.model_dump(mode="json"), "variant": one.variant, "folder": str(one.folder), "loads_from": str(one.loads_from) if one.loads_from else None,
                    "command": one.command, "step": STEPS.get(one.weights.access), "problem": one.problem,
                }
                for one in found
            ])  # fmt: skip
            return
        none = f"; access is {card.access}, there is nothing to load" if not found else ""
        print(f"{card.name}: {len(found)} published checkpoint{'' if len(found) == 1 else 's'}{none}\n")
        for one in found:
            told = one.weights
            hub = f"huggingface.co/{told.hub}" if told.hub else None
            emit_fields([
                ("variant", one.variant), ("published", hub or told.source), ("files", ", ".join(told.files)), ("format", told.format), ("size", _size(card, one, found)),
                ("access", told.access),
                ("licence", told.licence), ("digest", told.digest), ("note", told.note), ("checked", told.checked), ("looked for in", str(one.folder)),
                ("loads from", _here(one, found)), ("first", STEPS.get(told.access)),
            ])  # fmt: skip
            print(f"{one.command}\n" if one.command else "")  # on a line of its own, to be copied


def _other(place: Place, found: list[Place]) -> Place | None:
    """Return the published checkpoint that loads in this one's stead, by the name of its file."""
    name = place.loads_from.name if place.loads_from is not None else None
    theirs = [one for one in found if name in {PurePath(file).name for file in one.weights.files}]
    return None if place in theirs or not theirs else theirs[0]


def _size(card: ModelCard, place: Place, found: list[Place]) -> str | None:
    """Say how large a checkpoint is: as it lies here, else by the row's number of parameters; the hub knows bytes and commit."""
    from healthfm.models.files.weights import weight_files

    if place.loads_from is not None and _other(place, found) is None:
        return f"{told_size(sum(file.stat().st_size for file in weight_files(place.loads_from)))} here"
    asked = ["--dry-run asks the hub for bytes and commit"] if place.command and place.weights.hub else []
    if card.parameters is not None and place.variant in (None, card.default_variant):
        sizes = [told_size(bytes * card.parameters) for bytes in (2, 4)]
        asked.insert(0, f"about {sizes[0]} in 16 bits, {sizes[1]} in 32 ({card.parameters:,} numbers)")
    return "; ".join(asked) or None


def _here(place: Place, found: list[Place]) -> str:
    """Say from where a row's weights load now, and whether that is another of its published checkpoints."""
    if place.loads_from is None:
        return place.problem or "nowhere: it is not here"
    other = _other(place, found)
    return f"{place.loads_from}{f' (not this one: {other.weights.source})' if other is not None else ''}"


def _plan(card: ModelCard, found: list[Place]) -> Plan:
    """Return what is downloaded for a row: its one published checkpoint, where the hub holds it."""
    from healthfm.errors import FetchError
    from healthfm.fetch import listing
    from healthfm.fetch.plan import of_weights
    from healthfm.models.files.weights import READ_WITH

    at_hub = [one for one in found if one.weights.hub is not None and one.weights.access in ("open", "gated")]
    if not at_hub:
        told = "; ".join(
            f"{one.command or one.weights.source}{': ' + STEPS[one.weights.access] if one.weights.access in STEPS else ''}"
            for one in found
        )
        raise FetchError(f"{card.slug}: there is nothing to download from the hub. Published: {told or 'nowhere'}")
    if len({(one.folder, one.weights.hub) for one in at_hub}) > 1:
        names = ", ".join(sorted({f"{card.slug}:{one.variant}" for one in at_hub if one.variant})) or ", ".join(
            str(one.weights.hub) for one in at_hub
        )
        raise FetchError(f"{card.slug}: there are several checkpoints; name the one to download ({names})")
    first, *_ = at_hub
    told, files = first.weights, [name for one in at_hub for name in one.weights.files]
    digest = told.digest if len(at_hub) == 1 else None
    name = card.slug + (f":{first.variant}" if first.variant else "")
    return of_weights(listing.hub_page(str(told.hub)), files, name, first.folder, told.licence, digest, READ_WITH)
