"""Write outputs and key manifests of reference pairs of towers to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/dual_encoders.py NAME... [--path PATH]

Needs torch 2.13.0; weights come from names (see recipe_weights.py), pictures from ``recipe_image``. Numbers are of small networks,
names and shapes of full-size ones.

  open-clip     open_clip_torch 3.3.0 with timm 1.0.31 and torchvision 0.29.1: ViT-B-32 and ViT-B-16, with GELU and with quick-GELU
  chexzero      PATH: rajpurkarlab/CheXzero at 5c341db (its plots, files and progress bars are replaced by mocks); torchvision 0.29.1
  transformers  transformers 4.40.2 or later: CLIPModel's names, as the hub's files have them
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import vision_shim  # noqa: E402, F401
from recipe_weights import fill, recipe_image  # noqa: E402

DATA = HERE.parent / "data"
WIDTH, LAYERS, VOCABULARY, SPACE = 64, 2, 200, 24
TEXTS = [
    [198, 5, 17, 9, 199, 0, 0, 0],
    [198, 44, 199, 0, 0, 0, 0, 0],
    [198, 7, 8, 9, 10, 11, 12, 199],
    [198, 150, 3, 199, 0, 0, 0, 0],
]


MERGES = [
    "h e",
    "a r",
    "he ar",
    "hear t</w>",
    "n o</w>",
    "l u",
    "n g</w>",
    "lu ng</w>",
    "f a",
    "i l",
    "fa il",
    "u r",
    "ur e</w>",
    "fail ure</w>",
    "' s</w>",
]
SENTENCES = ("No heart failure!", "  a heart's\nlung  ", "NO LUNG, 2.5 µm naïve", "heart " * 90)


def merges_file(path: Path) -> Path:
    """Write a file of merges as OpenAI's is: a line that is not read, then two pieces a line, packed."""
    path.write_bytes(gzip.compress("\n".join(("#version", *MERGES)).encode(), mtime=0))
    return path


def pictures() -> list[np.ndarray]:
    """Three pictures, wide, tall and square, as uint8 [height, width, 3]."""
    return [recipe_image(f"pair {i}", *size) for i, size in enumerate(((90, 130), (120, 80), (64, 64)))]


def pixels() -> torch.Tensor:
    """Three pictures as a network of 64 pixels takes them."""
    both = np.stack([recipe_image(f"network {i}", 64, 64) for i in range(3)])
    return torch.from_numpy(both).permute(0, 3, 1, 2).float() / 127.5 - 1


def ids() -> torch.Tensor:
    """Token ids [4, 8]; 198 begins and 199 ends a text."""
    return torch.tensor(TEXTS)


def numbers(values: torch.Tensor | np.ndarray) -> list[float]:
    """Return an output's numbers to eight places."""
    return np.round(np.asarray(values, np.float64).ravel(), 8).tolist()


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    """Return the names and shapes of a network's state."""
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """Fill a network by the recipe, and open its scale."""
    fill({k: v for k, v in network.state_dict().items() if not k.endswith("attn_mask")})
    with torch.no_grad():
        network.logit_scale.fill_(3.0)
    return network.eval()


def write(name: str, content: dict[str, Any]) -> None:
    """Write expected outputs."""
    (DATA / "expected" / f"{name}.pair.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def pack(name: str, content: dict[str, Any]) -> None:
    """Write a manifest."""
    (DATA / "manifests" / f"{name}.pair.json.gz").write_bytes(
        gzip.compress((json.dumps(content) + "\n").encode(), mtime=0)
    )


@torch.no_grad()
def open_clip_networks() -> None:
    import open_clip
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    source = f"open_clip_torch {open_clip.__version__}, open_clip.model.CLIP"
    runs = {}
    for name, quick in (("gelu", False), ("quick-gelu", True)):
        network = filled(CLIP(
            SPACE, CLIPVisionCfg(layers=LAYERS, width=WIDTH, head_width=32, patch_size=32, image_size=64),
            CLIPTextCfg(context_length=8, vocab_size=VOCABULARY, width=WIDTH, heads=2, layers=LAYERS), quick_gelu=quick,
        ))  # fmt: skip
        image, text = (network.encode_image(pixels(), normalize=True), network.encode_text(ids(), normalize=True))
        # open_clip's build_zero_shot_classifier: the mean over templates, scaled to length 1; here two classes of two sentences each
        classes = torch.stack([text[:2].mean(0), text[2:].mean(0)])
        classes = classes / classes.norm(dim=-1, keepdim=True)
        likely = (network.logit_scale.exp() * image @ classes.T).softmax(-1)
        runs[name] = {"image": numbers(image), "text": numbers(text), "probabilities": numbers(likely)}
    rule = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    made = torch.stack([rule(Image.fromarray(one)) for one in pictures()])
    write("open-clip", {
        "source": source, "shapes": shapes(network), "runs": runs, "transform": numbers(made[:, :, ::7, ::7]),
    })  # fmt: skip
    with torch.device("meta"):
        full = {
            name: shapes(open_clip.create_model(name, device="meta")) for name in ("ViT-B-32", "ViT-B-16", "ViT-L-14")
        }
    pack("open-clip", {"source": source, "variants": full})


@torch.no_grad()
def chexzero() -> None:
    from unittest.mock import MagicMock

    import torchvision  # noqa: F401  before the mocks: it looks for some of them
    from PIL import Image

    mocked = "h5py matplotlib matplotlib.pyplot tqdm.notebook eval cv2 clip"
    sys.modules.update({name: MagicMock() for name in mocked.split()})
    sys.modules["tqdm.notebook"].tqdm = lambda items: items
    Image.ANTIALIAS = Image.Resampling.LANCZOS  # its name until Pillow 10
    import data_process
    import simple_tokenizer
    import zero_shot
    from model import CLIP
    from torchvision.transforms import InterpolationMode, Normalize, Resize

    def network(seed: int) -> torch.nn.Module:
        made = filled(CLIP(SPACE, 64, LAYERS, WIDTH, 32, 8, VOCABULARY, WIDTH, 2, LAYERS))
        with torch.no_grad():
            for value in made.parameters():
                value *= 1 + 0.2 * seed if value.ndim > 1 else 1
        return made

    fitted = np.stack([np.asarray(data_process.preprocess(Image.fromarray(one)), np.float32) for one in pictures()])
    grey = torch.from_numpy(np.repeat(fitted[:, None], 3, 1))
    grey = Normalize((101.48761,) * 3, (83.43944,) * 3)(grey)
    made = Resize(64, InterpolationMode.BICUBIC, antialias=False)(grey)
    members = [network(seed) for seed in range(3)]
    text = {"a": TEXTS[0], "no a": TEXTS[1], "b": TEXTS[2], "no b": TEXTS[3]}
    zero_shot.clip.tokenize = lambda texts, context_length: torch.tensor([text[one] for one in texts])
    loader = [{"img": one[None]} for one in made]
    each = [zero_shot.run_softmax_eval(one, loader, ["a", "b"], ("{}", "no {}")) for one in members]
    image, words = members[0].encode_image(made), members[0].encode_text(ids())
    write("chexzero", {
        "source": "rajpurkarlab/CheXzero at 5c341db, model.py, data_process.py and zero_shot.py", "shapes": shapes(members[0]),
        "transform": numbers(made[:, :, ::7, ::7]), "image": numbers(image / image.norm(dim=-1, keepdim=True)),
        "text": numbers(words / words.norm(dim=-1, keepdim=True)), "probabilities": [numbers(one) for one in each],
        "ensemble": numbers(np.mean(each, axis=0)),
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        words = simple_tokenizer.SimpleTokenizer(str(merges_file(Path(folder) / "bpe.txt.gz")))
        ends = [words.encoder[one] for one in ("<|startoftext|>", "<|endoftext|>")]
        texts = [[ends[0], *words.encode(one), ends[1]] for one in SENTENCES]
    write("clip-tokens", {
        "source": "rajpurkarlab/CheXzero at 5c341db, simple_tokenizer.py (OpenAI's) with the merges of this file", "ids": texts,
    })  # fmt: skip
    with torch.device("meta"):
        full = shapes(CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12))
    pack(
        "chexzero",
        {
            "source": "rajpurkarlab/CheXzero at 5c341db, model.py with the sizes of OpenAI's ViT-B/32",
            "variants": {"only": full},
        },
    )


def hub() -> None:
    import transformers

    with torch.device("meta"):
        full = shapes(transformers.CLIPModel(transformers.CLIPConfig()))
    full |= {f"{side}_model.embeddings.position_ids": [1, n] for side, n in (("text", 77), ("vision", 50))}
    pack(
        "hub-clip",
        {
            "source": f"transformers {transformers.__version__} CLIPModel, and the tables that older files hold",
            "variants": {"only": full},
        },
    )


ROWS = {"open-clip": open_clip_networks, "chexzero": chexzero, "transformers": hub}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=ROWS)
    parser.add_argument("--path", nargs="*", default=[])
    asked = parser.parse_args()
    sys.path[:0] = asked.path
    for one in asked.names:
        ROWS[one]()
