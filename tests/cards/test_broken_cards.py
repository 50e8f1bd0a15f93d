"""A card of the user's own that is none costs one line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm import CardError, card, find
from healthfm.cards import files
from tests.cli.command import run

GOOD = """slug = "{slug}"
name = "Mine {slug}"
summary = "Own questions of a ward that no other card mentions."
group = "text"
modalities = ["text"]
record = "QA"
owner = "us"
access = "own"
shareable_inputs = false
shareable_outputs = false
remote_ok = false
"""
FAULTS = {
    "field": (GOOD.format(slug="field") + 'sumary = "x"\n', "sumary"), "value": (GOOD.format(slug="value").replace('"own"', '"everybody"'), "access"),
    "toml": ("slug = \n", "not valid TOML"), "slug": (GOOD.format(slug="another"), "the file says 'slug'"), "absent": ('slug = "absent"\n', "name"),
    "kind": ('kind = "modle"\n' + GOOD.format(slug="kind"), "kind"), "medqa": (GOOD.format(slug="medqa"), "already has a card"),
}  # fmt: skip


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cards of one's own, all but the first of them broken in its own way."""
    place = tmp_path / "cards/datasets"
    place.mkdir(parents=True)
    (place / "ward.toml").write_text(GOOD.format(slug="ward"))
    for name, (text, _) in FAULTS.items():
        (place / f"{name}.toml").write_text(text)
    (place / "bytes.toml").write_bytes(b'slug = "\xff"\n')
    (place / "link.toml").symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    monkeypatch.setenv("HEALTHFM_HOME", str(tmp_path / "home"))
    return place


def test_find_shows_the_others_and_names_file_and_field_of_each_that_is_left_out(cards: Path) -> None:
    for _ in range(2):  # read, and from the cache
        done = run("find", "ward")
        lines = done.stderr.splitlines()
        assert (
            done.returncode == 0
            and "Mine" not in done.stderr
            and " ward " in done.stdout
            and len(lines) == len(FAULTS) + 2
        )
        for name, (_, what) in FAULTS.items():
            (line,) = [one for one in lines if f"/{name}.toml: " in one]
            assert line.startswith("healthfm: left out: ") and what in line
    with pytest.warns(UserWarning, match="left out"):
        assert [one.slug for one in find("ward that no other card mentions")] == ["ward"]
    assert card("pubmedqa").name == "PubMedQA"
    with pytest.raises(CardError, match="'medqa' already has a card"):  # which of them was meant is not known
        card("medqa")
    assert (cards.parents[1] / "home/cache").is_dir() and len(list((cards.parents[1] / "home/cache").iterdir())) == 1


def test_who_asks_for_a_broken_card_hears_what_is_wrong_with_it(cards: Path) -> None:
    with pytest.raises(CardError, match=r"field\.toml: .*sumary"):
        card("field")
    done = run("show", "value")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "access" in done.stderr
    (cards / "field.toml").write_text(GOOD.format(slug="field"))
    assert card("field").slug == "field" and len(files.broken()) == len(FAULTS) + 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('reader = "nowhere"', "reader: there is no module healthfm.datasets.readers.nowhere"),
        ('reader = "multiple_choice"', 'reader: healthfm.datasets.readers.multiple_choice has no generator @dataset("ward"'),
        ('reader = "multiple_choice"', "record: 'Answer' is not one of Document, QA"),
    ],
)  # fmt: skip
def test_a_card_without_its_generator_is_one_line_that_names_file_and_field(cards: Path, line: str, said: str) -> None:
    text = GOOD.format(slug="ward").replace('"QA"', '"Answer"') if "Answer" in said else GOOD.format(slug="ward")
    (cards / "ward.toml").write_text(f"{text}{line}\nlayout_source = ['ours']\n[splits]\ntest = 'test'\n")
    for words in (("read", "ward"), ("check", "ward", ".")):
        done = run(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"ward.toml: {said}" in done.stderr
