"""What several tests share: real data that the repository carries, and a real model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.real_files import ELSEWHERE

if TYPE_CHECKING:
    from healthfm.models.language.causal_lm import CausalLM

pytest_plugins = ["tests.evidence.plugin"]

settings.register_profile(
    "healthfm", deadline=None, derandomize=True
)  # the same examples everywhere, none of them timed
settings.load_profile("healthfm")

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def pubmedqa_root() -> Path:
    """The owners' files of PubMedQA's labelled part."""
    return PROJECT / "examples" / "pubmedqa"


@pytest.fixture(scope="session")
def medqa_root() -> Path:
    """The owners' US four-option test file of MedQA."""
    return PROJECT / "tests" / "data" / "medqa"


@pytest.fixture(scope="session")
def smollm2() -> CausalLM:
    """SmolLM2-135M-Instruct with its real weights (Q4_1, dequantised), in float32 on the CPU."""
    from healthfm import load_model

    return load_model("smollm2-135m-instruct", device="cpu")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Owners' real files that the repository does not carry; a test that needs them is skipped where they are not."""
    if not ELSEWHERE.is_dir():
        pytest.skip("the reference data is not here (HEALTHFM_REFERENCE_DATA)")
    return ELSEWHERE


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a HEALTHFM_HOME of its own, empty."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HEALTHFM_HOME", str(home))
    monkeypatch.delenv("HEALTHFM_CARDS", raising=False)
    return home
