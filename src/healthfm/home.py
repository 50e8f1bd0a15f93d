"""Where healthfm keeps weights, data and runs on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path


def commit() -> str | None:
    """Return the commit that this code is of, where it is a git checkout or was installed from one; None where nobody says."""
    root = Path(__file__).parents[2]
    try:
        if (root / "src/healthfm/home.py").samefile(__file__):
            return _checked_out(root / ".git")
    except OSError:
        pass
    from importlib import metadata

    try:
        told = json.loads(metadata.distribution("healthfm").read_text("direct_url.json") or "{}")
        return str(told["vcs_info"]["commit_id"])
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return None


def _checked_out(git: Path) -> str | None:
    """Return the commit of a checkout, from its files. Raises ``OSError``: it is none."""
    if git.is_file():  # a second work tree says where its own part is
        git = git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    shared = git / (git / "commondir").read_text(encoding="utf-8").strip() if (git / "commondir").is_file() else git
    for place in (git, shared):
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8").strip()
    packed = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def home() -> Path:
    """Return ``HEALTHFM_HOME``, or the platform's cache folder for healthfm. The folder may not exist yet."""
    chosen = os.environ.get("HEALTHFM_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("healthfm")
