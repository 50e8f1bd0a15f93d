"""Write what the owners' transforms make of the pictures of ``vision_pictures.py`` to ``tests/data/expected/NAME.pixels.json``.

    python tests/references/vision_inputs.py        (with torch 2.13.0, torchvision 0.29.1, Pillow 13.0.0)

The transforms are torchvision's, with the arguments of the owners' code, which is named with each. Pictures are opened as the owners
open them: ``Image.open(path).convert("RGB")``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import vision_shim  # noqa: E402, F401
from torchvision import transforms as t  # noqa: E402
from vision_pictures import PICTURES, picture, values  # noqa: E402

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
BICUBIC = t.InterpolationMode.BICUBIC
TRIDENT = "mahmoodlab/TRIDENT at a91fa84, patch_encoder_models/load.py"
OWNERS: dict[str, tuple[str, list[Any]]] = {
    "uni": ("mahmoodlab/UNI at 42715ef, uni/get_encoder/get_encoder.py", [t.Resize(224), t.CenterCrop(224), t.ToTensor(), t.Normalize(*IMAGENET)]),
    "conch-v1-5": ("mahmoodlab/TRIDENT at a91fa84, patch_encoder_models/model_zoo/conchv1_5/conchv1_5.py", [t.Resize(448, interpolation=t.InterpolationMode.BILINEAR), t.CenterCrop(448), t.ToTensor(), t.Normalize(*IMAGENET)]),
    "virchow": (TRIDENT, [t.Resize(224, interpolation=BICUBIC), t.ToTensor(), t.Normalize(*IMAGENET)]),
    "retfound": ("rmaphoh/RETFound_MAE at 897d71c, util/datasets.py", [t.Resize(256, interpolation=BICUBIC), t.CenterCrop(224), t.ToTensor(), t.Normalize(*IMAGENET)]),
    "ctranspath": ("Xiyue-Wang/TransPath at 26c6194, get_features_CTransPath.py", [t.Resize(224), t.ToTensor(), t.Normalize(*IMAGENET)]),
    "hipt": ("mahmoodlab/HIPT at 780fafa, HIPT_4K/hipt_model_utils.py", [t.ToTensor(), t.Normalize(*HALF)]),
    "h-optimus-0": (TRIDENT, [t.Resize(224), t.ToTensor(), t.Normalize(*OPTIMUS)]),
    "midnight-12k": (TRIDENT, [t.Resize(224), t.CenterCrop(224), t.ToTensor(), t.Normalize(*HALF)]),
}  # fmt: skip

for name, (source, steps) in OWNERS.items():
    owner = t.Compose(steps)
    rows = [values(owner(picture(one).convert("RGB")).numpy()) for one in PICTURES]
    content = {"source": source, "pictures": rows}
    (HERE.parent / "data" / "expected" / f"{name}.pixels.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
