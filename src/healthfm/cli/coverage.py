"""``healthfm coverage``."""

from __future__ import annotations

from typing import Annotated

import typer

from healthfm.cli.console import JsonFlag, emit_json, emit_table


def register(app: typer.Typer) -> None:
    @app.command()
    def coverage(
        kind: Annotated[str | None, typer.Option(help="model or dataset.")] = None,
        json: JsonFlag = False,
    ) -> None:
        """Show what each of the 207 listed rows may claim, from the record of passed tests.

        Example: healthfm coverage --kind model
        """
        from healthfm.cards.catalog import check_kind
        from healthfm.cards.coverage import TICKS, rows

        check_kind(kind)
        found = [row for row in rows() if kind in (None, row["kind"])]
        if json:
            emit_json(found)
            return
        for one in ("model", "dataset"):
            ticks = TICKS[one]
            lines = [
                (r["slug"], r["evidence"], *("x" if t in r["ticks"] else "" for t in ticks))
                for r in found
                if r["kind"] == one
            ]
            if lines:
                emit_table((one, "evidence", *ticks), lines)
                levels = [line[1] for line in lines]
                print(
                    ", ".join(f"{level} {levels.count(level)}" for level in dict.fromkeys(sorted(levels)))
                    + f" of {len(lines)} {one}s\n"
                )
