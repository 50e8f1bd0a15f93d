"""The whole road: weights in each row's published file format, the real command line, a finished report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models import road
from tests.models.language.test_masked_lm import (
    TENSORFLOW,
    close,
    expected,
    hub_folder,
    load,
    tar,
    tensorflow_folder,
    ticks,
)

KINDS = {"biolinkbert": "BertModel", "pubmedbert": "BertForMaskedLM", "clinicalbert": "BertForPreTraining"}
POOLER = ("biolinkbert", "bluebert", "clinicalbert")  # their owners' code takes the pooler's output, the others' [CLS]
IDS = ("input_ids", "attention_mask")
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
    return hub_folder(folder / slug, slug, KINDS[slug])


def reference(slug: str, folder: Path) -> Callable[[Sequence[str]], np.ndarray]:
    """What pools texts as the row's published files make it: transformers' own class, or one held against the owners' graph."""
    model = load(slug, published(slug, folder))
    if slug in TENSORFLOW:
        facts = expected(f"{slug}.tf1_bert")
        assert close(
            model.forward({k: torch.tensor(facts[k]) for k in IDS})["last_hidden_state"], facts["last_hidden_state"]
        )
        return model.embed
    files = next(path.parent for path in folder.rglob("pytorch_model.bin"))
    state = torch.load(files / "pytorch_model.bin", weights_only=True)
    state = {k.removeprefix("bert."): v for k, v in state.items() if not k.startswith("cls.")}
    config = transformers.BertConfig.from_pretrained(files)
    network = transformers.BertModel(config, add_pooling_layer="pooler.dense.weight" in state).eval()
    network.load_state_dict(state)

    def embed(texts: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            found = [network(torch.tensor([model.encode(text)])) for text in texts]
        return np.stack(
            [(one.pooler_output if slug in POOLER else one.last_hidden_state[:, 0])[0].numpy() for one in found]
        )

    return embed


@pytest.mark.parametrize("slug", ticks(ROWS, "road"))
def test_a_linear_probe_on_pubmedqa_from_published_files_to_a_report(
    slug: str, tmp_path: Path, few_pubmedqa: Path
) -> None:
    asked = (slug, "pubmedqa", "--root", few_pubmedqa, "--task", "linear-probe", "--weights")
    rows = road.evaluated(tmp_path / "run", *asked, published(slug, tmp_path / "weights"))
    owners = json.loads((few_pubmedqa / "data/ori_pqal.json").read_text())
    test = [row["id"] for row in rows]
    fit = [one for one in owners if one not in test]
    assert [row["target"] for row in rows] == [owners[one]["final_decision"] for one in test]
    embed = reference(slug, tmp_path / "reference")
    asked_of = [["\n".join([*owners[one]["CONTEXTS"], owners[one]["QUESTION"]]) for one in ids] for ids in (fit, test)]
    labels = [owners[one]["final_decision"] for one in fit]
    road.assert_probed(tmp_path / "run", rows, labels, *map(embed, asked_of))
    others = load(slug, road.disturb(hub_folder(tmp_path / "other", slug, KINDS.get(slug, "BertForPreTraining"))))
    again = road.probabilities(tmp_path / "run", rows, labels, *map(others.embed, asked_of))
    road.assert_moved(road.scores(rows), again)  # the same questions by other weights
