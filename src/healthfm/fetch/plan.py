"""What would be fetched for a row: its files, their sizes and licences, and into which folder; asked of cards and owners' indexes only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from healthfm.cards.schema import DatasetCard, Download
from healthfm.errors import FetchError
from healthfm.fetch import listing
from healthfm.fetch.item import Item
from healthfm.fetch.web import USUAL, Broken, Manners, ask

# Formats that run code when they are read as their makers meant them, and what stands beside a model's weights and is read with them.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WEIGHTS = (".safetensors", ".gguf", *PICKLES, ".h5", ".msgpack", ".onnx", ".npz", ".index", ".tar", ".zip")
ASKED = 20  # files whose size is asked of their server before they are fetched
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
STEPS = {
    "registration": "The owners ask for an account or a form: register there and accept their terms.",
    "credentialed": "The owners give access to named, credentialed users: apply there, sign their agreement, and do the training they ask for.",
    "ids-only": "The owners give identifiers only: ask the archives they name for the records.",
    "recipe-only": "The owners give a recipe only: follow it to build the set.",
    "unclear": "It is not clear how the set may be had: ask its owners.",
    "closed": "It was never given out.",
    "open": "It is open to everybody; where each file may be had is not on its card yet: fetch it from its owners' page.",
}


@dataclass(frozen=True)
class Plan:
    """``items`` go into ``folder``. ``licences`` say under which terms, ``notes`` what else must be known; ``revision``: of an index."""

    name: str
    folder: Path
    items: tuple[Item, ...]
    licences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    revision: str | None = None

    @property
    def size(self) -> int:
        """The bytes of the files whose size is known."""
        return sum(one.size or 0 for one in self.items)

    @property
    def unsized(self) -> int:
        """How many files have a size that is not known before they come."""
        return sum(one.size is None for one in self.items)


def sizes(plan: Plan, manners: Manners = Manners(timeout=15)) -> dict[str, int]:  # noqa: B008
    """Ask the servers for the sizes that no card and no index tells, of the first ``ASKED`` files; bytes by path, without those that do not say."""
    found = {}
    for one in [one for one in plan.items if one.size is None][:ASKED]:
        with (
            contextlib.suppress(Broken, FetchError),
            ask(one.url, manners, (0, 1), anywhere=one.digest is not None) as reply,
        ):
            if reply.total is not None:
                found[one.path] = reply.total
    return found


def steps(card: DatasetCard, variant: str | None) -> list[str]:
    """Return what a user does to get a set that is not fetched: the owners' steps, and the files that the folder must hold then."""
    files = [one for one in card.files if one.variant in (None, variant)]
    found = [
        STEPS[card.access],
        f"Owners: {card.owner}{f', {card.homepage}' if card.homepage else ''}{f'; code: {card.code}' if card.code else ''}.",
    ]
    found += card.obstacles
    if files:
        found.append(
            "The folder must hold, at its top or up to three levels below, packed (.gz, .zst, zip, tar) or not:"
        )
        found += [
            f"  {_pattern(one.places[0], card)}{'  (optional)' if one.optional else ''}{f'  ({one.note})' if one.note else ''}"
            for one in files
        ]
    return found


def _pattern(path: str, card: DatasetCard) -> str:
    words = list(card.splits.values())
    return path.replace("{split}", f"{{{','.join(words)}}}" if len(words) > 1 else "".join(words))


def of_dataset(card: DatasetCard, variant: str | None, folder: Path, manners: Manners = USUAL) -> Plan | None:
    """Return what is fetched of a dataset, or of one variant; None where its card names no address. Asks owners' indexes for their lists."""
    asked = [one for one in card.downloads if one.variant in (None, variant)]
    if not asked:
        return None
    items: list[Item] = []
    notes, revision = [], None
    for one in asked:
        found, revision = _files(one, manners)
        items += found
        if one.checked == "unverified":
            notes.append(f"{one.url}: this address is unverified")
    licences = tuple(
        f"{one.name} ({one.covers}{'' if one.checked in ('read', 'run') else ', unverified'})" for one in card.licences
    )
    return Plan(
        card.slug + (f":{variant}" if variant else ""),
        folder,
        tuple(items),
        licences or ("not known",),
        tuple(notes),
        revision,
    )


def _files(one: Download, manners: Manners) -> tuple[list[Item], str | None]:
    if one.index is None:
        name = one.path or unquote(PurePosixPath(urlsplit(one.url).path).name)
        if not name:
            raise FetchError(f"{one.url}: its card does not say how the file is called")
        return [Item(name, one.url, one.size, one.digest)], None
    found, revision = listing.listed(one.url, one.index, one.revision, manners)
    wanted = listing.chosen(found, one.files)
    if not wanted:
        raise FetchError(
            f"{one.url}: its index lists none of the files wanted ({', '.join(one.files) or 'it is empty'})"
        )
    above = f"{one.path.rstrip('/')}/" if one.path else ""
    return [Item(above + each.path, each.url, each.size, each.digest) for each in wanted], revision


def of_weights(
    page: str, files: Sequence[str], name: str, folder: Path, licence: str | None, digest: str | None = None, read_with: Sequence[str] = (),
    manners: Manners = USUAL,
) -> Plan:  # fmt: skip
    """Return what is fetched of a repository of the hub: its weights, safetensors where there are any, and what is read with them.

    ``files``: the card's names of the weights (none: whatever weights there are); ``digest``: the card's, of the one file of weights.
    """
    found, revision = listing.hub(page, None, manners)
    weights = [one for one in found if one.path.endswith(WEIGHTS)]
    patterns = [f"{one}*" if one.endswith("/") else one for one in files]
    if missing := [one for one in patterns if not listing.chosen(found, [one])]:
        raise FetchError(f"{page}: the files of the card are not there: {', '.join(missing)}")
    named = listing.chosen(found, patterns) if patterns else [one for one in weights if "/" not in one.path]
    wanted, notes = _safer(named, weights)
    places = {PurePosixPath(one.path).parent for one in wanted} | {PurePosixPath()}
    beside = [
        one
        for one in found
        if PurePosixPath(one.path).parent in places and one not in wanted and not one.path.endswith(WEIGHTS)
    ]
    with_them = [one for one in beside if any(PurePosixPath(one.path).match(each) for each in read_with)]
    if digest is not None and digest.startswith("sha256:") and len(wanted) == 1 and wanted == named:
        if wanted[0].digest not in (None, digest) and str(wanted[0].digest).startswith("sha256:"):
            raise FetchError(
                f"{page}: {wanted[0].path} has another digest at the hub than on the card; nothing is fetched"
            )
        wanted = [Item(wanted[0].path, wanted[0].url, wanted[0].size, digest)]
    if not wanted:
        raise FetchError(f"{page}: no weights are there")
    return Plan(name, folder, (*wanted, *with_them), (licence or "not known",), tuple(notes), revision)


def _safer(named: Sequence[Item], weights: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Return the weights to take: in place of pickles the safetensors of the same folder, where there are any."""
    taken: list[Item] = []
    notes = []
    for one in named:
        if not one.path.endswith(PICKLES):
            taken.append(one)
            continue
        path = PurePosixPath(one.path)
        stem = path.stem.replace("pytorch_model", "model")
        safe = [each for each in weights if each.path.endswith(".safetensors") and PurePosixPath(each.path).parent == path.parent
                and SHARD.sub("", PurePosixPath(each.path).stem) == SHARD.sub("", stem)]  # fmt: skip
        if safe:  # the same tensors under the hub's other name for them
            notes.append(f"{one.path} is a pickle: the safetensors beside it are taken")
            taken += [each for each in safe if each not in taken]
        else:
            notes.append(
                f"{one.path} is a pickle: it is kept as a file, and read with nothing but tensors allowed (weights_only)"
            )
            taken.append(one)
    return list(dict.fromkeys(taken)), list(dict.fromkeys(notes))
