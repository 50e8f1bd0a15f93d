"""``healthfm verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import emit_json, emit_table, progress_bar
from healthfm.cli.options import Device, Dtype, JsonFlag, ModelName, Root, RunOutput


def register(app: typer.Typer) -> None:
    @app.command()
    def verify(
        model: ModelName,
        weights: Annotated[Path | None, typer.Option(help="File or folder with the owner's weights.")] = None,
        root: Root = None,
        dataset: Annotated[str | None, typer.Option(help="Which of the card's recipes (default: the first).")] = None,
        limit: Annotated[int | None, typer.Option(help="Only look at a seeded sample; proves nothing.", min=1)] = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
        output: RunOutput = None,
        json: JsonFlag = False,
    ) -> None:
        """Measure a number published for a model again, on the owner's weights and files; exit 1 when it does not come out.

        Writes evidence.json into the run folder, which can be contributed (CONTRIBUTING.md).

        Example: healthfm verify biomistral --weights BioMistral-7B --root pubmedqa
        """
        from healthfm.evaluate.verify import verify as run_verify
        from healthfm.report.words import interval

        with progress_bar(f"verify {model}", quiet=json) as advance:
            found = run_verify(
                model, weights=weights, root=root, dataset=dataset, limit=limit, device=device, dtype=dtype, output=output,
                progress=advance,
            )  # fmt: skip
        evidence = found.evidence
        if json:
            emit_json({**evidence, "path": str(found.path)})
        else:
            published, measured = evidence["published"], evidence["measured"]
            rows = [
                ("published", published["as_printed"], published["source"]),
                ("measured", f"{measured['value']:.4f}", f"{interval(measured, digits=4)}, n = {measured['n']}"),
                ("weights", evidence["digest"][:19], "as on the card" if evidence["digest_on_card"] else "the card states no digest"),
            ]  # fmt: skip
            emit_table(("", published["metric"], ""), rows, title=f"{evidence['row']} on {evidence['dataset']}")
            print(evidence["verdict"])
            print(f"evidence  {found.path}")
        if not found.agrees:
            raise typer.Exit(1)
