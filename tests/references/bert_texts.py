"""Texts and vocabularies that reference scripts and tests share: real questions, and a small vocabulary made from them."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HARD = [
    "Na\u00efve T-cells of Sj\u00f6gren's patients: IL-2 \u2192 IFN-\u03b3 (P<0.05)",
    "  Tabs\tand\nnew lines,\u00a0hard spaces; \u4e2d\u6587 and BRCA1/BRCA2 \u2265 50% ",
]  # fmt: skip
HEAVY = "EVQLVESGGGLVQPGGSLRLSCAASGFTFSSYAMSWVRQAPGKGLEWVSAISGSGGSTYYADSVKGRFTISRDNSKNTLYLQMNSLRAEDTAVYYCAKDRGGYFDYWGQGTLVTVSS"
LIGHT = "DIQMTQSPSSLSASVGDRVTITCRASQSISSYLNWYQQKPGKAPKLLIYAASSLQSGVPSRFSGSGSGTDFTLTISSLQPEDFATYYCQQSYSTPLTFGGGTKVEIK"


@functools.cache
def texts() -> list[str]:
    """Return 26 texts: 20 PubMedQA questions, 4 of them with contexts over 512 pieces, 2 with accents and odd spaces."""
    rows = json.loads((PROJECT / "examples" / "pubmedqa" / "data" / "ori_pqal.json").read_text(encoding="utf-8"))
    chosen = [rows[key] for key in sorted(rows)[:24]]
    long = [" ".join([row["QUESTION"], *row["CONTEXTS"], *row["CONTEXTS"], *row["CONTEXTS"]]) for row in chosen[20:]]
    return [row["QUESTION"] for row in chosen[:20]] + long + HARD


def sequences() -> list[str]:
    """Return 24 antibody chains: a heavy and a light chain close to human germline, and changed copies."""
    letters = "ACDEFGHIKLMNPQRSTVWY"
    changed = [s[: 4 * i] + letters[(7 * i) % 20] + s[4 * i + 1 :] for i in range(1, 11) for s in (HEAVY, LIGHT)]
    return [HEAVY, LIGHT, *changed, "EVQXBZ_ZVESG-evq", LIGHT * 6]


@functools.cache
def vocabulary() -> list[str]:
    """Return a small vocabulary of the texts' letters, and of half of their words as written and half as lowered."""
    whole = " ".join(texts())
    letters = sorted({c for text in (whole, whole.lower()) for c in text if not c.isspace()})
    words = [w for i, w in enumerate(sorted(set(re.findall(r"[A-Za-z]{2,}", whole)))) if i % 2]
    lowered = [w for i, w in enumerate(sorted(set(re.findall(r"[a-z]{2,}", whole.lower())))) if i % 2]
    ends = sorted({f"##{w[-3:]}" for w in words if len(w) > 4})
    return [*SPECIAL, *dict.fromkeys([*letters, *(f"##{c}" for c in letters), *ends, *words, *lowered])]


def write_vocabulary(path: Path) -> Path:
    """Write the vocabulary as published BERTs do: one piece a line."""
    path.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return path
