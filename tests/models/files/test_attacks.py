"""Weight files that mean harm: what a pickle may call, and where an index may point."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import operator
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from healthfm import CheckpointError
from healthfm.models.files import checkpoint


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def harmful(mark: str) -> list[Calls]:
    """Calls that would make a file, or are steps on the way to any other."""
    return [
        Calls(os.system, f"touch {mark}"), Calls(os.mkdir, mark), Calls(getattr, "a", "upper"), Calls(eval, "1"), Calls(exec, "1"),
        Calls(open, mark, "w"), Calls(__import__, "os"), Calls(subprocess.Popen, ["touch", mark]), Calls(Path.touch, Path(mark)),
        Calls(importlib.import_module, "os"), Calls(pickle.loads, pickle.dumps(1)), Calls(Path, mark), Calls(torch.load, mark),
        Calls(operator.attrgetter, "a"), Calls(functools.partial, os.system, "true"),
    ]  # fmt: skip


@pytest.mark.parametrize("packed", [True, False])
def test_no_function_is_called_that_a_pickle_names_however_harmless_the_call(tmp_path: Path, packed: bool) -> None:
    path, mark = tmp_path / "a.pth", tmp_path / "sprung"
    for call in harmful(str(mark)):
        value = {"weight": torch.zeros(2), "more": call}
        if packed:
            torch.save(value, path)
        else:
            path.write_bytes(pickle.dumps(value, protocol=2))
        with pytest.raises(CheckpointError, match=r"refused|not a readable PyTorch checkpoint"):
            checkpoint.read(path)
        assert not mark.exists(), call.call[0]


def test_what_a_pickle_may_name_beside_tensors_is_the_arguments_of_a_training(tmp_path: Path) -> None:
    """An ``argparse.Namespace`` keeps values and runs nothing. One name more would be one to think about here."""
    assert list(checkpoint.PLAIN) == [argparse.Namespace]
    before = set(torch.serialization.get_safe_globals())
    torch.save({"weight": torch.zeros(2), "args": argparse.Namespace(lr=1e-3)}, tmp_path / "a.pth")
    assert checkpoint.read(tmp_path / "a.pth").tensors["args"] == argparse.Namespace(lr=1e-3)
    assert set(torch.serialization.get_safe_globals()) == before  # nothing is allowed for good


@pytest.mark.parametrize(
    "place", ["../model.safetensors", "ABSOLUTE/outside/model.safetensors", "below/model.safetensors", "below/../model.safetensors"]
)  # fmt: skip
@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_points_to_files_of_its_own_folder_alone(tmp_path: Path, place: str, index: str) -> None:
    """Where a sound shard lies, it is not read: up, by an absolute path, or in a folder below, as no publisher writes."""
    folder = tmp_path / "published"
    for other in (folder, folder / "below", tmp_path / "outside", tmp_path):
        other.mkdir(exist_ok=True)
        save_file({"a": torch.ones(2)}, other / "model.safetensors")
    for name, sound in (("model.safetensors", True), (place.replace("ABSOLUTE", str(tmp_path)), False)):
        (folder / index).write_text(json.dumps({"weight_map": {"a": name}}))
        if sound:
            assert list(checkpoint.read(folder).tensors) == ["a"]
        else:
            with pytest.raises(CheckpointError, match=r"index\.json: a shard's path leaves the folder; refused"):
                checkpoint.read(folder)
