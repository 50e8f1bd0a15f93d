"""``healthfm search``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import Device, JsonFlag, Weights


def register(app: typer.Typer) -> None:
    @app.command()
    def search(
        store: Annotated[Path, typer.Argument(help="A folder of vectors made by healthfm embed.")],
        query: Annotated[str, typer.Argument(help="Words, or the file of a picture.")],
        model: Annotated[
            str | None,
            typer.Option(help="The model that made the store (default: the one that the store names)."),
        ] = None,
        weights: Weights = None,
        device: Device = "auto",
        top: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
        json: JsonFlag = False,
    ) -> None:
        """Find what is most like a text or a picture in a folder of vectors.

        Every vector is compared. Of more than a million an approximate index is asked (extra [search]), built beside the store the first
        time; how many of the truly nearest it finds is measured on the store and printed.

        Words need a model of pictures and texts (plip, chexzero, ...), or a store of texts. A store that another model made is refused.

        Example: healthfm search plip-vectors "tumour-infiltrating lymphocytes"

        Example: healthfm search uni-vectors case-17.png --top 5
        """
        from healthfm.embed.search import is_picture, made_by
        from healthfm.embed.search import search as find
        from healthfm.models.load import load_model

        name = model if model is not None else made_by(store)
        made_by(store)
        loaded = load_model(name, weights, device=device)
        asked = Path(query) if is_picture(query) else query
        found = find(store, asked, loaded, top)
        if json:
            hits = [one.asdict() for one in found.hits]
            emit_json({"store": str(store), "model": loaded.name, "query": query, "vectors": found.vectors, "recall": found.recall, "notices": found.notices, "hits": hits})  # fmt: skip
            return
        for notice in found.notices:
            print(f"notice: {notice}", file=sys.stderr)
        if found.recall is not None:
            print(f"approximate: of the {top} nearest of this store's own vectors the index finds {found.recall:.1%}")
        placed = any(one.x is not None for one in found.hits)
        numbered = placed or any(one.number for one in found.hits)
        emit_table(
            ("rank", "id", *(("number",) if numbered else ()), *(("x", "y") if placed else ()), "cosine"),
            [
                (one.rank, one.id, *((one.number,) if numbered else ()), *((one.x, one.y) if placed else ()), f"{one.cosine:.4f}")
                for one in found.hits
            ],
            title=f"most like {'the picture ' if isinstance(asked, Path) else ''}{query} in {found.vectors:,} vectors of {loaded.name}",
        )  # fmt: skip
