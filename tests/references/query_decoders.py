"""Write outputs and key manifests of the owners' query decoders to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/query_decoders.py NAME --path PATH

Needs torch 2.13.0, torchvision 0.29.1, transformers 4.40.2 with tokenizers 0.19.1, einops, scikit-learn, pandas; weights come from names (see recipe_weights.py),
pictures from ``recipe_image``. Numbers are of small networks (linear layers of fixed widths are replaced by narrower ones), names and
shapes of full-size ones. Downloads are replaced by networks built from numbers, what reads other places by mocks.

  kad      PATH: xiaoman-zhang/KAD at 591d999, A3_CLIP
  medklip  PATH: MediaBrain-SJTU/MedKLIP at 8e60b03, Sample_zero-shot_Classification_CXR14
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import vision_shim  # noqa: E402, F401
from dual_encoders import numbers, pack, pictures, pixels, shapes, write  # noqa: E402
from recipe_weights import fill  # noqa: E402

BASE, DEPTHS, WIDTH, BERT_WIDTH = 8, (1, 1, 1, 1), 16, 32
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "no",
    "the",
    "a",
    "lung",
    "heart",
    "mass",
    "nod",
    "##ule",
    "edema",
    "pleural",
    "effusion",
    "fluid",
    "is",
    "of",
    "in",
    "it",
    "means",
    "seen",
    "large",
    "small",
    "left",
    "right",
    "air",
    "bone",
    "line",
    "tube",
    ".",
    ",",
    "-",
    "Heart",
]
ENTITIES = 75
TEXTS = ("Lung mass", "pleural effusion", "nodule", "The HEART, large", "edema of " + "the lung " * 200)
BERT = {
    "vocab_size": len(WORDS), "hidden_size": BERT_WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 320,
}  # fmt: skip


def vocabulary(folder: Path) -> Path:
    """Write BERT's ``vocab.txt``."""
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def descriptions() -> list[str]:
    """A text for each of MedKLIP's entities."""
    plain = WORDS[5:-1]
    return [
        f"{plain[i % 27]} means {plain[(7 * i) % 23]} in {plain[i // 5]} {plain[(3 * i) % 29]}" for i in range(ENTITIES)
    ]


def thin(**_: Any) -> nn.Module:
    """torchvision's ResNet of bottlenecks, an eighth as wide."""
    from torchvision.models import resnet

    class Thin(resnet.ResNet):
        begun = False

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "inplanes" and not self.begun:
                value, type(self).begun = BASE, True
            super().__setattr__(name, value)

        def _make_layer(self, block: Any, planes: int, *rest: Any, **more: Any) -> nn.Sequential:
            return super()._make_layer(block, planes * BASE // 64, *rest, **more)

    network = Thin(resnet.Bottleneck, list(DEPTHS))
    network.fc = nn.Linear(32 * BASE, 10)
    return network


def without_downloads(full: bool) -> None:
    """Build a ResNet and a BERT from numbers where the owners' code asks for published ones."""
    import torchvision
    import transformers
    from torchvision.models import resnet

    config = transformers.BertConfig(**({} if full else BERT), output_hidden_states=True)
    transformers.BertConfig.from_pretrained = lambda *_, **__: config
    transformers.AutoModel.from_pretrained = lambda *_, **__: transformers.BertModel(config)
    whole = resnet.resnet50
    torchvision.models.resnet50 = (lambda **_: whole(weights=None)) if full else thin
    torchvision.models.densenet121 = torchvision.models.resnet18 = MagicMock()


def filled(network: nn.Module) -> nn.Module:
    fill(network.state_dict())
    return network.eval()


def mocked(*names: str) -> None:
    sys.modules.update({name: MagicMock() for name in names})


def transformed(dataset: Any, *rest: Any) -> list[torch.Tensor]:
    """Pictures through the transform of the owners' own dataset class."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "list.csv").write_text("path,a,b,c\nx.png,0,0,0\n")
        rule = dataset(str(Path(folder) / "list.csv"), *rest).transform
    return [rule(Image.fromarray(one)) for one in pictures()]


@torch.no_grad()
def kad() -> None:
    from PIL import Image
    from transformers import BertTokenizer

    mocked("petrel_client", "petrel_client.client", "pytorch_pretrained_vit", "cv2", "dataset.randaugment")
    Image.BICUBIC = Image.Resampling.BICUBIC  # type: ignore[attr-defined]
    without_downloads(full=False)
    from dataset.test_dataset import Chestxray14_Dataset
    from models import clip_tqn

    source = "xiaoman-zhang/KAD at 591d999, A3_CLIP/models/clip_tqn.py, dataset/test_dataset.py and test_chestxray14.py"
    text = clip_tqn.CLP_clinical("a BERT", embed_dim=BERT_WIDTH)
    model = filled(clip_tqn.TQN_Model(embed_dim=BERT_WIDTH))
    text = filled(text)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = BertTokenizer.from_pretrained(vocabulary(Path(folder)), do_lower_case=True)
    read = tokenizer(
        list(TEXTS), add_special_tokens=True, max_length=256, padding="max_length", truncation=True, return_tensors="pt"
    )
    queries = text.encode_text(read)
    runs = {}
    for name, kind in (("512", clip_tqn.ModelRes512), ("224", clip_tqn.ModelRes)):
        image = kind("resnet50")
        image.res_l2 = nn.Linear(image.res_l1.out_features, BERT_WIDTH)
        image = filled(image)
        tokens, pooled = image(pixels())
        logits = model(tokens, queries)
        shown = {"image_encoder": shapes(image), "text_encoder": shapes(text), "model": shapes(model)}
        likely = torch.softmax(logits, dim=-1)[:, :, 1]
        runs[name] = {
            "shapes": shown, "tokens": numbers(tokens[:, ::3]), "pooled": numbers(pooled), "logits": numbers(logits), "probabilities": numbers(likely),
        }  # fmt: skip
    made = transformed(Chestxray14_Dataset, 64)
    write("kad", {
        "source": source, "ids": [ids[: int(mask.sum())].tolist() for ids, mask in zip(read.input_ids, read.attention_mask, strict=True)], "queries": numbers(queries), "runs": runs,
        "transform": [numbers(one[:, ::7, ::7]) for one in made], "sizes": [list(one.shape[1:]) for one in made],
    })  # fmt: skip
    without_downloads(full=True)
    with torch.device("meta"):
        full = {
            name: {"image_encoder": shapes(kind("resnet50")), "text_encoder": shapes(clip_tqn.CLP_clinical("a BERT")), "model": shapes(clip_tqn.TQN_Model())}
            for name, kind in (("512", clip_tqn.ModelRes512), ("224", clip_tqn.ModelRes))
        }  # fmt: skip
    pack("kad", {"source": f"{source}; BERT of transformers 4.40.2's default numbers", "variants": full})


@torch.no_grad()
def medklip() -> None:
    from PIL import Image

    mocked("dataset.randaugment", "randaugment")
    sys.modules["dataset.randaugment"].RandomAugment = MagicMock()
    without_downloads(full=False)
    import test as owners
    from dataset.dataset import Chestxray14_Dataset
    from models.model_MedKLIP import MedKLIP
    from models.tokenization_bert import BertTokenizer, load_vocab

    source = "MediaBrain-SJTU/MedKLIP at 8e60b03, Sample_zero-shot_Classification_CXR14 models/model_MedKLIP.py, models/tokenization_bert.py, dataset/dataset.py and test.py"
    Image.init()
    with tempfile.TemporaryDirectory() as folder:
        file = str(vocabulary(Path(folder)) / "vocab.txt")
        BertTokenizer.vocab, BertTokenizer.ids_to_tokens = load_vocab(file), {}  # later bases ask before it is read
        tokenizer = BertTokenizer(file)
    book = owners.get_tokenizer(tokenizer, descriptions())
    long = owners.get_tokenizer(tokenizer, TEXTS)
    config = {
        "d_model": WIDTH,
        "res_base_model": "resnet50",
        "H": 4,
        "N": 4,
        "dropout": 0.1,
        "attribute_set_size": 2,
        "text_encoder": "a BERT",
    }
    network = MedKLIP(config, book)
    network.disease_embedding_layer, network.cl_fc = nn.Linear(BERT_WIDTH, WIDTH), nn.Linear(WIDTH, BERT_WIDTH)
    network = filled(network)
    bert = filled(network._get_bert_basemodel("a BERT", None))
    network.disease_book = bert(**{k: book[k] for k in ("input_ids", "attention_mask")}).last_hidden_state[:, 0]
    logits = network(pixels())
    likely = torch.nn.functional.softmax(logits.reshape(-1, 2), dim=-1).reshape(-1, ENTITIES, 2)
    made = torch.stack(transformed(Chestxray14_Dataset, False))
    write("medklip", {
        "source": source, "shapes": shapes(network), "bert": shapes(bert), "queries": numbers(network.disease_book[:, ::4]), "logits": numbers(logits[:, ::5]),
        "probabilities": numbers(likely[:, owners.MIMIC_mapping, 1]), "ids": [ids[: int(mask.sum())].tolist() for ids, mask in zip(long.input_ids, long.attention_mask, strict=True)],
        "transform": numbers(made[:, :, ::17, ::17]), "entities": owners.original_class, "chexray14": owners.target_class,
    })  # fmt: skip
    without_downloads(full=True)
    with torch.device("meta"):
        full = MedKLIP(
            {**config, "d_model": 256},
            {"input_ids": torch.zeros(75, 64, dtype=torch.long), "attention_mask": torch.ones(75, 64)},
        )
    pack(
        "medklip",
        {"source": source, "variants": {"only": {f"module.{key}": value for key, value in shapes(full).items()}}},
    )


ROWS = {"kad": kad, "medklip": medklip}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ROWS)
    parser.add_argument("--path", required=True)
    asked = parser.parse_args()
    sys.path.insert(0, asked.path)
    ROWS[asked.name]()
