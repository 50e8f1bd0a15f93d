"""Intervals and tests are the matter here: they are drawn as for a user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import draw


@pytest.fixture(scope="module", autouse=True)
def all_resamples() -> Iterator[None]:
    """A bootstrap draws ten thousand times."""
    with pytest.MonkeyPatch.context() as patch:
        draw(10_000, patch)
        yield
