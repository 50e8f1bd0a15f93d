"""``healthfm weights``."""

from __future__ import annotations

from typing import Annotated

import typer

from healthfm.cli.console import emit_fields, emit_json
from healthfm.cli.options import JsonFlag

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
        model: Annotated[str, typer.Argument(help="MODEL[:VARIANT] of the catalogue.")],
        json: JsonFlag = False,
    ) -> None:
        """Show where a model's weights are published, whether they are here, and the command that brings them. Downloads nothing.

        Example: healthfm weights uni
        """
        from healthfm.cards import catalog
        from healthfm.cards.schema import ModelCard
        from healthfm.models.files.weights import places

        card = catalog.card(model, "model")
        assert isinstance(card, ModelCard)
        found = places(card, catalog.split_name(model)[1])
        if json:
            emit_json([
                {
                    **one.weights.model_dump(mode="json"), "variant": one.variant, "folder": str(one.folder), "loads_from": str(one.loads_from) if one.loads_from else None,
                    "command": one.command, "step": STEPS.get(one.weights.access), "problem": one.problem,
                }
                for one in found
            ])  # fmt: skip
            return
        print(f"{card.name}: {len(found)} published checkpoint{'' if len(found) == 1 else 's'}\n")
        for one in found:
            told = one.weights
            hub = f"huggingface.co/{told.hub}" if told.hub else None
            emit_fields([
                ("variant", one.variant), ("published", hub or told.source), ("files", ", ".join(told.files)), ("format", told.format), ("access", told.access),
                ("licence", told.licence), ("digest", told.digest), ("note", told.note), ("checked", told.checked), ("looked for in", str(one.folder)),
                ("loads from", str(one.loads_from) if one.loads_from else one.problem or "nowhere: it is not here"), ("first", STEPS.get(told.access)),
            ])  # fmt: skip
            print(f"{one.command}\n" if one.command else "")  # on a line of its own, to be copied
