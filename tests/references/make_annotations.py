"""Run BLUE's reader of PubTator and LinkBERT's reader of BLURB's entity sets on the owners' files, and store digests of what they read.

    python -m tests.references.make_annotations BLUE LINKBERT DATA > tests/data/expected/annotations.json

BLUE is ``blue/ext/pubtator.py`` and LINKBERT ``scripts/preprocess_blurb.py`` of ``SOURCES``; DATA holds ``bc5cdr/`` and ``scibert_blurb/``.
Of the second only ``process_blurb_NER`` is run (the rest of the script runs at once); it is given SciBERT's first and last columns as the
two columns of BLURB's files.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SOURCES = {
    "pubtator.py": "github.com/ncbi-nlp/BLUE_Benchmark@c497c419 blue/ext",
    "preprocess_blurb.py": "github.com/michiyasunaga/LinkBERT@210bc47a scripts",
}
CDR = "bc5cdr/data/BC5CDR/raw/CDR_Data/CDR.Corpus.v010516/CDR_{}Set.PubTator.txt"
SPLITS = {"train": "Training", "validation": "Development", "test": "Test"}
ENTITIES = {"NCBI-disease": ("train", "dev", "test"), "JNLPBA": ("dev", "test")}


def digest(value: Any) -> str:
    """Return a digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def abstracts(script: Path, text: str, kind: str) -> list[Any]:
    """Return (id, text, mentions of one type) of each document: the offsets, and the concepts without -1."""
    spec = importlib.util.spec_from_file_location("pubtator", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [
        [one.pmid, f"{one.title} {one.abstract}",
         [[m.start, m.end, [c for c in m.id.split("|") if c != "-1"]] for m in one.annotations if m.type == kind]]
        for one in module.loads(text)
    ]  # fmt: skip


def sentences(script: Path, data: Path, name: str, split: str) -> list[Any]:
    """Return (words, tags) of each sentence, as LinkBERT's function writes them."""
    tree = ast.parse(script.read_text())
    wanted = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "process_blurb_NER"]
    found: list[Any] = []
    import numpy as np

    scope = {
        "os": os,
        "np": np,
        "root": "out",
        "dump_jsonl": lambda outs, path: found.extend(outs),
        "print": lambda *a: None,
    }
    exec(compile(ast.Module(wanted, []), str(script), "exec"), scope)
    columns = [line.rstrip("\n").split("\t") for line in (data / f"scibert_blurb/data/ner/{name}/{split}.txt").open()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"raw_data/blurb/data_generation/data/{name}/{split}.tsv"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{c[0]}\t{c[-1]}\n" if c[0] else "\n" for c in columns))
        before = Path.cwd()
        os.chdir(folder)
        scope["process_blurb_NER"](name, split)
        os.chdir(before)
    return [[one["tokens"], one["ner_tags"]] for one in found]


def main(blue: Path, linkbert: Path, data: Path) -> None:
    """Print the digests."""
    texts = {split: (data / CDR.format(word)).read_text() for split, word in SPLITS.items()}
    print(json.dumps({
        "made by": SOURCES,
        "bc5cdr": {kind.lower(): {s: digest(abstracts(blue, t, kind)) for s, t in texts.items()} for kind in ("Disease", "Chemical")},
        "sentences": {n: {s: digest(sentences(linkbert, data, n, s)) for s in splits} for n, splits in ENTITIES.items()},
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
