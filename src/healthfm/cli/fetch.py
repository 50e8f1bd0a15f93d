"""``healthfm fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healthfm.cli.console import emit_fields, emit_json, progress_bar
from healthfm.cli.options import JsonFlag, ListedDataset

if TYPE_CHECKING:
    from healthfm.fetch.plan import Plan

SHOWN = 20  # files of a plan that are printed; --json lists all


def register(app: typer.Typer) -> None:
    @app.command()
    def fetch(
        dataset: ListedDataset,
        root: Annotated[
            Path | None, typer.Option(help="Folder to put the files in (default: where they are looked for).")
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="State licence, files and sizes, and stop.")] = False,
        json: JsonFlag = False,
    ) -> None:
        """Download a dataset's official files: open ones only; of the others, print the owners' steps (exit code 1).

        Stopped at any moment, the same command goes on. Files are checked and never overwritten; archives stay packed.

        Example: healthfm fetch pubmedqa --dry-run
        """
        from healthfm.fetch.dataset import wanted
        from healthfm.fetch.plan import of_dataset, steps

        card, variant, folder = wanted(dataset, root)
        plan = of_dataset(card, variant, folder)
        if plan is None:
            told = [
                f"{card.name}{f', variant {variant}' if variant else ''}: nothing is fetched.",
                *steps(card, variant),
                f"Put it into {folder}, or give its folder as --root.",
            ]
            if json:
                emit_json({"dataset": card.slug, "variant": variant, "folder": str(folder), "files": [], "steps": told})
            else:
                print("\n".join(told))
            raise typer.Exit(1)
        carry_out(plan, dry_run, json)
        if not json and not dry_run:
            print(f"next: healthfm check {dataset}{f' --root {root}' if root is not None else ''}")


def carry_out(plan: Plan, dry_run: bool, json: bool) -> None:
    """State a plan, licence and size first, and carry it out unless it is a dry run."""
    from healthfm.fetch.run import fetch

    if not json:
        _state(plan)
    came: list[Path] = []
    if not dry_run:
        with progress_bar(f"{plan.name} (MiB)", quiet=json) as bar:
            came = fetch(plan.items, plan.folder, progress=lambda done, total: bar(done >> 20, total >> 20))
    if json:
        emit_json({
            "name": plan.name, "folder": str(plan.folder), "licences": plan.licences, "notes": plan.notes, "revision": plan.revision,
            "bytes": plan.size, "files_of_unknown_size": plan.unsized, "dry_run": dry_run, "fetched": [str(one) for one in came],
            "files": [{"path": one.path, "url": one.url, "bytes": one.size, "digest": one.digest} for one in plan.items],
        })  # fmt: skip
    elif dry_run:
        print("nothing was fetched (--dry-run)")
    else:
        print(f"{_outcome(plan, len(came))}: {plan.folder}")


def _outcome(plan: Plan, came: int) -> str:
    """Say how many files came, and what they were held against."""
    every = len(plan.items)
    known = sum(one.digest is not None for one in plan.items)
    held = {
        every: f"{'it' if every == 1 else 'each'} has its owner's digest",
        0: "nobody gives digests to hold them against",
    }
    told = held.get(known, f"{known} have their owner's digest, of the others nobody gives one")
    if came == 0:
        return f"{'it was' if every == 1 else f'all {_files(every)} were'} here; {told}"
    rest = ", the others were here" if came < every else ""
    return f"{f'{came} of ' if rest else ''}{_files(every)} fetched{rest}; {told}"


def _state(plan: Plan) -> None:
    from healthfm.fetch.plan import sizes

    known = {one.path: one.size for one in plan.items if one.size is not None} | sizes(plan)
    rest = len(plan.items) - len(known)
    told = [f"{told_size(sum(known.values()))} in {_files(len(known))}"] if known else []
    size = ", and ".join([*told, *([f"{_files(rest)} of a size that nobody tells before"] if rest else [])])
    emit_fields([
        ("what", plan.name), ("licence", list(plan.licences)), ("size", size),
        ("to", str(plan.folder)), ("revision", plan.revision), ("note", list(plan.notes)),
        ("files", [f"{one.path}{f' ({told_size(known[one.path])})' if one.path in known else ''}" for one in plan.items[:SHOWN]]
         + ([f"and {len(plan.items) - SHOWN} more (--json lists them)"] if len(plan.items) > SHOWN else [])),
    ])  # fmt: skip


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def told_size(size: int) -> str:
    """Return bytes in the unit that people would use."""
    for unit, of in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size} bytes"
