"""What the tests of models share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.road import few_questions


@pytest.fixture(scope="session")
def few_pubmedqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PubMedQA's own files with a few of its questions: a road needs no more."""
    return few_questions(tmp_path_factory.mktemp("pubmedqa") / "root")
