"""Write what goes into a CLIP, by OpenAI's code: token ids of sentences and pixels, to ``tests/data/expected/clip-inputs.json``.

    python tests/references/clip_inputs.py --path PATH

PATH: openai/CLIP at d05afc4, with its ``bpe_simple_vocab_16e6.txt.gz``; torch 2.13.0, torchvision 0.29.1, ftfy 6.3.1. open_clip_torch 3.3.0
must give the same ids and pixels. Of the merges those are kept that the sentences need, with their places.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from recipe_weights import recipe_image  # noqa: E402

COUNT = 49152 - 256 - 2  # merges that OpenAI's code takes
CONTEXT = 77
SENTENCES = (
    "An H&E image patch of colorectal adenocarcinoma epithelium.", "a histopathology slide showing tumour-infiltrating lymphocytes",
    "histopathology image of adipose", "pathology tissue showing debris", "presence of mucus tissue on image", "An image of lung squamous cell carcinoma",
    "Atelectasis", "no Atelectasis", "Enlarged Cardiomediastinum", "no Pleural Effusion", "this is a photo of pneumonia", "a photo of a {}.",
    "Chest radiograph (PA view), 64-year-old man: 2.5 cm nodule in the right upper lobe", "T2-weighted axial MRI; ADC < 0.9 × 10⁻³ mm²/s",
    "  it's   the\npatient’s “second” CT,\twe'll  see ", "naïve Ménière’s disease & α-fetoprotein > 400 µg/L", "&lt;b&gt;HER2&amp;neu&lt;/b&gt; 3+",
    "<i>BRCA1</i> &amp; &quot;BRCA2&quot;", "ﬁbrosis ﬀ ＫＲＡＳ Ｇ１２Ｄ　mutation", "肺癌 CT 検査", "🫁 👍🏽", "", "e\u0301 \u00e9 \ufeff\u0007x", "metastatic carcinoma " * 60,
)  # fmt: skip
SIZES = ((640, 649), (335, 500), (64, 64), (500, 224), (231, 700))


def pictures() -> list[np.ndarray]:
    """Pictures whose middle lies between pixels, larger and smaller ones, uint8 [height, width, 3]."""
    return [recipe_image(f"clip {i}", *size) for i, size in enumerate(SIZES)]


def merges_file(path: Path, kept: dict[str, str]) -> Path:
    """Write a file as OpenAI's with ``kept`` merges, by their places; in all others stand pieces that no text has."""
    never = [
        chr(256 + byte) for byte in (*range(9), 11, *range(14, 32))
    ]  # control characters, which are taken out of texts
    pairs = [(a, b) for a in never for b in never]
    fours = ((a + b, c + d) for a, b in pairs for c, d in pairs)
    others = iter([*pairs, *(next(fours) for _ in range(COUNT))])
    lines = [kept.get(str(i)) or " ".join(next(others)) for i in range(COUNT)]
    path.write_bytes(gzip.compress("\n".join(("#version", *lines)).encode(), 1, mtime=0))
    return path


class Seen(dict):  # type: ignore[type-arg]
    """Ranks of merges that note which were found."""

    used: set[tuple[str, str]]

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if found:
            self.used.add(key)  # type: ignore[arg-type]
        return found


def main() -> None:
    import vision_shim  # noqa: F401, I001  before anything that imports torchvision
    import open_clip
    import torch
    from clip import clip
    from clip.simple_tokenizer import SimpleTokenizer
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    words = SimpleTokenizer()
    ranks = words.bpe_ranks = Seen(words.bpe_ranks)
    ranks.used = set()
    clip._tokenizer = words
    made = clip.tokenize(list(SENTENCES), truncate=True)
    other = open_clip.tokenizer.SimpleTokenizer()(list(SENTENCES))
    assert torch.equal(made.long(), other.long())
    rows = [row[: row.index(words.encoder["<|endoftext|>"]) + 1] for row in made.tolist()]
    rule, theirs = clip._transform(224), image_transform_v2(PreprocessCfg(size=224), is_train=False)
    images = [Image.fromarray(one) for one in pictures()]
    seen = torch.stack([rule(one) for one in images])
    assert torch.equal(seen, torch.stack([theirs(one) for one in images]))
    (HERE.parent / "data" / "expected" / "clip-inputs.json").write_text(json.dumps({
        "source": "openai/CLIP at d05afc4, clip/clip.py (tokenize, _transform) and simple_tokenizer.py, with ftfy 6.3.1",
        "merges": {str(ranks[one]): " ".join(one) for one in sorted(ranks.used, key=ranks.get)}, "ids": rows,
        "pixels": np.round(seen[:, :, ::37, ::37].double().numpy().ravel(), 8).tolist(),
    }, ensure_ascii=True) + "\n", encoding="utf-8")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", nargs="*", default=[])
    sys.path[:0] = parser.parse_args().path
    main()
