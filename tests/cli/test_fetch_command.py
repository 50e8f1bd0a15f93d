"""``healthfm fetch`` and ``healthfm weights --download``: licence and size first, the owners' steps where a set is not open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from healthfm.cards import catalog
from healthfm.fetch.plan import of_weights
from tests.cli.command import run
from tests.fetch.server import Server, serving
from tests.fetch.test_listing import COMMIT, QUICK, repository

CARD = """
slug = "wardquiz"
name = "WardQuiz"
summary = "Questions."
group = "text"
modalities = ["text"]
record = "MultipleChoice"
owner = "The authors"
access = "open"
shareable_inputs = true
shareable_outputs = true
remote_ok = true
default_variant = "small"
[variants.small]
summary = "a part"
[variants.large]
summary = "all"
[[licences]]
name = "CC BY 4.0"
covers = "data"
[[downloads]]
url = "{url}/train.jsonl"
path = "data/train.jsonl"
variant = "small"
size = 3
digest = "md5:900150983cd24fb0d6963f7d28e17f72"
checked = "read"
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HEALTHFM_HOME", str(tmp_path / "home"))
    with serving() as made:
        yield made


@pytest.fixture
def cards(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cards" / "datasets").mkdir(parents=True)
    (tmp_path / "cards" / "datasets" / "wardquiz.toml").write_text(CARD.format(url=server.url))
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    server.files["/train.jsonl"] = b"abc"


@pytest.mark.usefixtures("cards")
def test_a_dry_run_states_licence_and_size_and_fetches_nothing(server: Server, tmp_path: Path) -> None:
    done = run("fetch", "wardquiz", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert (
        "CC BY 4.0 (data, unverified)" in done.stdout
        and "3 bytes in 1 file" in done.stdout
        and "data/train.jsonl" in done.stdout
    )
    assert not server.asked and not (tmp_path / "home" / "datasets").exists()


def test_a_size_that_no_card_tells_is_asked_of_the_server(server: Server, tmp_path: Path) -> None:
    from healthfm.fetch.item import Item
    from healthfm.fetch.plan import Plan, sizes

    server.files["/a"], server.files["/b"] = b"x" * 5000, b"y" * 7
    plan = Plan("x", tmp_path, tuple(Item(name, f"{server.url}/{name}") for name in ("a", "b", "gone")))
    assert sizes(plan, QUICK) == {"a": 5000, "b": 7} and len(server.asked) == 3


@pytest.mark.usefixtures("cards")
def test_fetch_brings_the_files_to_where_they_are_looked_for(server: Server, tmp_path: Path) -> None:
    done = run("fetch", "wardquiz")
    assert (
        done.returncode == 0
        and "1 file fetched; it has its owner's digest: " in done.stdout
        and "CC BY 4.0" in done.stdout
    )
    assert (tmp_path / "home/datasets/wardquiz/data/train.jsonl").read_bytes() == b"abc"
    again = json.loads(run("fetch", "wardquiz:small", "--json").stdout)
    assert again["fetched"] == [] and again["bytes"] == 3 and len(server.asked) == 1
    server.files["/train.jsonl"] = b"abd"
    wrong = run("fetch", "wardquiz", "--root", tmp_path / "other")
    assert wrong.returncode == 2 and "not the published file" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.usefixtures("cards")
def test_a_variant_without_an_address_says_what_to_do() -> None:
    done = run("fetch", "wardquiz:large")
    assert done.returncode == 1 and "nothing is fetched" in done.stdout and "not on its card yet" in done.stdout


def test_a_restricted_set_prints_the_owners_steps_and_the_files(server: Server) -> None:
    done = run("fetch", "mimic-cxr", "--root", "mine")
    assert done.returncode == 1 and not server.asked
    assert "credentialed users" in done.stdout and "physionet.org" in done.stdout and "--root" in done.stdout
    card = catalog.card("mimic-cxr", "dataset")
    assert all(
        one.path.partition("{")[0] in done.stdout for one in card.files if one.variant in (None, card.default_variant)
    )  # type: ignore[union-attr]
    assert json.loads(run("fetch", "mimic-cxr", "--json").stdout)["files"] == []


def test_every_dataset_either_names_an_address_or_tells_the_steps(server: Server) -> None:
    from healthfm.fetch.plan import steps

    for card in catalog.all_cards("dataset"):
        told = steps(card, card.default_variant)  # type: ignore[arg-type]
        assert told[0] and all("\n" not in line for line in told)
        assert card.access == "open" or all(one.variant for one in card.downloads), card.slug  # type: ignore[union-attr]


# Weights --------------------------------------------------------------------------------------------------------------


def test_weights_come_from_one_commit_to_where_they_are_looked_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    shards = {f"pytorch_model-0000{n}-of-00002.bin": b"p" * 300 for n in (1, 2)}
    repository(server, "epfl-llm/meditron-7b", {
        **shards, "model-00001-of-00002.safetensors": b"s" * 300, "model-00002-of-00002.safetensors": b"t" * 300,
        "config.json": b"{}", "tokenizer.json": b"{}", "README.md": b"x", "deep/config.json": b"{}",
    })  # fmt: skip
    card = catalog.card("meditron", "model")
    files = next(one.files for one in card.weights if one.variant == "7b")  # type: ignore[union-attr]
    done = run("weights", "meditron:7b", "--download", "--dry-run", "--json")
    assert done.returncode == 0, (done.stderr, files)
    told = json.loads(done.stdout)
    assert told["revision"] == COMMIT and told["fetched"] == [] and told["licences"]
    folder = tmp_path / "home/models/meditron/7b"
    assert not folder.exists()
    done = run("weights", "meditron:7b", "--download")
    assert done.returncode == 0 and f"4 files fetched; each has its owner's digest: {folder}\n" in done.stdout
    (folder / "config.json").unlink()
    assert "1 of 4 files fetched, the others were here; each" in run("weights", "meditron:7b", "--download").stdout
    assert "all 4 files were here; each" in run("weights", "meditron:7b", "--download").stdout
    came = {one.name for one in folder.iterdir() if not one.name.startswith(".")}
    assert {"config.json", "tokenizer.json"} < came and "README.md" not in came and not (folder / "deep").exists()
    assert run("weights", "meditron:7b", "--json").stdout.count(f'"loads_from": "{folder}"') == 1


def test_a_mirror_may_have_a_path_and_what_is_no_address_is_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(server, "epfl-llm/meditron-7b", {"model.safetensors": b"s" * 300, "config.json": b"{}"})
    server.files = {f"/mirror/of{path}": data for path, data in server.files.items()}
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/mirror/of/")
    done = run("weights", "meditron:7b", "--download")
    assert done.returncode == 0 and "2 files fetched" in done.stdout, done.stderr
    for wrong in ("hf-mirror.com", "ftp://host", "http://", "http://a b"):
        monkeypatch.setenv("HF_ENDPOINT", wrong)
        done = run("weights", "meditron:7b", "--dry-run")
        assert done.returncode == 2 and done.stderr.startswith("healthfm: HF_ENDPOINT is no address"), done.stderr


def test_safetensors_are_preferred_to_pickles_of_the_same_tensors(server: Server, tmp_path: Path) -> None:
    page = repository(
        server,
        "o/n",
        {
            "pytorch_model.bin": b"p" * 300,
            "model.safetensors": b"s" * 300,
            "other.safetensors": b"o",
            "config.json": b"{}",
        },
    )
    plan = of_weights(page, ["pytorch_model.bin"], "n", tmp_path, None, read_with=("*config*.json",), manners=QUICK)
    assert [one.path for one in plan.items] == [
        "model.safetensors",
        "config.json",
    ] and "is a pickle: the safetensors" in plan.notes[0]
    plan = of_weights(
        repository(server, "o/m", {"a.bin": b"p", "b.safetensors": b"s"}),
        ["a.bin"],
        "m",
        tmp_path,
        "MIT",
        manners=QUICK,
    )
    assert [one.path for one in plan.items] == ["a.bin"] and "weights_only" in plan.notes[0]


def test_a_download_under_way_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "models/meditron/7b/.healthfm").mkdir(parents=True)
    [told] = json.loads(run("weights", "meditron:7b", "--json", HEALTHFM_HOME=str(tmp_path)).stdout)
    assert told["loads_from"] is None
    (tmp_path / "models/meditron/7b/model-00002-of-00002.safetensors").write_bytes(b"whole")
    (tmp_path / "models/meditron/7b/.healthfm/0a1b.part").write_bytes(b"half of the first shard")
    says = "a download into it is not finished; healthfm weights meditron:7b --download goes on with it"
    assert says in " ".join(run("weights", "meditron:7b", HEALTHFM_HOME=str(tmp_path)).stdout.split())
    done = run("generate", "meditron:7b", "x", HEALTHFM_HOME=str(tmp_path))
    assert done.returncode == 2 and says in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("meditron", "name the one to download"),
        ("rudolfv", "nothing to download"),
        ("antiberty", "to download"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line(server: Server, name: str, said: str) -> None:
    done = run("weights", name, "--download")
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not server.asked
