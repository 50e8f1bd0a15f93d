"""Write outputs and key manifests of the owners' pairs of towers for chest X-rays to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/chest_pairs.py NAME --path PATH

Needs torch 2.13.0, torchvision 0.29.1, timm 1.0.31, scikit-learn, einops; transformers 4.40.2 with tokenizers 0.19.1 (medclip: 4.24.0 with
0.13.3, whose image processor it builds on). Weights come from names (see recipe_weights.py), pictures from ``recipe_image``. Numbers are
of small networks (linear layers of fixed widths are replaced by narrower ones), names and shapes of full-size ones. Downloads are
replaced by networks built from numbers, what reads other places by mocks, a device by none.

  medclip   PATH: RyanWangZf/MedCLIP at 9c3396f
  cxr-clip  PATH: kakaobrain/cxr-clip at 955ab93
  maco      PATH: SZUHvern/MaCo at 7f64d95
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import vision_shim  # noqa: E402, F401
from dual_encoders import numbers, pack, pictures, pixels, shapes, write  # noqa: E402
from query_decoders import BERT, BERT_WIDTH, TEXTS, WORDS, filled, mocked, thin, vocabulary  # noqa: E402

SPACE = 24
SWIN = {"image_size": 64, "embed_dim": 12, "depths": [2, 2, 2], "num_heads": [2, 2, 4], "window_size": 4}
SWIN_WIDTH = 48
SENTENCES = {
    "mass": ["lung mass in the left", "no mass", "large heart mass of the right lung is seen in the left lung"],
    "edema": ["edema", "the pleural edema is seen"],
}
SHORT = list(TEXTS[:4])


def without_downloads(full: bool) -> None:
    """Build a ResNet, a Swin and a BERT from numbers where the owners' code asks for published ones."""
    import torchvision
    import transformers
    from torchvision.models import resnet

    bert = transformers.BertConfig(**({"vocab_size": 28996} if full else BERT), output_hidden_states=True)
    swin = transformers.SwinConfig(**({} if full else SWIN))

    def made(name: str, **_: Any) -> nn.Module:
        return transformers.SwinModel(swin) if "swin" in name else transformers.BertModel(bert)

    transformers.AutoModel.from_pretrained = transformers.SwinModel.from_pretrained = made
    whole = WHOLE
    torchvision.models.resnet50 = resnet.resnet50 = (lambda **_: whole(weights=None)) if full else thin


def words(folder: str) -> Any:
    """BERT's tokenizer over the small vocabulary, as the hub's files give it."""
    from transformers import BertTokenizerFast

    return BertTokenizerFast(str(vocabulary(Path(folder)) / "vocab.txt"))


@torch.no_grad()
def medclip() -> None:
    import transformers
    from PIL import Image

    mocked("nltk", "nltk.tokenize", "wget", "textaugment", "requests")
    without_downloads(full=False)
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    folder = tempfile.mkdtemp()
    transformers.AutoTokenizer.from_pretrained = lambda *_, **__: words(folder)
    from medclip import dataset, prompts
    from medclip import modeling_medclip as owners

    source = "RyanWangZf/MedCLIP at 9c3396f, medclip/modeling_medclip.py, dataset.py and prompts.py"
    tokenizer = words(folder)
    tokenizer.model_max_length = 77
    read = tokenizer(list(TEXTS), truncation=True, padding=True, return_tensors="pt")
    short = tokenizer(SHORT, truncation=True, padding=True, return_tensors="pt")
    asked = prompts.process_class_prompts(SENTENCES)
    runs, full = {}, {}
    for name, kind in (("vit", owners.MedCLIPVisionModelViT), ("resnet50", owners.MedCLIPVisionModel)):
        without_downloads(full=False)
        network = owners.MedCLIPModel(vision_cls=kind)
        network.text_model.projection_head = nn.Linear(BERT_WIDTH, SPACE, bias=False)
        if name == "vit":
            network.vision_model.projection_head = nn.Linear(SWIN_WIDTH, SPACE, bias=False)
        else:
            network.vision_model.model.fc = nn.Linear(256, SPACE, bias=False)
        network = filled(network)
        network.logit_scale.data.fill_(5.0)
        image = network.encode_image(pixels())
        text = network.encode_text(read.input_ids, read.attention_mask)
        few = network.encode_text(short.input_ids, short.attention_mask)
        unmasked = network.encode_text(short.input_ids)
        shown = shapes(network)
        classes = owners.PromptClassifier(network, ensemble=True)(pixels(), asked)["logits"]
        runs[name] = {
            "shapes": shown,
            "image": numbers(image),
            "text": numbers(text),
            "short": numbers(few),
            "unmasked": numbers(unmasked),
            "classes": numbers(classes),
        }
        without_downloads(full=True)
        full[name] = shapes(owners.MedCLIPModel(vision_cls=kind))
    made = dataset.MedCLIPFeatureExtractor()(
        [Image.fromarray(one) for one in (*pictures(), LARGE)], return_tensors="pt"
    )["pixel_values"]
    write("medclip", {
        "source": source, "runs": runs, "ids": read.input_ids.tolist(), "mask": read.attention_mask.tolist(), "short": short.input_ids.tolist(), "transform": numbers(made[:, 0, ::17, ::17]),
    })  # fmt: skip
    pack("medclip", {"source": f"{source}; transformers 4.24.0, Bio_ClinicalBERT's vocabulary", "variants": full})


@torch.no_grad()
def cxr_clip() -> None:
    from PIL import Image

    albumentations = MagicMock()
    albumentations.BasicTransform = type("BasicTransform", (), {})
    without_downloads(full=False)  # before the mocks: transformers looks for what is installed
    mocked(
        "nltk", "nltk.tokenize", "tensorboard", "torch.utils.tensorboard", "albumentations.pytorch", "albumentations.pytorch.transforms",
        "omegaconf", "ujson",
    )  # fmt: skip
    sys.modules["albumentations"] = albumentations
    from cxrclip import evaluator
    from cxrclip.data import data_utils
    from cxrclip.model.clip import CXRClip
    from cxrclip.model.modules import image_encoder

    source = "kakaobrain/cxr-clip at 955ab93, cxrclip/model, cxrclip/evaluator.py and cxrclip/data/data_utils.py"
    folder = tempfile.mkdtemp()
    tokenizer = words(folder)
    bert = {
        "source": "huggingface",
        "name": "a BERT",
        "pretrained": True,
        "gradient_checkpointing": False,
        "pooling": "eos",
        "cache_dir": "",
        "trust_remote_code": True,
    }
    towers = {
        "swint-m": {"source": "huggingface", "name": "a swin", "pretrained": True, "model_type": "swin"},
        "r50-m": {"source": "torchvision", "name": "resnet", "pretrained": True},
    }

    def network(name: str, space: int) -> nn.Module:
        config = {
            "image_encoder": towers[name],
            "text_encoder": bert,
            "projection_head": {"name": "linear", "dropout": 0.1, "proj_dim": space},
            "temperature": 0.07,
        }
        return CXRClip(config, {}, tokenizer)

    runs, full = {}, {}
    for name in towers:
        without_downloads(full=False)
        image_encoder.resnet50 = thin
        model = network(name, SPACE)
        if name == "r50-m":
            model.image_projection.projection = nn.Linear(256, SPACE)
        model = filled(model)
        asked = evaluator.Evaluator.__new__(evaluator.Evaluator)
        asked.model, asked.device, asked.ckpt_config = model, torch.device("cpu"), {"base": {"text_max_length": 256}}
        asked.datamodule = types.SimpleNamespace(tokenizer=tokenizer)
        image, text = asked.encode_image(pixels()), asked.encode_text(list(TEXTS))
        likely: list[Any] = []
        evaluator.metrics = types.SimpleNamespace(
            pairwise=evaluator.metrics.pairwise, auc=lambda *_: 0.0, accuracy_score=lambda *_: 0.0, f1_score=lambda *_: 0.0,
            roc_curve=functools.partial(kept, likely),
        )  # fmt: skip
        asked.zeroshot_binary(image, ["mass"] * 3, ["Lung mass", "edema"])
        runs[name] = {
            "shapes": shapes(model),
            "image": numbers(image),
            "text": numbers(text),
            "probabilities": numbers(np.stack(likely, 1)),
        }
        without_downloads(full=True)
        image_encoder.resnet50 = lambda **_: WHOLE(weights=None)
        full[name] = shapes(network(name, 512))
    steps = data_utils.load_transform("test", {"test": {"Resize": {"size": 224}, "CenterCrop": {"size": 224}}})
    made = {
        name: torch.stack([data_utils.transform_image(steps, Image.fromarray(one), normalize=kind) for one in pictures()])[:, :, ::17, ::17]
        for name, kind in (("swint-m", "huggingface"), ("r50-m", "imagenet"))
    }  # fmt: skip
    read = tokenizer(list(TEXTS), padding="longest", truncation=True, max_length=256)
    write("cxr-clip", {
        "source": source, "runs": runs, "ids": [ids[: sum(mask)] for ids, mask in zip(read["input_ids"], read["attention_mask"], strict=True)],
        "transform": {name: numbers(one) for name, one in made.items()},
    })  # fmt: skip
    pack("cxr-clip", {"source": f"{source}; transformers 4.40.2, Bio_ClinicalBERT's vocabulary", "variants": full})


def kept(found: list[Any], truth: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Keep the scores of a ROC curve in place of drawing it."""
    found.append(scores)
    return 0, 0, 0


def wordpiece(path: Path) -> Path:
    """Write a tokenizer in the form of the package tokenizers, as MaCo's own file has it."""
    import tokenizers

    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(WORDS[:5])
    made.save(str(path))
    return path


@torch.no_grad()
def maco() -> None:
    from PIL import Image
    from torchvision import transforms

    mocked("ZeroShot.utils.misc", "ZeroShot.gloria_loss")
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    os.chdir(wordpiece(Path(tempfile.mkdtemp()) / "mimic_wordpiece.json").parent)
    from ZeroShot.bert import bert_encoder, builder
    from ZeroShot.utils import prompts

    source = "SZUHvern/MaCo at 7f64d95, ZeroShot/model_MaCo.py, bert/bert_encoder.py, utils/prompts.py and Zeroshot Classification.py"
    file = Path(sys.path[0]) / "ZeroShot" / "model_MaCo.py"

    def module(width: int) -> types.ModuleType:
        """The owners' module; where the width of its space is another, 768 is that in its text."""
        found = types.ModuleType(f"model_{width}")
        exec(compile(file.read_text("utf-8").replace("768", str(width)), str(file), "exec"), vars(found))
        return found

    plain = bert_encoder.BertConfig
    whole = module(768)
    with torch.device("meta"):
        full = shapes(whole.maco(bert_type="MaCo", num_classes=14))
    bert_encoder.BertConfig = functools.partial(
        plain, vocab_size=len(WORDS), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    builder.BERT = bert_encoder.BertEncoder
    network = filled(module(48).MaCo(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=4, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6), num_classes=2, bert_type="MaCo",
    ))  # fmt: skip
    shown = shapes(network)
    asked = prompts.get_all_text_prompts(["Lung Mass", "Edema"], types.SimpleNamespace(text_prompt="default"))
    network.set_cls_feature(asked)
    likely, image, _, _ = network(pixels())
    pos, neg = network.cls_head.fc(image), network.cls_head.neg_fc(image)
    read = [network.bert_encoder.encode(one) for one in TEXTS]
    text = torch.cat([network.bert_encoder(*one).logits for one in read])
    rule = transforms.Compose([
        transforms.Resize(224), transforms.CenterCrop((224, 224)), transforms.Grayscale(num_output_channels=3), transforms.ToTensor(),
        transforms.Normalize(mean=[0.4978], std=[0.2449]),
    ])  # fmt: skip
    made = torch.stack([rule(Image.fromarray(one)) for one in pictures()])
    write("maco", {
        "source": source, "shapes": shown, "image": numbers(image), "text": numbers(text), "odds": numbers(pos - neg), "probabilities": numbers(likely[..., 0]),
        "ids": [ids[0, : int(mask.sum())].tolist() for ids, mask, _ in read], "transform": numbers(made[:, :, ::17, ::17]),
    })  # fmt: skip
    pack("maco", {"source": source, "variants": {"only": full}})


ROWS = {"medclip": medclip, "cxr-clip": cxr_clip, "maco": maco}
from recipe_weights import recipe_image  # noqa: E402

LARGE = recipe_image("large", 300, 260)  # larger than what MedCLIP pads to

if __name__ == "__main__":
    from torchvision.models import resnet

    WHOLE = resnet.resnet50
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ROWS)
    parser.add_argument("--path", required=True)
    asked = parser.parse_args()
    sys.path.insert(0, asked.path)
    ROWS[asked.name]()
