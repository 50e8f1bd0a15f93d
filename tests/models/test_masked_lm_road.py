"""The whole road: weights in each row's published file format, the real command line, a finished report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.models.test_masked_lm import hub_folder, tar, tensorflow_folder, ticks

ROWS = ("biolinkbert", "pubmedbert", "biobert", "bluebert", "clinicalbert", "scibert")


def published(slug: str, folder: Path) -> Path:
    """A reduced network (2 layers of width 16, a small vocabulary) in the row's published files."""
    if slug == "biobert":  # biobert_v1.1_pubmed.tar.gz
        return tar(
            folder / "biobert_v1.1_pubmed.tar.gz",
            tensorflow_folder(folder / "biobert_v1.1_pubmed", "model.ckpt-1000000"),
        )
    if slug == "bluebert":  # the unpacked NCBI zip
        return tensorflow_folder(folder / "NCBI_BERT_pubmed_uncased_L-12_H-768_A-12", "bert_model.ckpt")
    if slug == "scibert":  # scibert_scivocab_uncased.tar, the Hugging Face one
        inside = hub_folder(folder / "scibert_scivocab_uncased", slug)
        return tar(folder / "scibert_scivocab_uncased.tar", inside, "w")
    kinds = {"biolinkbert": "BertModel", "pubmedbert": "BertForMaskedLM", "clinicalbert": "BertForPreTraining"}
    return hub_folder(folder / slug, slug, kinds[slug])


def evaluate(*arguments: str) -> dict[str, object]:
    done = run("evaluate", *arguments, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("slug", ticks(ROWS, "road"))
def test_a_linear_probe_on_pubmedqa_from_published_files_to_a_report(
    slug: str, tmp_path: Path, pubmedqa_root: Path
) -> None:
    found = evaluate(
        slug, "pubmedqa", "--root", str(pubmedqa_root), "--task", "linear-probe", "--limit", "40",
        "--weights", str(published(slug, tmp_path)), "--output", str(tmp_path / "run"),
    )  # fmt: skip
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["request"]["weights"].startswith("sha256:")
    assert stored["environments"][0]["model"]["digest"].startswith("sha256:")
    report = (tmp_path / "run" / "report.html").read_text()
    assert "pubmedqa" in report.lower() and slug in report
    assert found["metrics"]
