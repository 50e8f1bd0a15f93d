"""Real files that tests read: those that installed packages ship, ours in tests/data, and larger ones that may be absent."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SLIDE = DATA / "slides" / "CMU-1-Small-Region.svs"
ELSEWHERE = Path(os.environ.get("HEALTHFM_REFERENCE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def of_package(package: str, folder: str) -> Path:
    """Return a folder of an installed package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / folder


PYDICOM = of_package("pydicom", "data/test_files")
NIBABEL = of_package("nibabel", "tests/data")


def elsewhere(path: str) -> Path:
    """Return a file or folder beside the project; the test is skipped where it is absent."""
    if not (ELSEWHERE / path).exists():
        pytest.skip(f"needs {path} beside the project")
    return ELSEWHERE / path
