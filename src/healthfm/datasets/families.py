"""Families of like sequences: by mmseqs2 where it is installed, else by the short words that two sequences share."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from healthfm.errors import DatasetError

IDENTITY, COVERAGE = 0.3, 0.8  # of mmseqs2's clusters
WORD = {
    "protein": 4,
    "letters of nucleotides": 11,
}  # letters of a word; two proteins that are not related share next to none
SHARE = 0.1  # of the shorter one's words
COMMON = 2_000  # sequences that have a word, above which it says nothing of kinship
NUCLEOTIDES = frozenset("ACGTUN")


def way() -> str:
    """Say how families are found on this machine."""
    if shutil.which("mmseqs"):
        return f"families by mmseqs2, {IDENTITY:.0%} identity over {COVERAGE:.0%} of the length"
    return (
        f"mmseqs2 is not installed: families by shared words, of a tenth of the shorter one's words of {WORD['protein']} residues ({WORD['letters of nucleotides']} nucleotides), "
        "which finds what is about half identical and misses farther relatives"
    )


def of(sequences: Sequence[str]) -> list[int]:
    """Return the number of each sequence's family. Raises ``DatasetError``: mmseqs2 fails."""
    return _by_mmseqs(sequences) if shutil.which("mmseqs") else by_words(sequences)


def words(letters: str) -> frozenset[str]:
    """Return the words of a sequence, itself where it is shorter than one."""
    found = letters.upper()
    k = WORD["letters of nucleotides" if NUCLEOTIDES.issuperset(found) else "protein"]
    return frozenset(found[i : i + k] for i in range(len(found) - k + 1)) or frozenset([found])


def by_words(sequences: Sequence[str], share: float = SHARE) -> list[int]:
    """Return families in which each sequence shares words with another (single linkage)."""
    every = [words(one) for one in sequences]
    having: dict[str, list[int]] = {}
    for i, some in enumerate(every):
        for word in some:
            having.setdefault(word, []).append(i)
    parent = list(range(len(sequences)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, some in enumerate(every):
        met = Counter(j for word in some if len(having[word]) <= COMMON for j in having[word] if j > i)
        for j, count in met.items():
            if count >= share * min(len(some), len(every[j])):
                parent[root(j)] = root(i)
    return [root(i) for i in range(len(sequences))]


def _by_mmseqs(sequences: Sequence[str]) -> list[int]:
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "in.fasta").write_text("".join(f">{i}\n{one}\n" for i, one in enumerate(sequences)))
        asked = [
            "mmseqs",
            "easy-cluster",
            "in.fasta",
            "out",
            "work",
            "--min-seq-id",
            str(IDENTITY),
            "-c",
            str(COVERAGE),
            "--threads",
            "1",
            "-v",
            "1",
        ]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DatasetError(f"mmseqs2 failed with exit code {done.returncode}")
        pairs = [line.split("\t") for line in (folder / "out_cluster.tsv").read_text().splitlines()]
    found = {int(member): int(first) for first, member in pairs}
    return [found[i] for i in range(len(sequences))]
