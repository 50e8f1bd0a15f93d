"""What several tests share: real data that the repository carries, and a real model."""

from __future__ import annotations

import gc
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import compiled
from tests.forked import Server
from tests.llama_cpp import serve
from tests.real_files import ELSEWHERE

if TYPE_CHECKING:
    from healthfm.models.language.causal_lm import CausalLM

pytest_plugins = ["tests.evidence.plugin"]

settings.register_profile(
    "healthfm", deadline=None, derandomize=True, max_examples=50
)  # the same examples everywhere, none of them timed; the second fifty of a hundred take as long and are like the first
settings.load_profile("healthfm")

PROJECT = Path(__file__).parent.parent
SMALL_LLAMA = {
    "vocab_size": 49152, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip


def pytest_collection_finish() -> None:
    """What thousands of collected tests are made of lives to the end: no collection of garbage looks at it again, and garbage is looked for less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def pubmedqa_root() -> Path:
    """The owners' files of PubMedQA's labelled part."""
    return PROJECT / "examples" / "pubmedqa"


@pytest.fixture(scope="session")
def medqa_root() -> Path:
    """The owners' US four-option test file of MedQA."""
    return PROJECT / "tests" / "data" / "medqa"


@pytest.fixture(scope="session")
def short_medqa(medqa_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of the owners' MedQA file with its shortest questions only: for real weights, which take a second for a long one."""
    [source] = medqa_root.rglob("*_test.jsonl")
    rows = sorted(source.read_text("utf-8").splitlines(keepends=True), key=len)
    root = tmp_path_factory.mktemp("short-medqa")
    copy = root / source.relative_to(medqa_root)
    copy.parent.mkdir(parents=True)
    copy.write_text("".join(rows[:24]), "utf-8")
    return root


@pytest.fixture(scope="session")
def few_pubmedqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PubMedQA's own files with a few of its questions: a road needs no more."""
    from tests.models.road import few_questions

    return few_questions(tmp_path_factory.mktemp("pubmedqa") / "root")


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
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What forks a process from one that has imported the slow packages; all workers share it."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    with Server(shared / "forked").held() as server:
        yield server


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Owners' real files that the repository does not carry; a test that needs them is skipped where they are not."""
    if not ELSEWHERE.is_dir():
        pytest.skip("the reference data is not here (HEALTHFM_REFERENCE_DATA)")
    return ELSEWHERE


@pytest.fixture(scope="session")
def fresh_paths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New paths, one after the other (a numbered folder of pytest's looks through all that are there, each time)."""
    root = tmp_path_factory.mktemp("fresh")
    return (root / str(number) for number in itertools.count())


@pytest.fixture
def tmp_path(fresh_paths: Iterator[Path], request: pytest.FixtureRequest) -> Path:
    """A folder of the test's own, empty, whose name tells which test's it is."""
    place = next(fresh_paths)
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = place.with_name(f"{name}_{place.name}")
    folder.mkdir()
    return folder


@pytest.fixture
def small_at_home(own_home: Path, small_folder: Path) -> Path:
    """``small_folder`` where a user would keep the weights of ``smollm2-135m-instruct``: what names that row gets these."""
    (own_home / "models").mkdir()
    (own_home / "models/smollm2-135m-instruct").symlink_to(small_folder)
    return small_folder


@pytest.fixture(scope="session", autouse=True)
def few_resamples() -> Iterator[None]:
    """A bootstrap draws a thousand times; where intervals are the matter (tests/score/statistics) ten thousand times, as for a user."""
    with pytest.MonkeyPatch.context() as patch:
        draw(1_000, patch)
        yield


def draw(times: int, patch: pytest.MonkeyPatch) -> None:
    """Let every bootstrap draw so many times."""
    from healthfm.score.statistics import bootstrap, draws, paired

    for module in (bootstrap, draws, paired):
        patch.setattr(module, "RESAMPLES", times)


@pytest.fixture(autouse=True)
def compiled_once() -> None:
    """Small networks are compiled by OpenVINO once in a test run, not once a test."""
    compiled.share()


@pytest.fixture(autouse=True)
def own_home(fresh_paths: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a HEALTHFM_HOME of its own, empty."""
    home = next(fresh_paths)
    home.mkdir()
    monkeypatch.setenv("HEALTHFM_HOME", str(home))
    monkeypatch.delenv("HEALTHFM_CARDS", raising=False)
    return home
