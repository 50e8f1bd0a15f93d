"""Where healthfm keeps weights, data and runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return ``HEALTHFM_HOME``, or the platform's cache folder for healthfm. The folder may not exist yet."""
    chosen = os.environ.get("HEALTHFM_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("healthfm")
