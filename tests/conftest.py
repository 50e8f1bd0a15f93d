"""What several tests share: real data that the repository carries, and a real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.llama_cpp import serve
from tests.real_files import ELSEWHERE

if TYPE_CHECKING:
    from healthfm.models.language.causal_lm import CausalLM

pytest_plugins = ["tests.evidence.plugin"]

settings.register_profile(
    "healthfm", deadline=None, derandomize=True
)  # the same examples everywhere, none of them timed
settings.load_profile("healthfm")

PROJECT = Path(__file__).parent.parent
SMALL_LLAMA = {
    "vocab_size": 49152, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip


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
def small_folder(smollm2_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights, loud so that a token seen too much or too little shows, and SmolLM2's tokenizer, as published."""
    import torch
    import transformers

    from healthfm.formats.gguf import GGUF
    from healthfm.models.files import gguf_llama

    folder = tmp_path_factory.mktemp("small-llama")
    tokenizer = gguf_llama.tokenizer(GGUF(smollm2_file))
    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL_LLAMA))
    for parameter in network.parameters():
        parameter.data *= 4
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_llama(small_folder: Path) -> CausalLM:
    """``small_folder``, loaded: for what is not about the weights. No test may change it."""
    from healthfm import load_model

    return load_model("smollm2-135m-instruct", small_folder, config=SMALL_LLAMA, device="cpu")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """SmolLM2-135M-Instruct's GGUF file."""
    from healthfm import card
    from healthfm.models.files.weights import locate

    return locate(card("smollm2-135m-instruct", "model"), None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def llama_cpp(smollm2_file: Path) -> Iterator[str]:
    """The address of llama.cpp's own server on this machine, with SmolLM2's file."""
    server = serve(smollm2_file)
    yield server.listening_address


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
