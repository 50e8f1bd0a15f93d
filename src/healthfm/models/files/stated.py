"""What a file states is used or refused: every key of a published configuration is a number of the network, is known to be
harmless, or ends the loading by name (``known_keys`` lists them)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import transformers

from healthfm.errors import CheckpointError
from healthfm.models.files import known_keys
from healthfm.models.files.known_keys import BESIDE, DECIDED, HARMLESS, HELD, HONOURED, ROPE

GENERATION = frozenset((*HONOURED, *DECIDED, *BESIDE, *vars(transformers.GenerationConfig())))


def refuse_strange(where: str, keys: Iterable[str]) -> None:
    """Raise ``CheckpointError`` that names keys which no code here understands."""
    named = ", ".join(f"'{key}'" for key in keys)
    if named:
        raise CheckpointError(
            f"{where}: {named} is not understood here and could change every number; refused. If it changes nothing, take it out of the file"
        )


def numbers(config_name: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that a configuration class of transformers' takes; of all else only what is harmless may be stated.

    An absent value (null) states nothing. Raises ``CheckpointError`` that names the keys.
    """
    kind = getattr(transformers, config_name)
    own = {field.name for field in fields(kind)} | set(kind.attribute_map)
    rotary = {"rope_theta", "rope_scaling", "rope_parameters"} if "rope_parameters" in own else set()
    if config_name in known_keys.PARTLY_ROTARY:
        rotary |= {"partial_rotary_factor"}
    known = (
        own
        | rotary
        | known_keys.OWNERS.get(config_name, set())
        | {"is_encoder_decoder", "decoder_start_token_id", "num_labels"}
    )
    used = {key: value for key, value in stated.items() if key in known}
    rest = {
        key: value for key, value in stated.items() if key not in known and value is not None and key not in HARMLESS
    }
    strange = [key for key, value in rest.items() if not (key in GENERATION or _held(key, value, stated))]
    refuse_strange("config.json (or config=)", strange)
    for key in ("rope_scaling", "rope_parameters"):
        if used.get(key):
            _check_rope(key, used[key], config_name)
    return used


def _held(key: str, value: Any, stated: Mapping[str, Any]) -> bool:
    """Whether a key has the one value that the network has anyhow, or acts in training only."""
    if key == "num_key_value_heads":  # of a network whose every head has its own keys
        return any(value == stated.get(name) for name in ("num_attention_heads", "n_head", "num_heads"))
    if key in ("head_dim", "kv_channels"):  # the latter: Qwen's word for it
        return bool(value * stated.get("num_attention_heads", 0) == stated.get("hidden_size"))
    if key == "rotary":  # InternLM's: its dynamic kind acts beyond the longest text only
        return bool(value.get("base") == stated.get("rope_theta", 10000) and value.get("type") in ("origin", "dynamic"))
    return "drop" in key or (key in HELD and value == HELD[key])


def _check_rope(where: str, rope: Any, config_name: str) -> None:
    """Raise ``CheckpointError``: a way of stretching positions that is not known, or a number that it does not have."""
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise CheckpointError(f"config.json: {where} is not one set of numbers")
    kind = str(rope.get("rope_type", rope.get("type", "default")))
    if kind not in ROPE:
        raise CheckpointError(f"config.json: {where} is of type '{kind}'; known are {', '.join(ROPE)}")
    known = {"rope_type", "type", "rope_theta", *ROPE[kind]}
    if config_name in known_keys.PARTLY_ROTARY or rope.get("partial_rotary_factor") == 1.0:
        known |= {"partial_rotary_factor"}
    refuse_strange(
        f"config.json, {where}", [key for key, value in rope.items() if key not in known and value is not None]
    )


def check_model_type(stated: Mapping[str, Any], architecture: str) -> None:
    """Raise ``CheckpointError`` where a ``config.json`` says that it is another network's."""
    said, known = stated.get("model_type"), known_keys.MODEL_TYPES[architecture]
    if said is not None and said not in known:
        raise CheckpointError(
            f"config.json: its model_type is '{said}'; the network of this row is {known[0]}, which has other layers"
        )


def generation(*files: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``config.json`` and then ``generation_config.json`` state about generating, without what says nothing."""
    plain = {**vars(transformers.GenerationConfig()), **transformers.GenerationConfig._get_default_generation_params()}
    found: dict[str, Any] = {}
    for number, file in enumerate(files):
        found.update({key: value for key, value in file.items() if number or key in GENERATION})
    silent = (None, [], {})
    return {
        k: v for k, v in found.items() if k not in BESIDE and v not in silent and (k in HONOURED or v != plain.get(k))
    }


def generation_file(folder: Path | None) -> dict[str, Any]:
    """Return a folder's ``generation_config.json`` ({} where there is none). Raises ``CheckpointError``: damaged."""
    path = folder / "generation_config.json" if folder is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, TypeError):
        raise CheckpointError(f"{path}: not valid JSON") from None


def refuse_unmet(settings: Mapping[str, Any], name: str) -> None:
    """Raise ``CheckpointError`` where a file asks for a choice of tokens that ``generate`` does not make."""
    if keys := unmet(settings):
        raise CheckpointError(
            f"{name}: its generation_config.json (or config.json) states {', '.join(keys)}, which generate does not follow; "
            "refused, since the text would be another. If it changes nothing, take it out of the file"
        )


def unmet(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that decide about tokens and that ``generate`` does not honour."""
    return [key for key in settings if key not in HONOURED and key not in DECIDED]


def laid_aside(settings: Mapping[str, Any]) -> list[str]:
    """Return, in words, the settings that the caller and the card decide in place of the file."""
    return [f"{key} {value}" for key, value in settings.items() if key in DECIDED]
