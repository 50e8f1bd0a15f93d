"""``healthfm heatmap``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import emit_json
from healthfm.cli.options import JsonFlag


def register(app: typer.Typer) -> None:
    @app.command()
    def heatmap(
        run: Annotated[Path, typer.Argument(help="A finished run folder of --task mil on slides.")],
        slide: Annotated[str, typer.Argument(help="The slide's id in the run, or its file's name alone.")],
        output: Annotated[
            Path | None, typer.Option(help="Folder for both files (default: heatmaps in the run's folder).")
        ] = None,
        json: JsonFlag = False,
    ) -> None:
        """Draw where a model looked on a slide: a PNG, and tiles with their weights as GeoJSON that QuPath opens (drag it onto the slide).

        The model is not needed; the slide is. A tile's colour is its rank among the slide's tiles, dark the lowest, yellow the highest.

        Example: healthfm heatmap runs/ctranspath--slides--1a2b3c4d case-17.svs
        """
        from healthfm.report.heat import heatmap as draw
        from healthfm.report.run import load_run

        picture, shapes, heat = draw(load_run(run), slide, output)
        if json:
            emit_json(
                {
                    "png": str(picture),
                    "geojson": str(shapes),
                    "tiles": len(heat.weights),
                    "span": heat.span,
                    "span_measured": heat.measured,
                }
            )
            return
        if heat.measured:
            print(
                f"notice: the run does not say how large its tiles are; {heat.span:.0f} pixels was measured from the distance of neighbours"
            )
        print(f"{len(heat.weights)} tiles\npng      {picture}\ngeojson  {shapes}")
