"""``healthfm lineage``."""

from __future__ import annotations

from typing import Annotated

import typer

from healthfm.cli.console import emit_json
from healthfm.cli.options import JsonFlag, row_names


def register(app: typer.Typer) -> None:
    @app.command()
    def lineage(
        model: Annotated[str, typer.Argument(help="A model's slug, name or alias.", autocompletion=row_names("model"))],
        dataset: Annotated[
            str, typer.Argument(help="A dataset's slug, name or alias.", autocompletion=row_names("dataset"))
        ],
        json: JsonFlag = False,
    ) -> None:
        """Show every way by which a dataset's content can have reached a model, from the cards.

        Example: healthfm lineage pmc-llama medqa
        """
        from healthfm.cards.lineage import lineage as ask
        from healthfm.cards.lineage import web_crawls, web_sentence

        found, crawls = ask(model, dataset), web_crawls(model)
        if json:
            keys = ("kind", "meaning", "path", "steps", "evidence", "splits")
            emit_json([{key: getattr(one, key) for key in keys} for one in found])
            return
        if not found:
            print(
                f"The cards show no way by which {dataset} can have reached {model}. That is not proof that there is none."
            )
        for one in found:
            only = f" (only its {'/'.join(one.splits)} split)" if one.splits else ""
            print(f"{one.kind}: {one.meaning}{only}\n  {' > '.join(one.path)}")
            for step, source in zip(one.steps, one.evidence, strict=True):
                print(f"  - {step}\n      {source}")
        if found:
            print(f"{len(found)} path{'s' * (len(found) != 1)}")
        if crawls:
            print(f"Of {model}: {web_sentence(crawls)}.")
