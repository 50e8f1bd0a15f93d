"""OpenVINO against torch: every family's tower, one picture at a time, several side by side; and nothing is sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm.cards.schema import Runner
from healthfm.errors import CapabilityError
from healthfm.models.arithmetic import openvino
from healthfm.models.vision import resnet, swin, vit
from healthfm.models.vision.vision_model import Tower
from tests.forked import Server

pytestmark = pytest.mark.skipif(openvino.version() is None, reason="needs openvino")
SMALL: dict[str, tuple[Any, dict[str, Any], tuple[int, int]]] = {
    "ViT": (vit, {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64}, (64, 64)),
    "ViT gated, registers, other grid": (
        vit,
        {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64, "mlp": "swiglu", "layer_scale": True, "reg_tokens": 4,
         "no_embed_class": True},
        (96, 80),
    ),
    "ViT, DINO's positions": (vit, {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64, "positions": "dino"}, (80, 80)),
    "Swin": (swin, {"embed_dim": 32, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4}, (64, 64)),
    "Swin, convolutions first": (swin, {"embed_dim": 32, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4, "stem": "conv"}, (64, 64)),
    "ResNet": (resnet, {"depths": [1, 1], "stages": 2, "base": 16, "version": 1}, (64, 64)),
    "ResNet, pre-activation": (resnet, {"depths": [1, 1], "stages": 2, "base": 32, "version": 2}, (64, 64)),
}  # fmt: skip


def tower(name: str) -> tuple[Tower, list[np.ndarray]]:
    family, config, (height, width) = SMALL[name]
    torch.manual_seed(0)
    network = family.build(Runner(family=family.__name__.rpartition(".")[2], architecture="x", config=config)).eval()
    rng = np.random.default_rng(0)
    return network, [rng.standard_normal((3, height, width)).astype(np.float32) for _ in range(6)]


def by_torch(network: Tower, pictures: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(np.stack(pictures)))[1].numpy()


@pytest.mark.parametrize("name", SMALL)
def test_every_family_gives_torchs_vectors(name: str) -> None:
    network, pictures = tower(name)
    expected = by_torch(network, pictures)
    compiled = openvino.convert(network, pictures[0].shape, "float32", 2)
    found = np.stack([compiled(one) for one in pictures])
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
    with ThreadPoolExecutor(4) as pool:  # side by side, to the last bit
        assert np.array_equal(np.stack(list(pool.map(compiled, pictures))), found)
    assert np.array_equal(by_torch(network, pictures), expected)  # the network is as it was


def test_eight_bits_are_near_and_come_back_from_disk(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    network, pictures = tower("ViT")
    small = openvino.quantise(network, pictures[2:], 1)
    expected, found = by_torch(network, pictures[:2]), np.stack([small(one) for one in pictures[:2]])
    assert 1e-4 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.2
    small.save(tmp_path / "int8.xml")
    again = openvino.load(tmp_path / "int8.xml", 1)
    assert np.array_equal(np.stack([again(one) for one in pictures[:2]]), found)


def test_a_network_it_cannot_take_is_one_clear_line() -> None:
    class Odd(Tower):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return pixels, torch.linalg.eigvals(pixels[:, 0]).real

    with pytest.raises(CapabilityError, match="OpenVINO cannot take this network"):
        openvino.convert(Odd(), (3, 8, 8), "float32", 1)


WATCHED = """
import os, socket, sys
assert not {"openvino", "nncf"} & sys.modules.keys()
os.environ.clear()   # nothing of a test run or of a user's choice is there
os.environ.update(CI="", PATH="")
def refuse(*words, **more):
    print("opened", words)
    raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from tests.models.arithmetic.test_openvino import tower
from healthfm.models.arithmetic import openvino
network, pictures = tower("ViT")
openvino.convert(network, pictures[0].shape, "float32", 1)
openvino.quantise(network, pictures[:1], 1)
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__, sys.modules["openvino_telemetry"])
"""


def test_no_usage_report_is_ever_sent(forked: Server, tmp_path: Path) -> None:
    """Importing OpenVINO or NNCF opens no connection, whether or not the user ever refused their telemetry."""
    with (tmp_path / "said").open("w") as said, (tmp_path / "told").open("w") as told:
        code = forked.fork((), said.fileno(), told.fileno(), WATCHED).wait(300)
    printed, errors = ((tmp_path / name).read_text() for name in ("said", "told"))
    assert code == 0, errors
    assert printed.split("\n")[:2] == ["openvino.tools.ovc.telemetry_stub None", ""], printed + errors
