"""BERT encoders: the published files load, tokens and outputs are the references', and every known trap shows."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CapabilityError, CheckpointError, RunError, load_model
from healthfm.cards import catalog
from healthfm.models.files import bert_files
from healthfm.models.files.weights import locate
from healthfm.models.language import masked_lm
from healthfm.models.language.masked_lm import MaskedLM
from tests.references.bert_texts import HEAVY, LIGHT, sequences, texts, vocabulary, write_vocabulary
from tests.references.recipe_weights import recipe_array

DATA = Path(__file__).parents[2] / "data"
TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
HUB = ("biolinkbert", "pubmedbert", "clinicalbert", "scibert")
TENSORFLOW = ("biobert", "bluebert")
PACKAGED = ("antiberty", "all-minilm-l6-v2")


def ticks(slugs: tuple[str, ...], tick: str) -> list[Any]:
    return [pytest.param(slug, marks=pytest.mark.evidence(slug, tick)) for slug in slugs]


def expected(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / f"{name}.json").read_text()))


def load(slug: str, weights: object = None, **config: object) -> MaskedLM:
    return load_model(slug, weights, config=config, device="cpu")  # type: ignore[arg-type,return-value]


@functools.cache
def packaged(slug: str) -> MaskedLM:
    """A row whose real weights are here, loaded once. No test may change it."""
    return load(slug)


def close(ours: np.ndarray, theirs: object) -> bool:
    reference = np.asarray(theirs, np.float64)
    error = ours - reference
    size = np.linalg.norm(reference)
    return bool(np.linalg.norm(error) <= 1e-4 * size and np.abs(error).max() <= 1e-3 * size / np.sqrt(reference.size))


def hub_folder(folder: Path, slug: str, kind: str = "BertForPreTraining", pieces: Path | None = None) -> Path:
    """A small network as transformers 3 published it: config.json, pytorch_model.bin, vocab.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder / "vocab.txt") if pieces is None else shutil.copy(pieces, folder / "vocab.txt")
    rows = len((folder / "vocab.txt").read_text(encoding="utf-8").split("\n")) - 1
    weights, config = hub_network(kind, rows)
    (folder / "pytorch_model.bin").write_bytes(weights)
    (folder / "config.json").write_text(config)
    return folder


@functools.cache
def hub_network(kind: str, rows: int) -> tuple[bytes, str]:
    """What pytorch_model.bin and config.json of the small network hold."""
    config = transformers.BertConfig(vocab_size=rows, **TINY)
    network = getattr(transformers, kind)(config)
    state = network.state_dict()
    for key in state:
        state[key] = torch.from_numpy(np.asarray(recipe_array(key, tuple(state[key].shape))))
    if "cls.predictions.bias" in state:
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
        state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"].clone()
    torch.save(state, out := io.BytesIO())
    return out.getvalue(), json.dumps({**config.to_diff_dict(), "architectures": [kind], "vocab_size": rows})


def tensorflow_folder(folder: Path, prefix: str = "model.ckpt-10", config: str = "bert_config.json") -> Path:
    """The TensorFlow 1 checkpoint as its owners pack it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (DATA / "tf1_bert").glob("model.ckpt-10.*"):
        shutil.copy(path, folder / path.name.replace("model.ckpt-10", prefix))
    shutil.copy(DATA / "tf1_bert" / "bert_config.json", folder / config)
    write_vocabulary(folder / "vocab.txt")
    return folder


def tar(path: Path, folder: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as packed:
        packed.add(folder, folder.name)
    return path


# keys -----------------------------------------------------------------------------------------------------------------


def manifest(name: str) -> dict[str, dict[str, list[int]]]:
    packed = json.loads(gzip.decompress((DATA / "manifests" / f"{name}.json.gz").read_bytes()))
    return dict(packed["variants"])


def fit_on_meta(slug: str, variant: str, tensors: dict[str, torch.Tensor]) -> transformers.BertForPreTraining:
    card = catalog.card(slug, "model")
    with torch.device("meta"):
        network = masked_lm.build(masked_lm.settings(card, variant, {}, {})[1])  # type: ignore[arg-type]
        masked_lm.fit(network, tensors, card.runner(variant).ignore_keys)  # type: ignore[union-attr]
    return network


@pytest.mark.parametrize("slug", ticks(HUB, "keys"))
def test_the_reference_modules_keys_load_strictly_at_full_size(slug: str) -> None:
    for variant, shapes in manifest(f"{slug}.bert").items():
        network = fit_on_meta(slug, variant, {k: torch.empty(s, device="meta") for k, s in shapes.items()})
        assert (network.cls.predictions is not None) == (slug != "biolinkbert")


VARIANTS = {
    "biobert": {"base": ("base-v1-1", "base-v1-0-pubmed", "base-v1-0-pmc", "base-v1-0-pubmed-pmc"), "large-v1-1": ("large-v1-1",)},
    "bluebert": {"base": ("base-pubmed", "base-pubmed-mimic"), "large": ("large-pubmed", "large-pubmed-mimic")},
}  # fmt: skip


@pytest.mark.parametrize("slug", ticks(TENSORFLOW, "keys"))
def test_the_owners_tensorflow_variables_load_strictly_at_full_size(slug: str) -> None:
    for name, shapes in manifest(f"{slug}.tf1_bert").items():
        slots = {f"{k}/adam_m": s for k, s in shapes.items()} | {"global_step": []}
        tensors = {k: torch.empty(s, device="meta") for k, s in {**shapes, **slots}.items()}
        for variant in VARIANTS[slug][name]:
            network = fit_on_meta(slug, variant, bert_files.from_tensorflow(tensors))
            assert network.cls.seq_relationship is not None


@pytest.mark.parametrize("slug", ticks(PACKAGED, "keys"))
def test_the_real_files_load_strictly(slug: str) -> None:
    assert packaged(slug).provenance["digest"] == catalog.card(slug, "model").weights[0].digest  # type: ignore[union-attr]


def test_a_wrong_size_and_a_stranger_among_the_keys_are_named() -> None:
    shapes = manifest("scibert.bert")["scivocab-cased"]
    tensors = {k: torch.empty(s, device="meta") for k, s in shapes.items()}
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight is \(31116, 768\), \(31090, 768\) fits"):
        fit_on_meta("scibert", "scivocab-uncased", tensors)
    tensors["cls.predictions.stranger"] = tensors.pop("cls.predictions.transform.dense.bias")
    with pytest.raises(CheckpointError, match=r"1 missing keys: cls.predictions.transform.dense.bias; 1 unexpected"):
        fit_on_meta("scibert", "scivocab-cased", tensors)


# network --------------------------------------------------------------------------------------------------------------


def recipe_tensors(facts: dict[str, Any]) -> dict[str, torch.Tensor]:
    pairs = zip(facts["keys"], facts["shapes"], strict=True)
    tensors = {k: torch.from_numpy(np.asarray(recipe_array(k, tuple(s)))) for k, s in pairs}
    return {k: v for k, v in tensors.items() if not k.startswith("cls.predictions.decoder.")}  # tied in the reference


def run(model: MaskedLM, facts: dict[str, Any]) -> dict[str, np.ndarray]:
    return model.forward({k: torch.tensor(facts[k]) for k in ("input_ids", "attention_mask")})


@pytest.mark.parametrize("slug", ticks(HUB, "network"))
def test_outputs_are_the_reference_modules(slug: str) -> None:
    facts = expected(f"{slug}.bert")
    found = run(load(slug, recipe_tensors(facts), **facts["config"]), facts)
    names = {"last_hidden_state", "pooler_output", "logits"} & set(facts)
    assert names == set(found)
    assert all(close(found[name], facts[name]) for name in names)


@pytest.mark.parametrize("slug", ticks(TENSORFLOW, "network"))
def test_outputs_are_those_of_the_owners_tensorflow_graph(slug: str) -> None:
    facts = expected(f"{slug}.tf1_bert")
    found = run(load(slug, DATA / "tf1_bert"), facts)
    found["every_37th_log_prob"] = torch.from_numpy(found["logits"]).log_softmax(-1).numpy()[..., ::37]
    for name in ("last_hidden_state", "pooler_output", "every_37th_log_prob"):
        assert close(found[name], facts[name])


@pytest.mark.parametrize("wrong", ["tanh gelu", "kernel", "norm", "mask", "epsilon"])
def test_a_wrong_reading_of_the_tensorflow_checkpoint_shows(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = expected("biobert.tf1_bert")
    if wrong == "norm":
        monkeypatch.setattr(bert_files, "WORDS", {**bert_files.WORDS, "gamma": "bias", "beta": "weight"})
    config = {"tanh gelu": {"hidden_act": "gelu_new"}, "epsilon": {"layer_norm_eps": 1e-3}}.get(wrong, {})
    model = load("biobert", DATA / "tf1_bert", **config)
    if wrong == "kernel":
        query = model.network.bert.encoder.layer[0].attention.self.query
        query.weight.data = query.weight.data.T.contiguous()
    if wrong == "mask":
        facts["attention_mask"] = np.ones_like(facts["attention_mask"]).tolist()
    assert not close(run(model, facts)["last_hidden_state"], facts["last_hidden_state"])


@pytest.mark.evidence("antiberty", "network")
@pytest.mark.evidence("antiberty", "output")
def test_antiberty_embeds_real_sequences_as_its_own_runner_does() -> None:
    facts = expected("antiberty.bert")
    found = packaged("antiberty").embed(facts["sequences"], "tokens")
    assert [len(one) for one in found] == facts["rows"] == [len(s) + 2 for s in facts["sequences"]]
    for ours, theirs in zip(found, facts["every_37th_value"], strict=True):
        assert close(ours.flatten()[::37], theirs)


@pytest.mark.evidence("antiberty", "output")
def test_antiberty_fills_masks_as_its_own_runner_does() -> None:
    facts = expected("antiberty.bert")
    filled = packaged("antiberty").fill(facts["masked"], top_k=1)
    assert [s.replace("_", best[0][0]) for s, best in zip(facts["masked"], filled, strict=True)] == facts["filled"]


def test_antiberty_fills_as_transformers_own_class_does() -> None:
    path = locate(catalog.card("antiberty", "model"), None)  # type: ignore[arg-type]
    reference, _ = transformers.BertForMaskedLM.from_pretrained(path.parent, output_loading_info=True)
    model = packaged("antiberty")
    masked = HEAVY[:95] + "_" + HEAVY[96:]
    with torch.inference_mode():
        logits = reference.eval()(**model.preprocess([masked])).logits[0, 96].softmax(-1)
    for piece, chance in model.fill([masked], top_k=5)[0]:
        assert chance == pytest.approx(float(logits[model.tokenizer.convert_tokens_to_ids(piece)]), abs=1e-5)


@pytest.mark.evidence("all-minilm-l6-v2", "network")
@pytest.mark.evidence("all-minilm-l6-v2", "output")
def test_minilm_embeds_as_sentence_transformers_does() -> None:
    facts = expected("all-minilm-l6-v2.bert")
    chosen = [texts()[i] for i in facts["texts"]]
    assert close(packaged("all-minilm-l6-v2").embed(chosen), facts["embeddings"])
    assert facts["texts"][2] == 20  # a long one, on which every wrong rule shows
    for config in (
        {"pooling": "cls"},
        {"pooling": "pooler"},
        {"normalise": False},
        {"max_length": 128},
        {"lower_case": False},
    ):
        assert not close(load("all-minilm-l6-v2", **config).embed(chosen[2:3]), facts["embeddings"][2:3])


def test_minilm_agrees_with_automodel_and_puts_related_sentences_together() -> None:
    path = locate(catalog.card("all-minilm-l6-v2", "model"), None)  # type: ignore[arg-type]
    reference = transformers.AutoModel.from_pretrained(path.parent).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent)
    sentences = [
        "The patient had a heart attack.",
        "She suffered a myocardial infarction.",
        "A green bicycle stood outside.",
    ]
    batch = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = reference(**batch).last_hidden_state
    weight = batch["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1).numpy()
    found = packaged("all-minilm-l6-v2").embed(sentences)
    assert close(found, mean)
    assert found[0] @ found[1] > 0.5 > 0.2 > found[0] @ found[2]


# input ----------------------------------------------------------------------------------------------------------------


def digests(model: MaskedLM, items: list[str]) -> list[str]:
    return [hashlib.sha256(json.dumps(model.encode(item)).encode()).hexdigest() for item in items]


@pytest.mark.parametrize("slug", ticks((*HUB, "biobert"), "input"))
def test_tokens_are_those_of_the_owners_code(slug: str, tmp_path: Path) -> None:
    facts = expected(f"{slug}.bert_inputs")
    folder = hub_folder(tmp_path, slug)
    model = load(slug, folder)
    assert digests(model, texts()) == facts["sha256"]
    assert max(facts["lengths"]) == 512 and model.provenance["truncated"] == facts["lengths"].count(512) == 4
    wrong = load(slug, folder, lower_case=not model.rules.lower_case)
    assert sum(a != b for a, b in zip(digests(wrong, texts()), facts["sha256"], strict=True)) >= 20


@pytest.mark.evidence("scibert", "input")
def test_scibert_cased_keeps_capitals(tmp_path: Path) -> None:
    model = load("scibert:scivocab-cased", hub_folder(tmp_path, "scibert"))
    assert digests(model, texts()) == expected("scibert-cased.bert_inputs")["sha256"]


@pytest.mark.evidence("bluebert", "input")
def test_bluebert_tokens_are_those_of_the_owners_code_with_the_real_vocabulary(tmp_path: Path) -> None:
    pieces = locate(catalog.card("all-minilm-l6-v2", "model"), None).with_name("vocab.txt")  # type: ignore[arg-type]
    facts = expected("bluebert.bert_inputs")
    folder = hub_folder(tmp_path, "bluebert", pieces=pieces)
    assert digests(load("bluebert", folder), texts()) == facts["sha256"]
    wrong = digests(load("bluebert", folder, lower_case=False), texts())
    assert sum(a != b for a, b in zip(wrong, facts["sha256"], strict=True)) >= 20


@pytest.mark.evidence("all-minilm-l6-v2", "input")
def test_minilm_tokens_are_those_of_sentence_transformers() -> None:
    facts = expected("all-minilm-l6-v2.bert_inputs")
    assert digests(packaged("all-minilm-l6-v2"), texts()) == facts["sha256"]
    assert max(facts["lengths"]) == 256


@pytest.mark.evidence("antiberty", "input")
def test_antiberty_tokens_are_those_of_its_own_runner() -> None:
    facts = expected("antiberty.bert_inputs")
    short = [s for s in sequences() if len(s) <= 510]
    model = packaged("antiberty")
    assert len(short) >= 20 and digests(model, short) == facts["sha256"]
    assert model.encode("_X")[1:3] == [4, 1]  # mask, unknown
    whole = load("antiberty", residues=False)
    assert not set(digests(whole, short)) & set(facts["sha256"])


def test_the_argument_vocab_file_makes_every_residue_unknown() -> None:
    """The trap in transformers 5 that the family avoids by passing ``vocab``."""
    pieces = locate(catalog.card("antiberty", "model"), None).parent.parent / "vocab.txt"  # type: ignore[arg-type]
    wrong = transformers.BertTokenizer(vocab_file=str(pieces), do_lower_case=False)
    assert set(wrong.encode("E V Q")[1:-1]) == {wrong.unk_token_id}
    assert 1 not in packaged("antiberty").encode("EVQ")


@pytest.mark.parametrize("slug", ["biobert", "clinicalbert"])
def test_a_hub_tokenizer_that_lowers_is_not_believed(slug: str, tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, slug)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    believed = transformers.AutoTokenizer.from_pretrained(folder)
    assert believed.encode("BRCA") == believed.encode("brca")
    assert digests(load(slug, folder), texts()) == expected(f"{slug}.bert_inputs")["sha256"]
    (folder / "vocab.txt").unlink()  # the vocabulary in tokenizer.json serves too, its normaliser does not
    assert digests(load(slug, folder), texts()) == expected(f"{slug}.bert_inputs")["sha256"]


def test_berts_vocabulary_beside_pubmedbert_is_refused(tmp_path: Path) -> None:
    pieces = locate(catalog.card("all-minilm-l6-v2", "model"), None).with_name("vocab.txt")  # type: ignore[arg-type]
    folder = hub_folder(tmp_path, "pubmedbert", "BertForMaskedLM", pieces)
    with pytest.raises(CheckpointError, match=r"pubmedbert: the vocabulary beside the weights is BERT's"):
        load("pubmedbert", folder)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, "scibert")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()[:-1]) + "\n", encoding="utf-8")
    size = len(vocabulary())
    with pytest.raises(CheckpointError, match=rf"beside the weights has {size - 1} pieces, the network {size}"):
        load("scibert", folder)


# output ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "pooling"),
    [
        pytest.param(slug, pooling, marks=pytest.mark.evidence(slug, "output"))
        for slug, pooling in (
            ("biobert", "last_hidden_state"),  # dmis-lab/biobert issue 23: the [CLS] token's embedding
            ("bluebert", "pooler_output"),  # run_bluebert.py and run_bluebert_sts.py: get_pooled_output
            ("clinicalbert", "pooler_output"),  # run_classifier.py: BertForSequenceClassification
            ("biolinkbert", "pooler_output"),  # run_seqcls.py: AutoModelForSequenceClassification
            ("scibert", "last_hidden_state"),  # bert_text_classifier.py: the top layer's first token
        )
    ],
)
def test_pooling_is_the_one_of_the_owners_code(slug: str, pooling: str) -> None:
    """The reference's own output of that name, pooled as the owner's code for texts pools it."""
    if slug in TENSORFLOW:
        facts = expected(f"{slug}.tf1_bert")
        model = load(slug, DATA / "tf1_bert")
    else:
        facts = expected(f"{slug}.bert")
        model = load(slug, recipe_tensors(facts), **facts["config"])
    rows = [row[: sum(mask)] for row, mask in zip(facts["input_ids"], facts["attention_mask"], strict=True)]
    reference = np.asarray(facts[pooling])
    reference = reference[:, 0] if pooling == "last_hidden_state" else reference
    assert close(model.embed_tokens(rows), reference)
    wrong = {"biobert": "pooler", "scibert": "mean"}.get(slug, "cls")
    model.rules = masked_lm.Rules(**{**vars_of(model.rules), "pooling": wrong})
    assert not close(model.embed_tokens(rows), reference)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.evidence("pubmedbert", "output")
def test_pubmedbert_fills_as_the_hubs_own_pipeline_does(tied: bool, tmp_path: Path) -> None:
    """What the owners publish of PubMedBERT's use is the hub page's fill-mask pipeline."""
    folder = hub_folder(tmp_path, "pubmedbert", "BertForMaskedLM")
    if not tied:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"].flip(0).contiguous()
        torch.save(state, folder / "pytorch_model.bin")
    network = transformers.BertForMaskedLM.from_pretrained(folder)
    tokenizer = transformers.BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    pipeline = transformers.pipeline("fill-mask", model=network, tokenizer=tokenizer, device="cpu", top_k=20)
    masked = [re.sub(r" (of|in|the|a|with|for|and) ", " [MASK] ", text, count=1) for text in texts()[:20]]
    masked = [text for text in masked if "[MASK]" in text]
    assert len(masked) >= 10
    for ours, theirs in zip(load("pubmedbert", folder).fill(masked, top_k=10), pipeline(masked), strict=True):
        assert len(ours) == 10
        plain = [one for one in theirs if one["token"] not in tokenizer.all_special_ids][:10]
        for (piece, chance), one in zip(ours, plain, strict=True):
            assert piece == tokenizer.convert_ids_to_tokens(one["token"])
            assert chance == pytest.approx(one["score"], rel=1e-4)


def vars_of(rules: masked_lm.Rules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__dataclass_fields__}


def test_embeddings_do_not_depend_on_the_batch_or_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    model, some = packaged("all-minilm-l6-v2"), texts()[2::6]  # the last is long
    together = model.embed(some)
    np.testing.assert_allclose(model.embed(some[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(model.embed(some, batch_size=1), together, atol=1e-5)
    monkeypatch.setattr(masked_lm, "TOKENS_PER_BATCH", 600)
    np.testing.assert_allclose(model.embed(some), together, atol=1e-5)
    tokens = model.embed(some[:3], "tokens", batch_size=3)
    assert [len(t) for t in tokens] == [len(model.encode(t)) for t in some[:3]]
    assert model.embed([]).shape == (0, 384)


def test_batches_hold_every_row_once_shortest_first_within_the_budget() -> None:
    lengths = [5, 9000, 3, 4096, 4096, 7]
    found = list(masked_lm.batches(lengths, "auto"))
    assert found == [[2, 0, 5], [3, 4], [1]]
    assert list(masked_lm.batches(lengths, 4)) == [[2, 0, 5, 3], [4, 1]]


def test_text_over_the_limit_keeps_its_beginning_and_its_end_mark(tmp_path: Path) -> None:
    model = packaged("antiberty")
    before = model.provenance.get("truncated", 0)
    ids = model.encode(LIGHT * 6)
    assert len(ids) == 512 and ids[-1] == model.tokenizer.sep_token_id
    assert ids[:-1] == model.tokenizer.encode(" ".join(LIGHT * 6))[:511]
    assert model.provenance["truncated"] == before + 1
    with pytest.raises(RunError, match="513 tokens; antiberty has 512 positions"):
        model.embed_tokens([[5] * 513])


def test_fill_wants_exactly_one_mask_and_a_head() -> None:
    model = packaged("antiberty")
    for sequence, count in (("EVQ", 0), ("E__", 2), (LIGHT * 6 + "_", 0)):
        with pytest.raises(RunError, match=f"fill needs one _ in the first 512 tokens of a text, not {count}"):
            model.fill([sequence])
    best = model.fill(["EV_"], top_k=99)[0]
    assert len(best) == 20 and sum(chance for _, chance in best) == pytest.approx(1, abs=1e-3)
    encoder = packaged("all-minilm-l6-v2")
    assert "fill" not in encoder.capabilities
    with pytest.raises(CapabilityError, match="these weights have no masked-language head, so it cannot fill"):
        encoder.fill(["a [MASK]"])


def test_weights_without_a_pooler_say_what_to_do(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path, "bluebert", "BertForMaskedLM")
    with pytest.raises(CapabilityError, match=r"no pooler layer; load_model\(\.\.\., config=\{'pooling': 'cls'\}\)"):
        load("bluebert", folder).embed(["text"])
    assert load("bluebert", folder, pooling="cls").embed(["text"]).shape == (1, 16)
    with pytest.raises(CheckpointError, match="pooling is 'max'"):
        load("bluebert", folder, pooling="max")


# files ----------------------------------------------------------------------------------------------------------------


def same(model: MaskedLM, reference: MaskedLM) -> bool:
    return bool(np.array_equal(model.embed(texts()[:2], "tokens")[1], reference.embed(texts()[:2], "tokens")[1]))


def test_tensorflow_archives_load_as_published(tmp_path: Path) -> None:
    reference = load("biobert", tensorflow_folder(tmp_path / "plain"))
    old = tensorflow_folder(tmp_path / "biobert_v1.1_pubmed", "model.ckpt-1000000")
    large = tensorflow_folder(tmp_path / "biobert_large", "bio_bert_large_1000k.ckpt", "bert_config_bio_58k_large.json")
    (large / "vocab.txt").rename(large / "vocab_cased_pubmed_pmc_30k.txt")
    for folder in (old, large):
        packed = tar(tmp_path / f"{folder.name}.tar.gz", folder)
        model = load("biobert", packed)
        assert same(model, reference)
        assert model.provenance["files"] == [packed.name]
    blue = tensorflow_folder(tmp_path / "NCBI_BERT", "bert_model.ckpt")
    with zipfile.ZipFile(tmp_path / "NCBI_BERT.zip", "w", zipfile.ZIP_DEFLATED) as packed_zip:
        for path in blue.iterdir():
            packed_zip.write(path, path.name)
    assert load("bluebert", tmp_path / "NCBI_BERT.zip").has_head


def test_a_variant_is_found_by_its_name_among_several(tmp_path: Path) -> None:
    release = tmp_path / "pretrained_bert_tf"
    for name in ("biobert_pretrain_output_all_notes_150000", "bert_pretrain_output_all_notes_150000"):
        tensorflow_folder(release / name, "model.ckpt-150000")
    assert load("clinicalbert", tar(tmp_path / "pretrained_bert_tf.tar.gz", release)).has_head
    assert load("clinicalbert:clinical", release).has_head
    with pytest.raises(
        CheckpointError, match=r"one published BERT was expected there; found model\.ckpt-150000\.index, "
    ):
        load("clinicalbert:discharge", release)


def test_weights_in_an_archive_within_the_archive_are_found(tmp_path: Path) -> None:
    """As SciBERT's AllenNLP release: vocab.txt beside weights.tar.gz, which holds bert_config.json and pytorch_model.bin."""
    folder = hub_folder(tmp_path / "scibert_scivocab_uncased", "scibert")
    reference = load("scibert", folder)
    (folder / "config.json").rename(folder / "bert_config.json")
    with tarfile.open(folder / "weights.tar.gz", "w:gz") as packed:
        for name in ("bert_config.json", "pytorch_model.bin"):
            packed.add(folder / name, name)
            (folder / name).unlink()
    assert same(load("scibert", tar(tmp_path / "scibert_scivocab_uncased.tar", folder, "w")), reference)


def test_old_names_of_layer_norm_and_an_encoder_saved_alone_load_the_same(tmp_path: Path) -> None:
    reference = load("scibert", hub_folder(tmp_path / "a", "scibert"))
    folder = hub_folder(tmp_path / "b", "scibert")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in state.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(old, folder / "pytorch_model.bin")
    assert same(load("scibert", folder), reference)
    torch.save(
        {k.removeprefix("bert."): v for k, v in old.items() if k.startswith("bert.")}, folder / "pytorch_model.bin"
    )
    alone = load("scibert", folder)
    assert same(alone, reference) and not alone.has_head


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    folder = tensorflow_folder(tmp_path / "a")
    whole = tar(tmp_path / "a.tar.gz", folder).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.tar\.gz: not a readable archive"):
        load("biobert", tmp_path / "cut.tar.gz")
    (folder / "model.ckpt-10.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match="1 shards are missing"):
        load("biobert", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="one published BERT was expected there; found none"):
        load("biobert", tmp_path / "empty")
    with tarfile.open(tmp_path / "bad.tar", "w") as packed:
        packed.add(tmp_path / "a" / "vocab.txt", "../vocab.txt")
    with pytest.raises(CheckpointError, match="leaves the archive"):
        load("biobert", tmp_path / "bad.tar")


def test_random_weights_are_the_same_every_time() -> None:
    first, second = (load("biolinkbert", "random", vocab_size=40, **TINY).embed_tokens([[2, 7, 3]]) for _ in range(2))
    assert np.array_equal(first, second) and first.std() > 0


def test_text_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "x" / "y", "scibert")
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer beside the weights"):
        load("scibert", folder).embed(["text"])
