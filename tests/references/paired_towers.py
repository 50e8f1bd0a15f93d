"""Write outputs and key manifests of reference pairs of towers that are not CLIP's own to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/paired_towers.py NAME... [--path PATH]

Needs torch 2.13.0 and transformers 5.18.0; see dual_encoders.py for what is the same. Downloads in the owners' constructors are replaced
by networks of the sizes given here.

  biomedclip   open_clip_torch 3.3.0 (CustomTextCLIP, TimmModel, HFTextEncoder) with timm 1.0.31
  conch        PATH: mahmoodlab/CONCH at 141cc09; timm 1.0.31, torchvision 0.29.1
  mi-zero      PATHS: src of mahmoodlab/MI-Zero at 047922f and its timm_ctp (assets/timm_ctp.tar); albumentations 2.0.8
  pmc-clip     PATH: src of WeixiongLin/PMC-CLIP at b0b81e3; torchvision 0.29.1
  keep         PATH: MAGIC-AI4Med/KEEP at a346a70 (quick_start/keep_inference.py, its classes); timm 1.0.31
  siglip       transformers 5.18.0 (SiglipModel, its image processor on PIL), sentencepiece 0.2.3
  clip-resnet  open_clip_torch 3.3.0: RN50, with quick-GELU
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
import transformers
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from dual_encoders import DATA, filled, merges_file, numbers, pack, pictures, pixels, shapes, write  # noqa: F401
from recipe_weights import recipe_image

WIDTH, SPACE, VOCABULARY = 64, 24, 200
BERT = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
    "max_position_embeddings": 32,
}  # fmt: skip
FULL = {"vocab_size": 30522}
TEXTS = [  # 2 begins a text, 3 ends it, 0 fills it up
    [2, 5, 17, 9, 3, 0, 0, 0],
    [2, 44, 3, 0, 0, 0, 0, 0],
    [2, 7, 8, 9, 10, 11, 12, 3],
    [2, 150, 33, 3, 0, 0, 0, 0],
]
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "no",
    "evidence",
    "of",
    "pneumo",
    "##nia",
    "##thorax",
    "heart",
    "is",
    "enlarged",
    "a",
    "an",
    "image",
    "the",
    "lung",
    "##s",
    ",",
    ".",
    "-",
    "2",
    "5",
    "na",
    "##ive",
]
SENTENCES = ("No evidence of pneumonia.", "The HEART is enlarged, 2.5 naïve", "a lung " * 40, "")


BYTE_PAIRS = (
    "l u", "lu n", "lun g", "\u0120 lung", "h e", "he a", "hea r", "hear t", "\u0120 heart", "\u0120 a", "n o", "\u0120 no", "a n", "\u0120 an", "e n", "i a",
)  # fmt: skip
SPECIAL = ("<pad>", "<start_of_text>", "<end_of_text>", "<|person|>", "<|mrn|>", "<|specimen_id|>", "<|date|>")
ENDS = [{"SpecialToken": {"id": one, "type_id": 0}} for one in SPECIAL[1:3]]


def byte_pairs(path: Path) -> Path:
    """Write a tokenizer of bytes with the steps that CONCH's file has, and few merges."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*SPECIAL, *letters, *(one.replace(" ", "") for one in BYTE_PAIRS)]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    path.write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [{"id": i, "content": one, **plain} for i, one in enumerate(SPECIAL)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}, "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing", "single": [ENDS[0], {"Sequence": {"id": "A", "type_id": 0}}, ENDS[1]],
            "pair": [{"Sequence": {"id": one, "type_id": i}} for i, one in enumerate("AB")],
            "special_tokens": {one: {"id": one, "ids": [i], "tokens": [one]} for i, one in enumerate(SPECIAL) if i in (1, 2)},
        },
        "decoder": level, "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
            "vocab": {one: i for i, one in enumerate(pieces)}, "merges": list(BYTE_PAIRS),
        },
    }), encoding="utf-8")  # fmt: skip
    return path


def ids() -> torch.Tensor:
    """Token ids [4, 8]."""
    return torch.tensor(TEXTS)


def ended() -> torch.Tensor:
    """Token ids [4, 8] as SigLIP has them; 1 ends a text and fills it up."""
    return torch.tensor([[one for one in row if one > 3] + [1] * (8 - sum(one > 3 for one in row)) for row in TEXTS])


PIECES = ("no heart failure in the lung", "a photo of hearts, this is a lung", "evidence of pneumonia") * 5


def pieces(folder: Path) -> Path:
    """Write a small model of sentencepiece with the numbers of SigLIP's: 0 pads, 1 ends a text, 2 is unknown."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PIECES), model_prefix=str(folder / "spiece"), vocab_size=60, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return folder / "spiece.model"


def bert(sizes: dict[str, int]) -> transformers.BertConfig:
    """A configuration of BERT; what is not said is BERT-base's."""
    return transformers.BertConfig(**sizes)


def unit(x: torch.Tensor) -> torch.Tensor:
    """Vectors of length 1."""
    return x / x.norm(dim=-1, keepdim=True)


def likely(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Probabilities of two classes of two sentences each, by the mean of their vectors."""
    classes = unit(torch.stack([text[:2].mean(0), text[2:].mean(0)]))
    return (scale.exp() * image @ classes.T).softmax(-1)


def made(rule: Any) -> list[float]:
    """Some pixels that a transform makes of the three pictures."""
    return numbers(torch.stack([rule(Image.fromarray(one)) for one in pictures()])[:, :, ::7, ::7])


def keep(
    name: str, source: str, network: torch.nn.Module, image: torch.Tensor, text: torch.Tensor, **more: Any
) -> None:
    """Write a small network's outputs, as the owners compare them."""
    write(name, {
        "source": source, "shapes": shapes(network), "image": numbers(image), "text": numbers(text),
        "probabilities": numbers(likely(image, text, network.logit_scale)), **more,
    })  # fmt: skip


@torch.no_grad()
def biomedclip() -> None:
    import open_clip
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
    from open_clip.transform import PreprocessCfg, image_transform_v2

    timm = open_clip.timm_model.timm
    create, sizes = timm.create_model, [BERT]
    open_clip.hf_model.AutoConfig = MagicMock(from_pretrained=lambda name: bert(sizes[0]))
    source = f"open_clip_torch {open_clip.__version__}, CustomTextCLIP with vit_base_patch16_224 of timm {timm.__version__} and BERT"

    def network(space: int, context: int, side: int) -> torch.nn.Module:
        return CustomTextCLIP(
            space, CLIPVisionCfg(timm_model_name="vit_base_patch16_224", timm_pool="", timm_proj="linear", image_size=side),
            CLIPTextCfg(
                hf_model_name="BiomedBERT", hf_proj_type="mlp", hf_pooler_type="cls_last_hidden_state_pooler", hf_model_pretrained=False,
                context_length=context,
            ),
        )  # fmt: skip

    def small(name: str, **words: Any) -> torch.nn.Module:
        return create(name, embed_dim=WIDTH, depth=2, num_heads=2, img_size=64, **words)

    timm.create_model = small
    one = filled(network(SPACE, 32, 64))
    timm.create_model = create
    rule = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    keep(
        "biomedclip",
        source,
        one,
        one.encode_image(pixels(), normalize=True),
        one.encode_text(ids(), normalize=True),
        transform=made(rule),
    )
    sizes[0] = FULL
    with torch.device("meta"):
        pack("biomedclip", {"source": source, "variants": {"only": shapes(network(512, 256, 224))}})


@torch.no_grad()
def conch() -> None:
    from conch.open_clip_custom import constants, custom_tokenizer
    from conch.open_clip_custom.coca_model import CoCa
    from conch.open_clip_custom.custom_tokenizer import get_tokenizer, tokenize
    from conch.open_clip_custom.transform import image_transform

    source = "mahmoodlab/CONCH at 141cc09, conch/open_clip_custom"
    text = {
        "context_length": 9,
        "vocab_size": VOCABULARY,
        "width": WIDTH,
        "heads": 2,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    }
    seen = {
        "image_size": 64, "width": WIDTH, "layers": 2, "num_heads": 2, "attentional_pool_caption": True, "attentional_pool_contrast": True,
        "n_queries_caption": 4, "output_tokens": True,
    }  # fmt: skip
    one = filled(CoCa(SPACE, WIDTH, {**text, "layers": 0}, text, seen))
    given = torch.nn.functional.pad(ids(), (0, 1))
    rule = image_transform(64, mean=constants.OPENAI_DATASET_MEAN, std=constants.OPENAI_DATASET_STD)
    bare = one.encode_image(pixels(), proj_contrast=False, normalize=False)
    short = one.encode_text(torch.tensor([[2, 44, 3, 0, 0, 0]]))
    with tempfile.TemporaryDirectory() as folder:
        custom_tokenizer.TOKENIZER_DIR = byte_pairs(Path(folder) / custom_tokenizer.DEFAULT_TOKENIZER).parent
        tokenizer = get_tokenizer()
    tokenizer.batch_encode_plus = tokenizer.__call__  # its name until transformers 5
    words = tokenize(tokenizer, list(SENTENCES))
    keep(
        "conch", source, one, one.encode_image(pixels()), one.encode_text(given), transform=made(rule), pooled=numbers(bare),
        short=numbers(short), tokens=words.tolist(),
    )  # fmt: skip
    full = {"context_length": 128, "vocab_size": 32007, "width": 768, "heads": 12, "layers": 12}
    with torch.device("meta"):
        whole = CoCa(
            512, 768, full, {**full, "embed_cls": True, "output_tokens": True},
            {"image_size": 448, "attentional_pool_caption": True, "attentional_pool_contrast": True, "output_tokens": True},
        )  # fmt: skip
        pack("conch", {"source": f"{source}, model_configs/conch_ViT-B-16.json", "variants": {"only": shapes(whole)}})


@torch.no_grad()
def mi_zero() -> None:
    transformers.AutoModelWithLMHead = transformers.AutoModelForCausalLM
    import timm_ctp
    from misc.transforms import create_transforms
    from models import ctran, factory, model
    from zeroshot_utils import zeroshot_path

    sizes = [BERT]
    model.AutoModelForMaskedLM = MagicMock(from_pretrained=lambda name: transformers.BertForMaskedLM(bert(sizes[0])))

    def small(img_size: int) -> torch.nn.Module:
        return timm_ctp.models.swin_transformer.SwinTransformer(
            img_size=img_size, embed_dim=24, depths=(2, 2), num_heads=(3, 6), window_size=7, embed_layer=ctran.ConvStem
        )

    source = "mahmoodlab/MI-Zero at 047922f, src/models with its timm_ctp"
    model.ctranspath = small
    seen, text = {"timm_pool": "", "timm_proj": "linear"}, {"model_path": "emilyalsentzer/Bio_ClinicalBERT"}
    one = filled(model.CLIP(SPACE, {**seen, "image_size": 112}, text))
    given = (
        torch.from_numpy(np.stack([recipe_image(f"network {i}", 112, 112) for i in range(3)]))
        .permute(0, 3, 1, 2)
        .float()
        / 127.5
        - 1
    )
    mask = (ids() != 0).long()
    words = unit(one.encode_text(ids(), mask))
    rule = create_transforms(factory._IMAGE_TRANSFORM_VAL, img_size=140)
    padded = torch.stack([torch.from_numpy(rule(image=picture)["image"]).permute(2, 0, 1) for picture in pictures()])
    asked = iter(((ids()[:2].tolist(), mask[:2].tolist()), (ids()[2:].tolist(), mask[2:].tolist())))
    zeroshot_path.tokenize = lambda tokenizer, texts: next(asked)
    classes = zeroshot_path.zero_shot_classifier(one, None, ["a", "b"], ["one CLASSNAME", "CLASSNAME two"], "cpu")
    image = unit(one.encode_image(given))
    slide = (image @ classes).topk(2, 0).values.mean(0)  # slidelevel_zeroshot_multiprompt.py, topj_pooling, which sums
    write("mi-zero", {
        "source": source, "shapes": {key: value for key, value in shapes(one).items() if "attn_mask" not in key}, "image": numbers(image),
        "text": numbers(words), "unmasked": numbers(unit(one.encode_text(ids()))), "classes": numbers(classes.T), "transform": numbers(padded[:, :, ::7, ::7]),
        "top": numbers(slide),
    })  # fmt: skip
    sizes[0] = FULL
    model.ctranspath = ctran.ctranspath
    whole = shapes(model.CLIP(512, {**seen, "image_size": 448}, text))  # its masks need values
    pack(
        "mi-zero",
        {"source": f"{source}, model_configs/ctranspath_448_bioclinicalbert.json", "variants": {"only": whole}},
    )


@torch.no_grad()
def pmc_clip() -> None:
    from types import SimpleNamespace

    from pmc_clip.model import pmc_clip as code
    from pmc_clip.transform import image_transform

    sizes = [BERT]
    code.AutoTokenizer = MagicMock()
    code.AutoModel = MagicMock(from_pretrained=lambda name: transformers.BertModel(bert(sizes[0])))
    name = "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext"
    args = SimpleNamespace(device="cpu", mlm=True, crop_scale=None)
    seen = {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": 64, "patch_size": None}
    text = {
        "context_length": 8,
        "vocab_size": VOCABULARY,
        "width": WIDTH,
        "heads": 2,
        "fusion_layers": 1,
        "bert_model_name": name,
    }
    one = filled(code.PMC_CLIP(args, WIDTH, seen, text))
    one.tokenizer = lambda *_, **__: {"input_ids": ids()}
    image = unit(one.encode_image(pixels())["image_features"])
    words = unit(one.encode_text({"bert_input": [], "bert_label": []}, torch.cat((image, image[:1])))["text_features"])
    source = "WeixiongLin/PMC-CLIP at b0b81e3, src/pmc_clip"
    keep("pmc-clip", source, one, image, words, transform=made(image_transform(args, 64, False)))
    sizes[0] = FULL
    full = {
        "context_length": 77,
        "vocab_size": 30522,
        "width": 768,
        "heads": 8,
        "fusion_layers": 4,
        "bert_model_name": name,
    }
    with torch.device("meta"):
        whole = code.PMC_CLIP(
            args, 768, {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}, full
        )
        pack("pmc-clip", {"source": f"{source}, model_configs/RN50_fusion4.json", "variants": {"only": shapes(whole)}})


@torch.no_grad()
def keep_vision() -> None:
    script = next(
        one for one in (Path(path) / "quick_start" / "keep_inference.py" for path in sys.path) if one.is_file()
    )
    code: dict[str, Any] = {}
    exec(
        script.read_text(encoding="utf-8").partition("AutoConfig.register")[0], code
    )  # behind it, the owners' weights are read
    create = code["timm"].create_model
    code["timm"].create_model = lambda name, **words: create(
        name, **{**words, "img_size": 64, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
    )
    one = filled(code["KEEPModel"](code["KEEPConfig"](text_config=BERT, projection_dim=WIDTH)))
    source = "MAGIC-AI4Med/KEEP at a346a70, quick_start/keep_inference.py"
    given = {"input_ids": ids(), "attention_mask": (ids() != 0).long()}
    rule = code["transforms"].Compose([
        code["transforms"].Resize(64, code["transforms"].InterpolationMode.BICUBIC), code["transforms"].CenterCrop(64),
        code["transforms"].ToTensor(), code["transforms"].Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    keep("keep", source, one, one.encode_image(pixels()), one.encode_text(given), transform=made(rule))
    code["timm"].create_model = create
    with torch.device("meta"):
        whole = code["KEEPModel"](code["KEEPConfig"](text_config=FULL))
        pack("keep", {"source": source, "variants": {"only": shapes(whole)}})


@torch.no_grad()
def siglip() -> None:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    text = {**sizes, "vocab_size": VOCABULARY, "max_position_embeddings": 8}
    one = filled(
        transformers.SiglipModel(
            transformers.SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 64, "patch_size": 14})
        )
    )
    one.logit_bias.fill_(-2.0)
    out = one(input_ids=ended(), pixel_values=pixels())
    hidden = one(input_ids=ended(), pixel_values=pixels(), attention_mask=(ended() != 1).long())
    rule = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    seen = rule(images=[Image.fromarray(picture) for picture in pictures()], return_tensors="pt")["pixel_values"]
    source = f"transformers {transformers.__version__}, SiglipModel"
    write("siglip", {
        "source": source, "shapes": shapes(one), "image": numbers(out.image_embeds), "text": numbers(out.text_embeds),
        "masked": numbers(hidden.text_embeds), "pooled": numbers(out.vision_model_output.pooler_output),
        "logits": numbers(out.logits_per_image), "sigmoid": numbers(out.logits_per_image.sigmoid()),
        "softmax": numbers(out.logits_per_image.softmax(-1)), "transform": numbers(seen[:, :, ::7, ::7]),
    })  # fmt: skip
    large = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
    full = {}
    for name, own, seen_at in (
        ("base-patch16-224", {}, {}),
        ("so400m-patch14-384", large, {"image_size": 384, "patch_size": 14}),
        ("448", large, {"image_size": 448, "patch_size": 14}),
    ):
        with torch.device("meta"):
            whole = transformers.SiglipModel(
                transformers.SiglipConfig(text_config={**own}, vision_config={**own, **seen_at})
            )
        full[name] = shapes(whole)
    pack("siglip", {"source": source, "variants": full})


@torch.no_grad()
def clip_resnet() -> None:
    import open_clip
    from dual_encoders import ids as clip_ids
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    source = f"open_clip_torch {open_clip.__version__}, open_clip.model.CLIP"
    one = filled(CLIP(
        SPACE, CLIPVisionCfg(layers=(1, 2, 1, 1), width=16, image_size=64),
        CLIPTextCfg(context_length=8, vocab_size=VOCABULARY, width=WIDTH, heads=2, layers=2), quick_gelu=True,
    ))  # fmt: skip
    keep(
        "clip-resnet",
        source,
        one,
        one.encode_image(pixels(), normalize=True),
        one.encode_text(clip_ids(), normalize=True),
    )
    with torch.device("meta"):
        full = {name: shapes(open_clip.create_model(name, device="meta")) for name in ("RN50", "RN50x4")}
    pack("clip-resnet", {"source": source, "variants": full})


ROWS = {
    "biomedclip": biomedclip,
    "conch": conch,
    "mi-zero": mi_zero,
    "pmc-clip": pmc_clip,
    "keep": keep_vision,
    "siglip": siglip,
    "clip-resnet": clip_resnet,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=ROWS)
    parser.add_argument("--path", nargs="*", default=[])
    asked = parser.parse_args()
    sys.path[:0] = asked.path
    for each in asked.names:
        ROWS[each]()
