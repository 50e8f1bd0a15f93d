"""``healthfm doctor``."""

from __future__ import annotations

import re
from typing import Any

import typer

from healthfm.cli.console import emit_fields, emit_json, emit_table
from healthfm.cli.options import JsonFlag


def extras() -> dict[str, list[str]]:
    """Return, for each extra of the package, which of its packages are missing."""
    from importlib import metadata

    missing: dict[str, list[str]] = {}
    for requirement in metadata.requires("healthfm") or ():
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if not name or not extra or name.group() == "healthfm" or extra.group(1) in ("all", "demo", "test"):
            continue
        lacking = missing.setdefault(extra.group(1), [])
        try:
            metadata.version(name.group())
        except metadata.PackageNotFoundError:
            lacking.append(name.group())
    return missing


def device() -> str:
    """Say which device models would run on."""
    try:
        import torch
    except (ImportError, OSError):
        return "none: torch is not installed (pip install 'healthfm[models]')"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}"
    return f"cpu, {torch.get_num_threads()} threads"


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(json: JsonFlag = False) -> None:
        """Say what is installed here: versions, extras, device, folders, cards.

        Example: healthfm doctor
        """
        from healthfm.cards import files
        from healthfm.evaluate.provenance import hardware, versions
        from healthfm.home import home

        every = files.entries()
        found: dict[str, Any] = {
            "versions": versions(), "hardware": hardware(), "device": device(), "home": str(home()),
            "cards": {kind: sum(k == kind for k, _ in every) for kind in ("model", "dataset")},
            "extras": {name: {"installed": not lacking, "missing": lacking} for name, lacking in extras().items()},
        }  # fmt: skip
        if json:
            emit_json(found)
            return
        emit_fields([
            ("versions", ", ".join(f"{k} {v}" for k, v in found["versions"].items())),
            ("hardware", f"{found['hardware']['cpu']}, {found['hardware']['cores']} cores"), ("device", found["device"]),
            ("home", found["home"]), ("cards", f"{found['cards']['model']} models, {found['cards']['dataset']} datasets"),
        ])  # fmt: skip
        rows = [
            (name, "yes" if e["installed"] else "no", " ".join(e["missing"])) for name, e in found["extras"].items()
        ]
        emit_table(("extra", "installed", "missing"), rows)
