"""Networks where rules that agree elsewhere differ: several windows, odd maps, saturated gates, tiny numbers.

What is expected is worked out here in float64 NumPy, from the papers' definitions: not by another path through the same code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import erf, expit, softmax
from torch.nn import functional

from healthfm import load_model
from healthfm.models.vision import hierarchical, swin, vit
from tests.models.vision.towers import expected, pixels, recipe

Array = npt.NDArray[Any]


def filled(module: torch.nn.Module, scale: float, seed: int = 0) -> torch.nn.Module:
    """Fill a module with normal numbers, so that much of what it computes is far from zero."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape, generator=draw) * scale)
    return module.eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def numbers(value: torch.Tensor) -> Array:
    return value.detach().double().numpy()


def linear(x: Array, layer: torch.nn.Linear) -> Array:
    return x @ numbers(layer.weight).T + numbers(layer.bias)


# Shifted windows --------------------------------------------------------------------------------------------------------


def windows(size: int, side: int, shift: int) -> Array:
    """Which window each place of a line is in: a grid of windows, moved by ``shift`` and cut where the map ends."""
    return (np.arange(size) - shift) // side


def attended(attention: swin.WindowAttention, picture: Array, shift: int) -> Array:
    """Liu et al. 2021, section 3.2: each place of a map [rows, columns, d] attends to those of its own window, and no other.

    The map is filled with zeros, below and to the right, until windows fit; those zeros are places as others are.
    """
    side, heads, (height, width, d) = attention.side, attention.heads, picture.shape
    picture = np.pad(picture, ((0, -height % side), (0, -width % side), (0, 0)))
    rows, columns = picture.shape[:2]
    down, across = (place.ravel() for place in np.indices((rows, columns)))
    window = windows(rows, side, shift)[down] * columns + windows(columns, side, shift)[across]
    q, k, v = np.moveaxis(linear(picture, attention.qkv).reshape(rows * columns, 3, heads, d // heads), 1, 0)
    offset = [np.clip(one[:, None] - one, 1 - side, side - 1) + side - 1 for one in (down, across)]
    bias = numbers(attention.relative_position_bias_table)[offset[0] * (2 * side - 1) + offset[1]]
    logits = np.einsum("ihd,jhd->ijh", q, k) / np.sqrt(d / heads) + bias
    weights = softmax(np.where((window[:, None] == window)[..., None], logits, -np.inf), axis=1)
    made = np.einsum("ijh,jhd->ihd", weights, v).reshape(rows, columns, d)
    return linear(made, attention.proj)[:height, :width]


@pytest.mark.parametrize(("height", "width"), [(6, 9), (7, 8), (10, 4)])
@pytest.mark.parametrize("shift", [0, 1])
def test_a_place_attends_to_its_own_window_alone_however_alike_those_beyond_its_border_are(
    height: int, width: int, shift: int
) -> None:
    """Scores of up to 60: a mask that only makes another region unlikely is not enough."""
    attention = filled(swin.WindowAttention(8, 2, 3), 1.4)
    maps = drawn(2, height, width, 8)
    found = numbers(attention(maps, shift))
    for ours, picture in zip(found, numbers(maps), strict=True):
        np.testing.assert_allclose(ours, attended(attention, picture, shift), rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize(("height", "width", "shift"), [(7, 7, 0), (7, 14, 0), (5, 14, 0), (14, 14, 3), (9, 15, 3)])
def test_windows_shift_by_half_of_their_side_but_where_one_covers_the_maps_shorter_side(
    height: int, width: int, shift: int
) -> None:
    """timm and Microsoft: ``if min(input_resolution) <= window_size: shift_size = 0``; 7 // 2 is 3. The even block never shifts."""
    n = swin.SwinNumbers(embed_dim=8, window_size=7)
    for odd in (True, False):
        block = filled(swin.Block(8, 2, n, odd=odd), 0.4)
        maps = drawn(1, height, width, 8)
        half = maps + torch.from_numpy(attended(block.attn, numbers(block.norm1(maps))[0], shift if odd else 0)).float()
        np.testing.assert_allclose(numbers(block(maps)), numbers(half + block.mlp(block.norm2(half))), atol=2e-4)


def test_the_joining_takes_the_four_neighbours_in_the_publications_order() -> None:
    """``x0 = x[:, 0::2, 0::2]``, then the one below, the one to the right, the one across."""
    joining = swin.PatchMerging(1, 1e-5)
    joining.norm, joining.reduction = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    found = joining(torch.arange(8.0).reshape(1, 2, 4, 1))
    assert found.tolist() == [[[[0, 4, 1, 5], [2, 6, 3, 7]]]]


# HIPT -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_the_gate_of_a_bag_is_a_tanh_times_a_sigmoid_also_where_both_are_at_their_ends(scale: float) -> None:
    """Ilse et al. 2018, equation 9. At scale 4 most of them stand at -1, 0 or 1."""
    gate = filled(hierarchical.GatedAttention(16), scale)
    bag = drawn(7, 16)
    a, b = (linear(numbers(bag), layer[0]) for layer in (gate.attention_a, gate.attention_b))
    wanted = softmax(linear(np.tanh(a) * expit(b), gate.attention_c)[:, 0])
    np.testing.assert_allclose(numbers(gate(bag)), wanted, rtol=1e-3, atol=1e-6)
    if scale > 1:
        assert np.mean(np.abs(np.tanh(a)) > 0.99) > 0.5 and np.mean(np.abs(expit(b) - 0.5) > 0.49) > 0.5


def test_a_regions_odd_rest_is_cut_as_torchvisions_centre_crop_does_and_tiles_stay_in_their_places() -> None:
    """``int(round((height - crop) / 2.0))``: of 7 rows that are too many 4 go above, of 5 columns 2 to the left. 36 tiles: two batches."""
    numbers_ = {"embed_dim": 8, "depth": 1, "num_heads": 2}
    tiles = vit.ViT(vit.ViTNumbers(**numbers_, img_size=16, patch_size=8))
    network = hierarchical.Regions(
        hierarchical.RegionNumbers(tile=16), tiles, vit.ViT(vit.ViTNumbers(**numbers_, img_size=64, features=8))
    ).eval()
    filled(network, 0.5)
    x = pixels(4 * 16 + 7, 9 * 16 + 5)
    with torch.no_grad():
        grid = network.grid(x)
        assert grid.shape == (2, 8, 4, 9)
        for picture, row, column in np.ndindex(2, 4, 9):
            top, left = 4 + 16 * row, 2 + 16 * column
            alone = network.tiles(x[picture : picture + 1, :, top : top + 16, left : left + 16])[1]
            assert torch.allclose(grid[picture, :, row, column], alone[0], atol=1e-5), (picture, row, column)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def encoded(x: Array, layer: torch.nn.TransformerEncoderLayer, heads: int) -> Array:
    """Vaswani et al. 2017, section 3: rows of [m, d] attend to each other; each half is added to its input, then normed."""
    packed = x @ numbers(layer.self_attn.in_proj_weight).T + numbers(layer.self_attn.in_proj_bias)
    q, k, v = np.moveaxis(packed.reshape(len(x), 3, heads, -1), 1, 0)
    weights = softmax(np.einsum("ihd,jhd->ijh", q, k) / np.sqrt(q.shape[-1]), axis=1)
    mixed = linear(np.einsum("ijh,jhd->ihd", weights, v).reshape(len(x), -1), layer.self_attn.out_proj)
    x = layer_norm(x + mixed, numbers(layer.norm1.weight), numbers(layer.norm1.bias), 1e-5)
    more = linear(np.maximum(linear(x, layer.linear1), 0), layer.linear2)
    return layer_norm(x + more, numbers(layer.norm2.weight), numbers(layer.norm2.bias), 1e-5)


def test_the_regions_of_a_slide_attend_to_each_other_and_are_weighed_together() -> None:
    """HIPT's third stage from the regions' vectors on, of loud weights: two layers over five regions, the gate, the classes."""
    slide = hierarchical.SlideHead(
        {"embed_dim": 12, "depth": 1, "num_heads": 3, "img_size": 32, "features": 8}, 3, dim=12
    )
    filled(slide, 0.8)
    tiles = drawn(5, 4, 8)
    with torch.no_grad():
        found = slide(tiles)
        local = slide.local_vit(tiles.unflatten(1, (2, 2)).permute(0, 3, 1, 2))[1]
    x = np.maximum(linear(numbers(local), slide.global_phi[0]), 0)
    for layer in slide.global_transformer.layers:
        x = encoded(x, layer, 3)
    a, b = (linear(x, gate[0]) for gate in (slide.global_attn_pool.attention_a, slide.global_attn_pool.attention_b))
    attention = softmax(linear(np.tanh(a) * expit(b), slide.global_attn_pool.attention_c)[:, 0])
    pooled = np.maximum(linear(attention @ x, slide.global_rho[0]), 0)
    np.testing.assert_allclose(numbers(found["attention"]), attention, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(numbers(found["logits"]), linear(pooled, slide.classifier), rtol=1e-3, atol=1e-4)


# Vision Transformers ----------------------------------------------------------------------------------------------------


def retfound(shapes: dict[str, torch.Tensor], **more: Any) -> Any:
    facts = expected("retfound-mae")
    own = {k: v for k, v in facts["config"].items() if k != "decoder"}
    return load_model("retfound", {"model": shapes}, config={**own, **more}, device="cpu")


def test_retfounds_file_of_pretraining_is_pooled_by_an_untrained_norm_of_the_patches_mean() -> None:
    """``main_finetune.py`` starts ``fc_norm`` anew (weight 1, bias 0) and the file's own norm, here a loud one, is no part of it."""
    tensors = recipe(expected("retfound-mae")["shapes"])
    tensors |= {"norm.weight": torch.full((32,), 3.0), "norm.bias": torch.full((32,), -2.0)}
    model = retfound(tensors)
    found = model.forward({"pixels": pixels(64, 64)})
    mean = found["tokens"][:, 1:].mean(1).astype(np.float64)
    np.testing.assert_allclose(found["pooled"], layer_norm(mean, np.ones(32), np.zeros(32), 1e-6), atol=1e-5)


def test_retfounds_trained_norm_is_kept_and_acts_on_the_mean_of_the_patches() -> None:
    tensors = recipe(expected("retfound-mae")["shapes"])
    weight, bias = np.linspace(0.5, 2, 32), np.linspace(-1, 1, 32)
    tensors |= {"fc_norm.weight": torch.from_numpy(weight).float(), "fc_norm.bias": torch.from_numpy(bias).float()}
    tensors = {key: value for key, value in tensors.items() if key not in ("norm.weight", "norm.bias")}
    found = retfound(tensors).forward({"pixels": pixels(64, 64)})
    mean = found["tokens"][:, 1:].mean(1).astype(np.float64)
    np.testing.assert_allclose(found["pooled"], layer_norm(mean, weight, bias, 1e-6), atol=1e-5)


def test_the_norm_after_pooling_adds_the_rows_own_epsilon() -> None:
    """RETFound: 1e-6, which shows where the mean's spread is a thousandth."""
    network = vit.ViT(vit.ViTNumbers(embed_dim=16, depth=1, num_heads=2, img_size=32, fc_norm=True))
    network.pooling = "fc_norm"
    tokens = drawn(2, 5, 16) * 1e-3
    wanted = layer_norm(numbers(tokens)[:, 1:].mean(1), np.ones(16), np.zeros(16), 1e-6)
    np.testing.assert_allclose(numbers(network.pool(tokens)), wanted, rtol=1e-4, atol=1e-5)


def test_a_layers_gelu_is_the_exact_one() -> None:
    """By the error function (timm's ``nn.GELU``), not by the tanh that comes within a thousandth of it."""
    layer = filled(vit.Mlp(16, 64, "gelu"), 0.5)
    x = drawn(50, 16)
    inside = linear(numbers(x), layer.fc1)
    wanted = linear(inside * 0.5 * (1 + erf(inside / np.sqrt(2))), layer.fc2)
    np.testing.assert_allclose(numbers(layer(x)), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["timm", "transformers", "dino"])
def test_positions_are_stretched_to_a_grid_of_as_many_places_and_another_shape(rule: str) -> None:
    """16 places as 2 x 8: the table of 4 x 4 fits by its size, and would be wrong."""
    n: dict[str, Any] = {"embed_dim": 8, "depth": 1, "num_heads": 2, "img_size": 64, "positions": rule}
    network = vit.ViT(vit.ViTNumbers(**n))
    down = torch.arange(4.0)[:, None].expand(4, 4).reshape(16, 1)
    across = torch.arange(4.0)[None].expand(4, 4).reshape(16, 1)
    with torch.no_grad():
        network.pos_embed[:, 1:] = torch.cat((down, across, torch.zeros(16, 6)), 1)
        found = network.positions(2, 8)[0, 1:].reshape(2, 8, 8)
    rows, columns = found[:, :, 0], found[:, :, 1]
    assert torch.allclose(rows, rows[:, :1].expand(2, 8), atol=1e-5) and torch.allclose(
        columns, columns[:1].expand(2, 8), atol=1e-5
    )
    assert rows[1, 0] > rows[0, 0] + 1 and bool((columns[0, 1:] > columns[0, :-1]).all())
    if rule != "dino":
        square = network.pos_embed[:, 1:].reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
        wanted = functional.interpolate(square, (2, 8), mode="bicubic", antialias=rule == "timm")
        assert torch.allclose(found, wanted[0].permute(1, 2, 0), atol=1e-6)
