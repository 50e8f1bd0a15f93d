"""Models without a card of the catalogue, by name: a Hugging Face folder, a server, code of the user's.

Each such name becomes a card of its own, which knows no training data: lineage is never asked of it. Needs no torch.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from healthfm.cards import files
from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CardError, CheckpointError
from healthfm.models.model import VERBS

FORMS = {
    "hf": "hf:FOLDER (a Hugging Face folder: config.json, weights, tokenizer or preprocessor files)",
    "endpoint": "endpoint:http(s)://HOST[:PORT][#MODEL] (an OpenAI-compatible server)",
    "python": "python:MODULE:OBJECT (your own code)",
    "baseline": "baseline:NAME (a cheap rival alone, without weights: counts of timelines, ecfp of molecules, leads of ECGs, words, thumbnail, ...)",
}
PRECISIONS = ("float32", "bfloat16", "float16")
FAMILY = "transformers"
BASELINES = {  # the cheap rivals by name, and what they look at
    "counts": "timeline", "words": "text", "question-only": "text", "mean-colour": "image", "thumbnail": "image", "pixels-pca": "image", "values": "volume", "size": "volume",
    "ecfp": "molecule", "leads": "signal", "variable-pca": "profile", "drug-and-line": "profile", "letters": "sequence", "site": "table",
}  # fmt: skip
COUNTS = "counts"


def form(name: Any) -> str | None:
    """Return "hf", "endpoint", "python" or "baseline" where a name is of that form, else None."""
    head, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
    return head if colon and head in FORMS else None


def rest(name: str) -> str:
    """Return what stands behind the form. Raises ``CardError``: nothing does."""
    kind, _, found = name.partition(":")
    if not found.strip():
        raise CardError(f"'{name}' names nothing; write {FORMS[kind]}")
    return found.strip()


def folder(name: str) -> Path:
    """Return the folder of ``hf:FOLDER``. Raises ``CheckpointError``: there is none, or it is no Hugging Face folder."""
    path = Path(rest(name)).expanduser()
    if not path.is_dir():
        raise CheckpointError(f"{name}: no folder {path} (nothing is downloaded: hf: takes a folder on this machine)")
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{path}: no config.json, so no Hugging Face folder")
    return path


def baseline(name: str) -> str:
    """Return which of healthfm's baselines ``baseline:NAME`` means. Raises ``CardError``: none is called so."""
    found = rest(name)
    if found not in BASELINES:
        raise CardError(f"'{name}': no baseline is called so (baselines: {', '.join(BASELINES)})")
    return found


def address(name: Any) -> str | None:
    """Return the server's address of ``endpoint:ADDRESS``, None for any other name. Raises ``CardError``: it is no address."""
    if form(name) != "endpoint":
        return None
    found = rest(name)
    if not found.startswith(("http://", "https://")):
        raise CardError(f"'{name}' names no server; write {FORMS['endpoint']}")
    return found


def card(name: str) -> ModelCard:
    """Return the card of a name of one of the ``FORMS``; of a server nothing is asked, of code nothing is run.

    Raises ``CardError``, ``CheckpointError``: no such folder, or one whose network transformers does not have itself.
    """
    kind = form(name)
    assert kind is not None
    facts: dict[str, Any] = {"access": "closed", "architecture": "the server's", "modalities": ["text"]}
    if kind == "hf":
        path = folder(name)
        title = path.resolve().name
        stated = config(path)
        architecture = architecture_of(stated, path)
        precision = stated.get("dtype") or stated.get("torch_dtype")
        run = {
            "family": FAMILY, "architecture": architecture, "dtype": precision if precision in PRECISIONS else "float32",
            **({"zero_shot": {"rule": "sigmoid"}} if architecture == "SiglipModel" else {}),  # as it was trained
        }  # fmt: skip
        facts = {
            "access": "open",
            "architecture": f"transformers {architecture}",
            "modalities": modalities(path),
            "run": run,
        }
    elif kind == "baseline":
        title = baseline(name)
        facts = {
            "access": "open", "architecture": "counts of codes", "modalities": ["timeline"],
            "summary": "healthfm's own baseline: counts of codes, without weights and without any training before.",
        } if title == COUNTS else {
            "access": "open", "architecture": "features and a classifier", "modalities": [BASELINES[title]],
            "summary": f"healthfm's own baseline ({title}), without weights and without any training before.",
        }  # fmt: skip
    elif kind == "endpoint":
        url, _, model = rest(name).partition("#")
        title = unquote(model).replace("\\", "/").rstrip("/").rpartition("/")[2] or url.partition("://")[2]
    else:
        title = ".".join(rest(name).split(":")[:2])
        facts["architecture"] = "the user's code"
    made = files.validate({
        "kind": "model", "slug": f"{kind}-{plain(title)}", "name": title, "group": "general", "path": name,
        "summary": f"A model of the user's own ({kind}); nothing is known of what it was trained on.", **facts,
    })  # fmt: skip
    assert isinstance(made, ModelCard)
    return made


def plain(title: str) -> str:
    """Return a title as the letters of a slug."""
    signs = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(part for part in signs.split("-") if part) or "own"


def modalities(path: Path) -> list[str]:
    """Return what a folder's model reads, by the files that say how."""
    found = (
        ["image"] if (path / "preprocessor_config.json").is_file() or (path / "processor_config.json").is_file() else []
    )
    texts = any(
        (path / name).is_file()
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "spiece.model")
    )
    return [*found, *(["text"] if texts or not found else [])]


def config(path: Path) -> dict[str, Any]:
    """Return a folder's ``config.json``. Raises ``CheckpointError``: it cannot be read."""
    try:
        stated = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path / 'config.json'}: not valid JSON ({type(error).__name__})") from None
    if not isinstance(stated, dict):
        raise CheckpointError(f"{path / 'config.json'}: holds a {type(stated).__name__}, an object was expected")
    return stated


def architecture_of(stated: dict[str, Any], path: Path) -> str:
    """Return the class that a configuration names. Raises ``CheckpointError`` where it names none, or code of the folder's own."""
    named = stated.get("architectures")
    if not isinstance(named, list) or not named or not isinstance(named[0], str):
        raise CheckpointError(
            f'{path}: config.json names no network; say which in "architectures", e.g. ["LlamaForCausalLM"]'
        )
    return str(named[0])


# The user's code --------------------------------------------------------------------------------------------------------


def code(name: str) -> tuple[Any, str | None]:
    """Import ``python:MODULE:OBJECT[:VERB]`` and return the object, and the verb that it is where it is a plain function.

    A class is made without arguments. The working directory is looked in first, as ``python -m`` does.
    Raises ``CardError``: the name has another form; ``CapabilityError``: it cannot be imported, or which verb it is is not said.
    """
    parts = rest(name).split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise CardError(f"'{name}': write {FORMS['python']}, or python:MODULE:FUNCTION:VERB")
    module, attribute, *verb = parts
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        target: Any = found() if isinstance(found, type) else found
    except Exception as error:  # the user's own code may raise anything
        raise CapabilityError(f"{name}: {type(error).__name__} while it was imported: {error}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if verb and verb[0] not in VERBS:
        raise CardError(f"'{name}': no verb is called '{verb[0]}' (verbs: {', '.join(VERBS)})")
    if verb:
        return target, verb[0]
    last = attribute.rpartition(".")[2]
    has = any(callable(getattr(target, one, None)) for one in VERBS)
    if not has and last not in VERBS:
        raise CapabilityError(
            f"{name}: it has none of the methods {', '.join(VERBS)}; of a plain function say which of them it is: {name}:generate"
        )
    return target, None if has else last
