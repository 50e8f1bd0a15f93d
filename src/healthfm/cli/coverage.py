"""``healthfm coverage``."""

from __future__ import annotations

import typer

from healthfm.cli.console import emit_json, emit_table
from healthfm.cli.options import JsonFlag, Kind


def register(app: typer.Typer) -> None:
    @app.command()
    def coverage(
        kind: Kind = None,
        json: JsonFlag = False,
    ) -> None:
        """Show what each of the 207 listed rows may claim, from the record of passed tests.

        A model's keys and sizes are its owners' own (their code, or their files), or beside its ticks stands whose they are. Of a suite, how many of
        its parts are read stands there, and healthfm show names them.

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
                (
                    r["slug"],
                    r["evidence"],
                    *("x" if t in r["ticks"] else "" for t in ticks),
                    r["keys_from"] or r["parts"] or "",
                )
                for r in found
                if r["kind"] == one
            ]
            if lines:
                noted = "keys and sizes from" if one == "model" else "of its parts"
                emit_table((one, "evidence", *ticks, noted), lines)
                levels = [line[1] for line in lines]
                print(
                    ", ".join(f"{level} {levels.count(level)}" for level in dict.fromkeys(sorted(levels)))
                    + f" of {len(lines)} {one}s\n"
                )
