"""Write outputs and key manifests of reference vision networks to ``tests/data/expected`` and ``tests/data/manifests``.

    python tests/references/vision_networks.py NAME... [--path PATH]

Needs torch 2.13.0, timm 1.0.31 and torchvision 0.29.1; PATH goes on the import path first. Of full-size networks the names and shapes are
written, of small ones the outputs; weights come from names (see recipe_weights.py), pixels from ``recipe_image``.

  uni, virchow, uni2-h, virchow2, h-optimus, prov-gigapath, kaiko, lunit-dino   timm 1.0.31 with the arguments of mahmoodlab/UNI at 42715ef
                (``get_encoder.py``) and mahmoodlab/TRIDENT at a91fa84 (``patch_encoder_models/load.py``)
  dinov2        PATH: facebookresearch/dinov2 at b8931f7
  ctranspath    PATHS: Xiyue-Wang/TransPath at 26c6194, timm 0.5.4
  retfound      PATHS: rmaphoh/RETFound_MAE at 897d71c, timm 0.9.16 (the owners' pin), facebookresearch/mae at efb2a80
  hipt          PATHS: HIPT_4K and 2-Weakly-Supervised-Subtyping of mahmoodlab/HIPT at 780fafa; its tables and plots are replaced by mocks
  transformers-dinov2  PATH: transformers 4.40.2 with tokenizers 0.19.1, whose names the published files have
  conch-v1-5    PATH: mahmoodlab/TRIDENT at a91fa84; einops 0.8.2, einops-exts 0.0.4
  vis-mae       PATH: lzl199704/VIS-MAE at 24d4c07
  remedis       PATH: google-research/big_transfer at 140de6e (and bit_tensorflow.py, for TensorFlow's names)
  resnet50      torchvision 0.29.1
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import vision_shim  # noqa: E402, F401
from recipe_weights import fill, recipe_array, recipe_image  # noqa: E402

DATA = HERE.parent / "data"
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 4}
TRIDENT = "timm 1.0.31 {} with the arguments of mahmoodlab/TRIDENT at a91fa84"
KEPT = 600  # numbers of one output, evenly spread


def numbers(values: torch.Tensor) -> list[float]:
    """Return an output's numbers to seven places, every so many where there are more than ``KEPT``."""
    flat = values.detach().double().numpy().ravel()
    return np.round(flat[:: 1 + flat.size // KEPT], 7).tolist()


def picked(mask: torch.Tensor) -> list[list[int]]:
    """Return the numbers of the places that a mask hides, a list a picture."""
    return [row.nonzero()[:, 0].tolist() for row in mask]


def pixels(height: int, width: int) -> torch.Tensor:
    """Two smooth pictures as a network takes them: [2, 3, height, width], -1 to 1."""
    both = np.stack([recipe_image(f"network {i}", height, width) for i in range(2)])
    return torch.from_numpy(both).permute(0, 3, 1, 2).float() / 127.5 - 1


def write(folder: str, name: str, content: dict[str, Any]) -> None:
    """Write a manifest (packed) or expected outputs."""
    text = json.dumps(content) + "\n"
    if folder == "manifests":
        (DATA / folder / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        (DATA / folder / f"{name}.json").write_text(text, encoding="utf-8")


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    """Return the names and shapes of a network's state."""
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def manifest(name: str, source: str, **makers: Callable[[], torch.nn.Module]) -> None:
    """Write the names and shapes of full-size networks, one a variant."""
    with torch.device("meta"):
        write(
            "manifests",
            f"{name}.vision",
            {"source": source, "variants": {v: shapes(make()) for v, make in makers.items()}},
        )


def outputs(
    name: str, source: str, network: torch.nn.Module, config: dict[str, Any], run: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    sizes: list[tuple[int, int]],
) -> None:  # fmt: skip
    """Fill a small network by the recipe, run it on pictures of some sizes, write what comes out. ``config``: its numbers, ours."""
    fill(
        {k: v for k, v in network.state_dict().items() if not k.endswith("attn_mask")}
    )  # a mask follows from the numbers
    network.eval()
    runs = []
    with torch.no_grad():
        for height, width in sizes:
            found = run(pixels(height, width))
            runs.append(
                {
                    "size": [height, width],
                    **{
                        key: numbers(value) if isinstance(value, torch.Tensor) else value
                        for key, value in found.items()
                    },
                }
            )
    write("expected", f"{name}.vision", {
        "source": source, "config": config, "shapes": shapes(network), "runs": runs,
    })  # fmt: skip


# timm -------------------------------------------------------------------------------------------------------------------


def timm_vit(architecture: str, **arguments: Any) -> torch.nn.Module:
    """Build a timm network without weights."""
    import timm

    return timm.create_model(architecture, pretrained=False, num_classes=0, dynamic_img_size=True, **arguments)


def timm_row(
    name: str, source: str, small: dict[str, Any], sizes: list[tuple[int, int]], **variants: tuple[str, dict[str, Any]]
) -> None:
    """Write a row whose network is timm's: manifests of its variants, outputs of the first one made small."""
    manifest(name, source, **{v: lambda a=a, k=k: timm_vit(a, **k) for v, (a, k) in variants.items()})
    architecture, arguments = next(iter(variants.values()))
    network = timm_vit(architecture, **{**arguments, **small})

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        tokens = network.forward_features(x)
        return {"tokens": tokens, "cls": tokens[:, 0], "patches": tokens[:, network.num_prefix_tokens :].mean(1)}

    outputs(name, source, network, small, run, sizes)


def uni() -> None:
    source = "timm 1.0.31 vit_large_patch16_224 with the arguments of mahmoodlab/UNI at 42715ef, get_encoder.py"
    arguments = {"img_size": 224, "patch_size": 16, "init_values": 1e-5}
    timm_row("uni", source, {**SMALL, "img_size": 64}, [(64, 64), (80, 96)], only=("vit_large_patch16_224", arguments))


def uni2_h() -> None:
    import timm

    source = "timm 1.0.31 vit_giant_patch14_224 with the arguments of mahmoodlab/UNI at 42715ef, get_encoder.py"
    arguments = {
        "img_size": 224, "patch_size": 14, "depth": 24, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536, "mlp_ratio": 2.66667 * 2,
        "no_embed_class": True, "mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU, "reg_tokens": 8,
    }  # fmt: skip
    timm_row(
        "uni2-h", source, {**SMALL, "img_size": 56}, [(56, 56), (70, 84)], only=("vit_giant_patch14_224", arguments)
    )


def virchow() -> None:
    import timm

    architecture = "vit_huge_patch14_224"
    arguments = {
        "img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "", "mlp_layer": timm.layers.SwiGLUPacked,
        "act_layer": torch.nn.SiLU,
    }  # fmt: skip
    for name, more in (("virchow", {}), ("virchow2", {"reg_tokens": 4})):
        timm_row(
            name, TRIDENT.format(architecture), {**SMALL, "img_size": 56}, [(56, 56), (70, 84)], only=(architecture, {**arguments, **more})
        )  # fmt: skip


def h_optimus() -> None:
    architecture = "vit_giant_patch14_reg4_dinov2"
    arguments = {"img_size": 224, "global_pool": "token", "init_values": 1e-5}
    for name in ("h-optimus-0", "h-optimus-1"):
        timm_row(
            name, TRIDENT.format(architecture), {**SMALL, "img_size": 56}, [(56, 56), (70, 84)], only=(architecture, arguments)
        )  # fmt: skip


def prov_gigapath() -> None:
    architecture = "vit_giant_patch14_dinov2"
    arguments = {
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": 1536,
        "depth": 40,
        "num_heads": 24,
        "mlp_ratio": 5.33334,
    }
    timm_row(
        "prov-gigapath", TRIDENT.format(architecture), {**SMALL, "img_size": 64}, [(64, 64), (80, 96)], only=(architecture, arguments)
    )  # fmt: skip


def kaiko() -> None:
    variants = {
        "l14": ("vit_large_patch14_reg4_dinov2", {"img_size": 518}), "s16": ("vit_small_patch16_224", {}), "s8": ("vit_small_patch8_224", {}),
        "b16": ("vit_base_patch16_224", {}), "b8": ("vit_base_patch8_224", {}),
    }  # fmt: skip
    timm_row("kaiko", TRIDENT.format("(five ViTs)"), {**SMALL, "img_size": 56}, [(56, 56), (70, 84)], **variants)


def lunit_dino() -> None:
    variants = {"s8": ("vit_small_patch8_224", {}), "s16": ("vit_small_patch16_224", {})}
    timm_row(
        "lunit-dino",
        TRIDENT.format("vit_small_patch8_224"),
        {**SMALL, "img_size": 32},
        [(32, 32), (40, 48)],
        **variants,
    )


# facebookresearch/dinov2 ------------------------------------------------------------------------------------------------


def dinov2() -> None:
    from dinov2.models import vision_transformer as reference

    source = "facebookresearch/dinov2 at b8931f7, models/vision_transformer.py with the arguments of hub/backbones.py"
    shared = {"img_size": 518, "patch_size": 14, "init_values": 1.0, "block_chunks": 0}
    sizes = {
        "s": ("vit_small", "mlp"),
        "b": ("vit_base", "mlp"),
        "l": ("vit_large", "mlp"),
        "g": ("vit_giant2", "swiglufused"),
    }
    makers = {}
    for letter, (maker, ffn) in sizes.items():
        for registers in (0, 4):
            more = {
                "num_register_tokens": registers,
                "interpolate_antialias": bool(registers),
                "interpolate_offset": 0.0 if registers else 0.1,
            }
            key = f"{letter}14" + ("-reg" if registers else "")
            makers[key] = lambda maker=maker, ffn=ffn, more=more: getattr(reference, maker)(
                ffn_layer=ffn, **shared, **more
            )
    manifest("dinov2", source, **makers)
    for name, ffn, registers in (("dinov2", "swiglufused", 0), ("dinov2-reg", "mlp", 4)):
        network = reference.DinoVisionTransformer(
            img_size=56, patch_size=14, embed_dim=32, depth=2, num_heads=4, mlp_ratio=4, init_values=1.0, block_chunks=0, ffn_layer=ffn,
            num_register_tokens=registers, interpolate_antialias=bool(registers), interpolate_offset=0.0 if registers else 0.1,
            block_fn=reference.partial(reference.Block, attn_class=reference.MemEffAttention),
        )  # fmt: skip

        def run(x: torch.Tensor, network: Any = network) -> dict[str, torch.Tensor]:
            found = network.forward_features(x)
            patches = found["x_norm_patchtokens"]
            tokens = torch.cat((found["x_norm_clstoken"][:, None], found["x_norm_regtokens"], patches), 1)
            return {"tokens": tokens, "cls": tokens[:, 0], "patches": patches.mean(1)}

        gated = {} if registers else {"mlp": "swiglu", "mlp_ratio": 5.5}
        outputs(name, source, network, {**SMALL, "img_size": 56, **gated}, run, [(56, 56), (70, 84)])


# Owners' repositories ---------------------------------------------------------------------------------------------------


def pooled_and_tokens(
    network: Any, tokens: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    """Return a run that gives a network's own output and what ``tokens`` makes."""
    return lambda x: {"pooled": network(x), "tokens": tokens(x)}


def ctranspath() -> None:
    import timm
    from ctran import ConvStem

    source = "Xiyue-Wang/TransPath at 26c6194, ctran.py in the place of timm 0.5.4's patch_embed"

    def make(**arguments: Any) -> Any:
        network = timm.models.swin_transformer.SwinTransformer(**arguments)
        # what the owners' timm does with its one new argument, embed_layer
        network.patch_embed = ConvStem(
            img_size=arguments.get("img_size", 224), embed_dim=arguments["embed_dim"], norm_layer=torch.nn.LayerNorm
        )
        network.head = torch.nn.Identity()
        return network

    def full() -> torch.nn.Module:
        return make(
            patch_size=4, window_size=7, embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), num_classes=0
        )

    write(
        "manifests", "ctranspath.vision", {"source": source, "variants": {"only": shapes(full())}}
    )  # its masks need values
    config = {"embed_dim": 24, "depths": [2, 2, 2], "num_heads": [3, 6, 12]}
    network = make(img_size=112, window_size=7, num_classes=0, **config)

    def tokens(x: torch.Tensor) -> torch.Tensor:
        x = network.patch_embed(x)
        return network.norm(network.layers(x))

    outputs("ctranspath", source, network, config, pooled_and_tokens(network, tokens), [(112, 112)])


def retfound() -> None:
    from functools import partial

    import models_vit

    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    small = {"patch_size": 16, "img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 4}
    source = "rmaphoh/RETFound_MAE at 897d71c, models_vit.py on timm 0.9.16; keys of facebookresearch/mae at efb2a80, models_mae.py"
    network = models_vit.VisionTransformer(global_pool=True, num_classes=5, qkv_bias=True, norm_layer=norm, **small)
    config = {**{k: v for k, v in small.items() if k != "patch_size"}, "num_classes": 5}
    outputs(
        "retfound", source, network, config,
        lambda x: {"pooled": network.forward_features(x)[:, 0], "logits": network(x)[:, 0] if network(x).ndim == 3 else network(x)},
        [(64, 64)],
    )  # fmt: skip


def transformers_dinov2() -> None:
    import transformers

    source = f"transformers {transformers.__version__} Dinov2Model, sizes by the rows' cards"
    shared = {"attn_implementation": "eager"}
    for name, numbers in {
        "phikon-v2": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 224, "patch_size": 16},
        "rad-dino": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 518, "patch_size": 14},
        "midnight-12k": {
            "hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24, "image_size": 224, "patch_size": 14,
            "use_swiglu_ffn": True,
        },
    }.items():  # fmt: skip
        manifest(
            name, source, only=lambda n=numbers: transformers.Dinov2Model(transformers.Dinov2Config(**n, **shared))
        )


def retfound_keys() -> None:
    from functools import partial

    import models_mae
    import timm

    np.float = float  # numpy dropped it
    models_mae.Block = lambda *a, qk_scale=None, **k: timm.models.vision_transformer.Block(*a, **k)  # timm dropped it
    from dinov2.models import vision_transformer as reference

    source = "facebookresearch/mae at efb2a80, models_mae.py; facebookresearch/dinov2 at b8931f7, models/vision_transformer.py"

    def teacher() -> torch.nn.Module:
        return torch.nn.ModuleDict(
            {"backbone": reference.vit_large(img_size=224, patch_size=14, init_values=1.0, block_chunks=0)}
        )

    # MAE fills its position tables at once, which needs memory
    variants = {"mae": shapes(models_mae.mae_vit_large_patch16())}
    with torch.device("meta"):
        variants["dinov2"] = shapes(teacher())
    write("manifests", "retfound.vision", {"source": source, "variants": variants})
    network = models_mae.MaskedAutoencoderViT(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=4, decoder_embed_dim=16, decoder_depth=2, decoder_num_heads=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )  # fmt: skip

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        loss, prediction, mask = network(x, 0.75)
        return {"loss": loss[None], "prediction": prediction, "hidden": picked(mask)}

    outputs(
        "retfound-mae",
        source,
        network,
        {**SMALL, "img_size": 64, "decoder": {"embed_dim": 16, "depth": 2, "num_heads": 4}},
        run,
        [(64, 64)],
    )


def hipt() -> None:
    from importlib.machinery import ModuleSpec
    from unittest.mock import MagicMock

    from recipe_weights import recipe_array

    mocked = "requests h5py matplotlib matplotlib.pyplot matplotlib.patches pandas webdataset hipt_heatmap_utils tqdm skimage skimage.io skimage.measure cv2"
    sys.modules.update({name: MagicMock(__spec__=ModuleSpec(name, None)) for name in mocked.split()})
    sys.modules["hipt_heatmap_utils"].__all__ = ["cmap_map", "matplotlib"]
    import vision_transformer
    import vision_transformer4k
    from hipt_4k import HIPT_4K

    source = "mahmoodlab/HIPT at 780fafa, HIPT_4K and 2-Weakly-Supervised-Subtyping/models/model_hierarchical_mil.py"
    stages = {"vit-256": vision_transformer.vit_small(patch_size=16), "vit-4k": vision_transformer4k.vit4k_xs()}
    write(
        "manifests",
        "hipt.vision",
        {"source": source, "variants": {name: shapes(stage) for name, stage in stages.items()}},
    )
    norm = vision_transformer.partial(torch.nn.LayerNorm, eps=1e-6)
    network = HIPT_4K.__new__(HIPT_4K)
    torch.nn.Module.__init__(network)
    network.device256 = network.device4k = torch.device("cpu")
    network.model256 = vision_transformer.VisionTransformer(
        embed_dim=384, depth=1, num_heads=6, qkv_bias=True, norm_layer=norm
    )
    network.model4k = vision_transformer4k.VisionTransformer4K(
        output_embed_dim=48, depth=2, num_heads=4, qkv_bias=True, norm_layer=norm
    )
    config = {"tiles": {"depth": 1}, "region": {"embed_dim": 48, "depth": 2, "num_heads": 4}}

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = [network.forward_asset_dict(one[None]) for one in x]  # the owners' code takes one region at a time
        stacked = {key: torch.from_numpy(np.concatenate([one[key] for one in found])) for key in found[0]}
        return {
            "pooled": stacked["features_cls4k"],
            "mean+cls": stacked["features_mean256_cls4k"],
            "tiles": stacked["features_cls256"][:, :48],
        }

    outputs("hipt", source, network, config, run, [(530, 800)])

    from models.model_hierarchical_mil import HIPT_LGP_FC

    slide = HIPT_LGP_FC(n_classes=3)
    fill(slide.state_dict())
    bag = torch.from_numpy(recipe_array("hipt slide", (4, 256, 384)))
    with torch.no_grad():
        logits, chances, *_ = slide.eval()(bag)
    write("expected", "hipt-slide.vision", {
        "source": source, "shapes": shapes(slide), "logits": numbers(logits[0]), "probabilities": numbers(chances[0]),
    })  # fmt: skip


def vis_mae() -> None:
    import swin_class
    import swin_mae
    import swin_unet

    source = "lzl199704/VIS-MAE at 24d4c07, swin_class.py, swin_mae.py, swin_unet.py"
    small = {"embed_dim": 12, "num_heads": [3, 6, 12], "depths": [2, 2, 2]}
    norm = swin_class.partial(torch.nn.LayerNorm, eps=1e-6)
    variants = {"classification": shapes(swin_class.swin_class()), "segmentation": shapes(swin_unet.swin_unet(num_classes=3)), "pretraining": shapes(swin_mae.swin_mae())}  # fmt: skip
    write("manifests", "vis-mae.vision", {"source": source, "variants": variants})
    network = swin_class.SwinClass(num_classes=4, norm_layer=norm, **small)

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = network.patch_embed(x)
        for layer in network.layers:
            y = layer(y)
        tokens = network.norm(y).flatten(1, 2)
        return {"tokens": tokens, "pooled": tokens.mean(1), "logits": network(x)}

    outputs("vis-mae", source, network, {**small, "num_classes": 4}, run, [(112, 112)])

    whole = {"embed_dim": 12, "num_heads": [3, 6, 12, 24], "depths": [2, 2, 2, 2]}
    painter = swin_mae.SwinMAE(decoder_embed_dim=96, norm_layer=norm, **whole)

    def paint(x: torch.Tensor) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        loss, prediction, mask = painter(x)
        return {"loss": loss[None], "prediction": prediction, "hidden": picked(mask)}

    outputs("vis-mae-pretraining", source, painter, whole, paint, [(224, 224)])
    unet = swin_unet.SwinUnet(num_classes=3, norm_layer=norm, **whole)
    outputs("vis-mae-segmentation", source, unet, {**whole, "num_classes": 3}, lambda x: {"map": unet(x)}, [(160, 160)])


def remedis() -> None:
    from bit_pytorch import models

    source = "google-research/big_transfer at 140de6e, bit_pytorch/models.py"
    manifest(
        "remedis-torch", source, **{
            "50x1": lambda: models.KNOWN_MODELS["BiT-M-R50x1"](head_size=1), "152x2": lambda: models.KNOWN_MODELS["BiT-M-R152x2"](head_size=1)
        }
    )  # fmt: skip
    network = models.ResNetV2([1, 2, 1, 1], 1, head_size=1)

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        grid = network.head.relu(network.head.gn(network.body(network.root(x))))
        return {"tokens": grid.flatten(2).transpose(1, 2), "pooled": grid.mean((2, 3))}

    outputs("remedis-torch", source, network, {"depths": [1, 2, 1, 1]}, run, [(64, 64), (80, 96)])
    with torch.no_grad():
        network.root.conv.weight *= 1e-4  # so small that what is added to the variance shows
        found = {key: numbers(value) for key, value in run(pixels(64, 64)).items()}
    write("expected", "remedis-tiny.vision", {"source": source, "runs": [{"size": [64, 64], **found}]})


def resnet50() -> None:
    from torchvision.models import resnet

    network = resnet.ResNet(resnet.Bottleneck, [1, 2, 1, 1])

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        third = network.layer3(network.layer2(network.layer1(y)))
        grid = network.layer4(third)
        return {"third": third.mean((2, 3)), "pooled": grid.mean((2, 3))}

    manifest("resnet50", "torchvision 0.29.1 resnet50", only=resnet.resnet50)
    outputs(
        "resnet50", "torchvision 0.29.1 resnet.ResNet", network, {"depths": [1, 2, 1, 1]}, run, [(64, 64), (80, 96)]
    )


def conch_v1_5() -> None:
    import importlib.util

    root = next(Path(one) for one in sys.path if (Path(one) / "trident/patch_encoder_models").is_dir())
    path = root / "trident/patch_encoder_models/model_zoo/conchv1_5/conchv1_5.py"
    spec = importlib.util.spec_from_file_location("conchv1_5", path)
    assert spec is not None and spec.loader is not None
    owners = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(owners)
    source = "mahmoodlab/TRIDENT at a91fa84, patch_encoder_models/model_zoo/conchv1_5/conchv1_5.py"
    network = owners.CONCHVisionTower()  # its first weights need values
    write("manifests", "conch-v1-5.vision", {"source": source, "variants": {"only": shapes(network)}})
    small = {"img_size": 64, "embed_dim": 64, "depth": 2, "num_heads": 2}
    network.trunk = owners.VisionTransformer(patch_size=16, mlp_ratio=4, qkv_bias=True, init_values=1.0, **small)
    network.attn_pool_contrast = owners.AttentionalPooler(d_model=48, context_dim=64, n_head=4, n_queries=1)
    network.ln_contrast = torch.nn.LayerNorm(48)

    def run(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"tokens": network.trunk.forward_features(x), "pooled": network(x)}

    def stretched(x: torch.Tensor) -> dict[str, torch.Tensor]:
        """As the owners' loader: a table of 8 x 8 places is made one of 4 x 4, and that is stretched for the pictures."""
        table = torch.from_numpy(np.asarray(recipe_array("trunk.pos_embed", (1, 65, 64))))
        network.trunk.pos_embed.data = owners.resize_pos_embed(network.trunk, table, verbose=False)
        return run(x)

    config = {**small, "query_dim": 48, "query_heads": 4}
    outputs("conch-v1-5", source, network, config, run, [(64, 64), (128, 128), (128, 96)])
    outputs("conch-v1-5-wide", source, network, config, stretched, [(64, 64), (128, 128)])


ROWS: dict[str, Callable[[], None]] = {
    "uni": uni, "uni2-h": uni2_h, "virchow": virchow, "h-optimus": h_optimus, "prov-gigapath": prov_gigapath, "kaiko": kaiko,
    "lunit-dino": lunit_dino, "dinov2": dinov2, "ctranspath": ctranspath, "retfound": retfound, "retfound-keys": retfound_keys, "transformers-dinov2": transformers_dinov2, "hipt": hipt,
    "conch-v1-5": conch_v1_5, "vis-mae": vis_mae, "remedis": remedis, "resnet50": resnet50,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=ROWS)
    parser.add_argument("--path", nargs="*", default=[])
    asked = parser.parse_args()
    sys.path[:0] = asked.path
    for one in asked.names:
        ROWS[one]()
