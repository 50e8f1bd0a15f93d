"""Findings of contamination kept beside the run they speak of."""

from __future__ import annotations

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.evaluate.contamination.behaviour import Behaviour
from healthfm.evaluate.contamination.content import Finding
from healthfm.report.contamination import FILE
from healthfm.score.result import Result


def store(run: Result, *findings: Finding | Behaviour) -> None:
    """Keep findings in the run's folder, one for each corpus and each model; a newer one replaces an older."""
    if run.path is None:
        raise RunError("this run has no folder to keep a finding in")
    with RunFolder(run.path) as folder:
        kept = folder.read_json(FILE) or {}
        for one in findings:
            kind, of = ("content", one.corpus) if isinstance(one, Finding) else ("behaviour", one.model)
            kept.setdefault(kind, {})[of] = one.asdict()
        folder.write_json(FILE, kept)
