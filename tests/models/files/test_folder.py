"""Hugging Face folders without a card: small random networks saved by transformers, held against transformers' own forward."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tokenizers
import torch
import transformers as t

from healthfm import CapabilityError, CheckpointError, evaluate, load_model
from healthfm.embed.embedder import Embedder
from healthfm.models.language import native as reading
from healthfm.records import Message
from tests.cli.command import run
from tests.references import paired_towers

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "<s>",
    "</s>",
    "the",
    "patient",
    "has",
    "pain",
    "fever",
    "a",
    "b",
    "c",
    "d",
    "yes",
    "no",
    "which",
    "is",
    "it",
    "answer",
    "question",
    "Question",
    "Answer",
    "A",
    "B",
    ":",
    ".",
    "?",
]
IDS = {"pad_token_id": 0, "bos_token_id": 5, "eos_token_id": 6}
SIZES = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64,
}  # fmt: skip
VISION = {**{k: SIZES[k] for k in list(SIZES)[1:5]}, "image_size": 32, "patch_size": 8}
T5 = {
    "vocab_size": len(WORDS),
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    **IDS,
}
FRAMES = {"bare": "$A", "open": "<s> $A", "closed": "<s> $A </s>", "bert": "[CLS] $A [SEP]", "t5": "$A </s>"}
SQUARE = {"height": 32, "width": 32}
VIT = t.ViTImageProcessorPil(size=SQUARE)
CLIP = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
TEXTS = ["the patient has", "a b c d pain fever"]


def tokenizer(frame: str) -> t.PreTrainedTokenizerFast:
    found = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = [(word, i) for i, word in enumerate(WORDS) if word in FRAMES[frame].split()]
    found.post_processor = tokenizers.processors.TemplateProcessing(FRAMES[frame], special_tokens=special)
    return t.PreTrainedTokenizerFast(
        tokenizer_object=found, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", bos_token="<s>", eos_token="</s>",
    )  # fmt: skip


def saved(path: Path, network: Any, frame: str | None = None, processor: Any = None) -> Any:
    """Fill a network with large random weights, save it with what reads its inputs, and return it."""
    torch.manual_seed(0)
    with torch.no_grad():
        for one in network.parameters():
            one.normal_(0, 0.3)
    network.eval().save_pretrained(path)
    if frame is not None:
        tokenizer(frame).save_pretrained(path)
    if processor is not None:
        processor.save_pretrained(path)
    return network


def llama(path: Path, frame: str = "open") -> Any:
    return saved(path, t.LlamaForCausalLM(t.LlamaConfig(**SIZES, **IDS)), frame)


GPT2 = {
    "vocab_size": len(WORDS),
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "bos_token_id": 5,
    "eos_token_id": 6,
}
GEMMA = {**SIZES, **IDS, "head_dim": 8, "num_key_value_heads": 1, "final_logit_softcapping": 3.0, "sliding_window": 8}
MAMBA = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, **IDS}
CAUSAL: dict[str, tuple[Callable[[], Any], str]] = {
    "llama": (lambda: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, **IDS)), "open"),
    "gpt2": (lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT2)), "bare"),
    "gemma2, soft caps": (lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**GEMMA)), "open"),
    "cohere, scaled logits": (lambda: t.CohereForCausalLM(t.CohereConfig(**SIZES, **IDS, logit_scale=0.5)), "open"),
    "mamba, no attention": (lambda: t.MambaForCausalLM(t.MambaConfig(**MAMBA)), "open"),
    "llama, texts are ended": (lambda: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, **IDS)), "closed"),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_scores_and_texts_are_the_networks_own(name: str, tmp_path: Path) -> None:
    make, frame = CAUSAL[name]
    network, words = saved(tmp_path, make(), frame), tokenizer("bare")
    model = load_model(f"hf:{tmp_path}", device="cpu")
    assert model.provenance["class"] == f"transformers.{type(network).__name__}"
    assert model.provenance["dtype"] == "float32"
    assert str(model.provenance["digest"]).startswith("sha256:")
    assert ("the tokenizer ends every text" in str(model.provenance["notices"])) is (frame == "closed")
    start = [] if frame == "bare" else [5]
    given = start + words.encode("the patient has")
    options = [" pain", " fever a b", " pain ."]
    scores = model.score(["the patient has", "a b"], [options, options])[0]
    for option, score in zip(options, scores, strict=True):
        asked = words.encode(option)
        with torch.no_grad():
            logs = network(torch.tensor([given + asked])).logits[0].double().log_softmax(-1)
        wanted = sum(float(logs[len(given) - 1 + i, token]) for i, token in enumerate(asked))
        assert score == pytest.approx(wanted, abs=1e-4)
    theirs = network.generate(torch.tensor([given]), max_new_tokens=6, do_sample=False, pad_token_id=0)[0][len(given) :]
    assert model.generate(["the patient has"], 6)[0].strip() == words.decode(theirs, skip_special_tokens=True)


def test_its_own_chat_template_is_used(tmp_path: Path) -> None:
    llama(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}question : {{ m['content'] }} {% endfor %}answer :"
    )
    model = load_model(f"hf:{tmp_path}")
    asked = model.generate([[Message("user", "the patient has")]], 5)
    assert len(asked) == 1
    ids = model.tokenizer.encode("question : the patient has answer :", add_special_tokens=False)  # type: ignore[attr-defined]
    from healthfm.models.language.prompts import encode

    assert encode(model, [Message("user", "the patient has")])[0] == ids  # type: ignore[arg-type]


def test_a_network_that_looks_ahead_is_no_causal_model(tmp_path: Path) -> None:
    saved(tmp_path, t.BertLMHeadModel(t.BertConfig(**SIZES, pad_token_id=0)), "bert")
    with pytest.raises(CheckpointError, match="looks at the tokens to come"):
        load_model(f"hf:{tmp_path}")


ENCODERS: dict[str, tuple[Callable[[], Any], int]] = {
    "bert": (lambda: t.BertForMaskedLM(t.BertConfig(**SIZES, pad_token_id=0)), 64),
    "roberta, positions behind the padding": (lambda: t.RobertaForMaskedLM(t.RobertaConfig(**SIZES, **IDS)), 63),
    "bare bert": (lambda: t.BertModel(t.BertConfig(**SIZES, pad_token_id=0)), 64),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_embed_and_fill_as_their_own_forward(name: str, tmp_path: Path) -> None:
    make, longest = ENCODERS[name]
    network, words = saved(tmp_path, make(), "bert"), tokenizer("bert")
    model: Any = load_model(f"hf:{tmp_path}")
    assert "the mean of all its tokens" in str(model.provenance["notices"])
    batch = words(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = network.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    weight = batch["attention_mask"][..., None].float()
    np.testing.assert_allclose(model.embed(TEXTS), (hidden * weight).sum(1) / weight.sum(1), atol=1e-5)
    first = load_model(f"hf:{tmp_path}", config={"pooling": "cls"})
    np.testing.assert_allclose(first.embed(TEXTS), hidden[:, 0], atol=1e-5)
    assert model.max_length == longest
    assert len(model.encode("a " * 200)) == longest
    model.embed(["a " * 200])
    assert model.provenance["truncated"] == 2
    if "fill" not in model.capabilities:
        return
    [[(piece, chance), *_]] = model.fill(["the [MASK] has"], 2)
    with torch.no_grad():
        logits = network(input_ids=words("the [MASK] has", return_tensors="pt")["input_ids"]).logits[0, 2]
    assert chance == pytest.approx(float(logits.softmax(-1)[WORDS.index(piece)]), abs=1e-5)


def test_sentence_transformers_files_say_the_pooling(tmp_path: Path) -> None:
    saved(tmp_path, t.BertModel(t.BertConfig(**SIZES, pad_token_id=0)), "bert")
    kinds = ["models.Transformer", "models.Pooling", "models.Normalize"]
    parts = [
        {"path": path, "type": f"sentence_transformers.{kind}"}
        for path, kind in zip(("", "1_Pooling", "2"), kinds, strict=True)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(parts))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 4}))
    model: Any = load_model(f"hf:{tmp_path}")
    assert (model.pooling, model.max_length, model.provenance["notices"]) == ("cls", 4, [])
    np.testing.assert_allclose(np.linalg.norm(model.embed(TEXTS), axis=1), 1, atol=1e-6)
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(CheckpointError, match="its pooling is max_tokens"):
        load_model(f"hf:{tmp_path}")


def test_an_encoder_decoder_scores_the_decoders_target(tmp_path: Path) -> None:
    network, words = saved(tmp_path, t.T5ForConditionalGeneration(t.T5Config(**T5)), "t5"), tokenizer("bare")
    model = load_model(f"hf:{tmp_path}")
    given, target = torch.tensor([[*words.encode("the patient has"), 6]]), words.encode("fever a")
    with torch.no_grad():
        logs = (
            network(input_ids=given, decoder_input_ids=torch.tensor([[0, *target[:-1]]]))
            .logits[0]
            .double()
            .log_softmax(-1)
        )
    wanted = sum(float(logs[i, token]) for i, token in enumerate(target))
    assert model.score(["the patient has"], [[" pain", " fever a"]])[0][1] == pytest.approx(wanted, abs=1e-4)
    theirs = network.generate(given, max_new_tokens=5, do_sample=False, num_beams=1)[0]
    assert model.generate(["the patient has"], 5)[0].strip() == words.decode(theirs, skip_special_tokens=True)


def test_a_text_classifier_has_its_own_classes(tmp_path: Path) -> None:
    names = {0: "no", 1: "maybe", 2: "yes"}
    config = t.BertConfig(**SIZES, pad_token_id=0, id2label=names, label2id={name: i for i, name in names.items()})
    network = saved(tmp_path, t.BertForSequenceClassification(config), "bert")
    model = load_model(f"hf:{tmp_path}")
    with torch.no_grad():
        wanted = network(input_ids=tokenizer("bert")(TEXTS[0], return_tensors="pt")["input_ids"]).logits.softmax(-1)[0]
    np.testing.assert_allclose(model.classify(TEXTS, ["yes", "no", "maybe"])[0], wanted[[2, 0, 1]], atol=1e-5)


# Pictures ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures() -> list[PIL.Image.Image]:
    random = np.random.default_rng(3)
    return [PIL.Image.fromarray(random.integers(0, 256, (40 + i, 50 + 2 * i, 3), np.uint8)) for i in range(2)]


TOWERS: dict[str, tuple[Callable[[], Any], Any, Callable[[Any, torch.Tensor], torch.Tensor]]] = {
    "vit": (lambda: t.ViTModel(t.ViTConfig(**VISION)), VIT, lambda n, x: n(x).pooler_output),
    "vit with a head": (lambda: t.ViTForImageClassification(t.ViTConfig(**VISION)), VIT, lambda n, x: n.vit(x).last_hidden_state[:, 0]),
    "dinov2, cropped": (lambda: t.Dinov2Model(t.Dinov2Config(**VISION, mlp_ratio=2)), CLIP, lambda n, x: n(x).pooler_output),
    "clip's vision side": (lambda: t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**VISION)), CLIP, lambda n, x: n(x).image_embeds),
    "resnet, a map": (
        lambda: t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")),
        VIT, lambda n, x: n(x).pooler_output.flatten(1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOWERS)
def test_towers_give_their_own_pooled_output(name: str, tmp_path: Path, pictures: list[PIL.Image.Image]) -> None:
    make, processor, wanted = TOWERS[name]
    network = saved(tmp_path, make(), processor=processor)
    model = load_model(f"hf:{tmp_path}")
    with torch.no_grad():
        theirs = wanted(network, processor(images=pictures, return_tensors="pt")["pixel_values"])
    np.testing.assert_allclose(model.embed(pictures), theirs, atol=1e-4)
    assert "a picture's vector is" in str(model.provenance["notices"])
    assert ("head of 2 classes was left off" in str(model.provenance["notices"])) is (name == "vit with a head")


def test_clip_embeds_pictures_and_texts(tmp_path: Path, pictures: list[PIL.Image.Image]) -> None:
    text = {**SIZES, **IDS, "max_position_embeddings": 20}
    network = saved(
        tmp_path, t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)), "closed", CLIP
    )
    model = load_model(f"hf:{tmp_path}")
    batch = tokenizer("closed")(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        seen = network.get_image_features(CLIP(images=pictures, return_tensors="pt")["pixel_values"]).pooler_output
        read = network.get_text_features(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).pooler_output
    np.testing.assert_allclose(model.embed(pictures), seen, atol=1e-4)
    np.testing.assert_allclose(model.embed(TEXTS), read, atol=1e-5)
    arrays = [np.asarray(one.convert("RGB")) for one in pictures]
    for given, theirs in ((arrays, seen), (TEXTS, read), ([arrays[0], TEXTS[0]], np.stack([seen[0], read[0]]))):
        np.testing.assert_allclose(Embedder(model)(given), theirs, atol=1e-4)
    unit = [np.asarray(one) / np.linalg.norm(one, axis=-1, keepdims=True) for one in (seen, read)]
    scaled = float(network.logit_scale.detach().exp()) * unit[0] @ unit[1].T
    np.testing.assert_allclose(model.classify(pictures, TEXTS, logits=True), scaled, atol=1e-3)
    likely = np.exp(scaled - scaled.max(1, keepdims=True))
    np.testing.assert_allclose(model.classify(pictures, TEXTS), likely / likely.sum(1, keepdims=True), atol=1e-4)


def test_siglip_reads_its_own_words_and_tells_classes_by_a_sigmoid(
    tmp_path: Path, pictures: list[PIL.Image.Image]
) -> None:
    text = {**SIZES, "vocab_size": 64, "max_position_embeddings": 20, "projection_size": 16}
    made = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=VISION))
    with torch.no_grad():
        made.logit_scale.fill_(1.0)
        made.logit_bias.fill_(-2.0)
    rule = t.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    network = saved(tmp_path, made, processor=rule)
    paired_towers.pieces(tmp_path)
    model = load_model(f"hf:{tmp_path}")
    names = ["no lung", "Heart failure, a"]
    ids = [model.prepare(one).inputs[0].tolist() for one in names]
    assert [len(one) for one in ids] == [20, 20] and {one[-1] for one in ids} == {1}
    with torch.no_grad():
        out = network(torch.tensor(ids), rule(images=pictures, return_tensors="pt")["pixel_values"])
    np.testing.assert_allclose(model.classify(pictures, names, logits=True), out.logits_per_image, atol=1e-4)
    np.testing.assert_allclose(model.classify(pictures, names), out.logits_per_image.sigmoid(), atol=1e-5)


def test_pictures_that_would_go_in_otherwise_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, t.ViTMAEModel(t.ViTMAEConfig(**VISION, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16)), processor=VIT)  # fmt: skip
    with pytest.raises(CheckpointError, match="draws at random"):
        load_model(f"hf:{tmp_path}")
    saved(tmp_path, t.ViTModel(t.ViTConfig(**VISION)))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.5}))  # fmt: skip
    with pytest.raises(CheckpointError, match="does more than resize"):
        load_model(f"hf:{tmp_path}")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"how pictures go in is not known|cannot run"):
        load_model(f"hf:{tmp_path}")


# What is refused, and said ----------------------------------------------------------------------------------------------


def stated(path: Path, **values: Any) -> None:
    found = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**found, **values}))


def test_code_of_the_folders_own_is_never_run(tmp_path: Path) -> None:
    llama(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    stated(tmp_path, auto_map={"AutoModelForCausalLM": "mine.Mine"})
    assert "transformers' own LlamaForCausalLM was" in str(load_model(f"hf:{tmp_path}").provenance["notices"])
    stated(tmp_path, architectures=["Mine"])
    with pytest.raises(CheckpointError, match=r"no class Mine.*auto_map.*never run"):
        load_model(f"hf:{tmp_path}")
    stated(tmp_path, model_type="mine")
    with pytest.raises(CheckpointError, match=r"no model_type 'mine'.*never run"):
        load_model(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"architectures": None}, "names no network"),
        ({"architectures": ["BertForMaskedLM"]}, "not of its model_type"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"num_hidden_layers": 3}, r"9 tensors of LlamaForCausalLM are not in its files"),
        ({"vocab_size": 12}, "cannot be filled"),
    ],
)
def test_a_folder_that_does_not_fill_its_network_is_refused(values: dict[str, Any], says: str, tmp_path: Path) -> None:
    llama(tmp_path)
    stated(tmp_path, **values)
    with pytest.raises(CheckpointError, match=says):
        load_model(f"hf:{tmp_path}")


def test_damaged_and_unsafe_weights_are_one_line(tmp_path: Path) -> None:
    llama(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    told = run("generate", f"hf:{tmp_path}", "the patient")
    assert told.returncode != 0
    assert "damaged, cut short" in told.stderr
    assert "Traceback" not in told.stderr
    weights.unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load_model(f"hf:{tmp_path}")
    torch.save({"a": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="want to run code"):
        load_model(f"hf:{tmp_path}")
    with pytest.raises(CapabilityError, match="rows of the catalogue"):
        load_model(f"hf:{tmp_path}", "random")


def test_numbers_of_a_call_are_pooling_alone(tmp_path: Path) -> None:
    llama(tmp_path)
    with pytest.raises(CapabilityError, match="takes pooling only, not rope_theta"):
        load_model(f"hf:{tmp_path}", config={"rope_theta": 1.0})


# The road ---------------------------------------------------------------------------------------------------------------


def test_a_folder_is_evaluated_resumed_and_compared_with_a_row(
    tmp_path: Path, small_at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    llama(tmp_path / "biogpt")  # a row has this name: its lineage is not this folder's
    rows = [f"q{i},which is it ?,yes,no,{'AB'[i % 2]}" for i in range(6)]
    (tmp_path / "ward.csv").write_text("id,question,A,B,answer\n" + "\n".join(rows) + "\n")
    words = ("evaluate", "hf:./biogpt", "ward.csv", "--output", "mine")
    first = run(*words)
    assert first.returncode == 0, first.stderr
    assert "not asked, the model or the data has no card" in first.stdout
    facts = json.loads(Path("mine/run.json").read_text())
    assert facts["request"]["model"] == "hf-biogpt"
    assert facts["environments"][0]["model"]["class"] == "transformers.LlamaForCausalLM"
    before = Path("mine/run.json").stat().st_mtime_ns
    assert run(*words).returncode == 0
    assert Path("mine/run.json").stat().st_mtime_ns == before
    made = evaluate("smollm2-135m-instruct", tmp_path / "ward.csv", output="row")
    assert made.facts["request"]["model"] == "smollm2-135m-instruct"
    compared = run("compare", "mine", "row")
    assert compared.returncode == 0, compared.stderr
    assert "hf-biogpt" in compared.stdout and "smollm2" in compared.stdout
    llama(tmp_path / "biogpt", "closed")  # another tokenizer: another request
    changed = run(*words)
    assert changed.returncode != 0
    assert "another request" in changed.stderr


def test_embed_takes_a_folder(tmp_path: Path) -> None:
    saved(tmp_path / "net", t.BertForMaskedLM(t.BertConfig(**SIZES, pad_token_id=0)), "bert")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("the patient has pain")
    made = run("embed", f"hf:{tmp_path / 'net'}", tmp_path / "notes", "--output", tmp_path / "vectors", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["vectors"] == 1
    assert "the mean of all its tokens" in made.stderr


def test_a_card_of_ones_own_names_such_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llama(tmp_path / "net")
    (tmp_path / "cards" / "models" / "mine").mkdir(parents=True)
    (tmp_path / "cards" / "models" / "mine" / "ward-llama.toml").write_text(
        'slug = "ward-llama"\nname = "Ward-Llama"\nsummary = "Ours."\ngroup = "language"\nmodalities = ["text"]\naccess = "closed"\n'
        'architecture = "Llama"\n[run]\nfamily = "transformers"\narchitecture = "LlamaForCausalLM"\n'
    )
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    theirs = load_model("ward-llama", tmp_path / "net")
    assert theirs.name == "ward-llama"
    np.testing.assert_array_equal(
        theirs.score(["the patient has"], [[" pain", " fever"]])[0],
        load_model(f"hf:{tmp_path / 'net'}").score(["the patient has"], [[" pain", " fever"]])[0],
    )
    with pytest.raises(CheckpointError, match="no weights for ward-llama on this machine"):
        load_model("ward-llama")


def test_known_classes_are_those_that_rows_run_by() -> None:
    assert {"LlamaForCausalLM", "Qwen2ForCausalLM"} <= reading.KNOWN
