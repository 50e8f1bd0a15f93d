"""What ``tokenizer_config.json`` states beside tokenizers that are built here: used, known to be harmless, or refused by name.

Tokenizers that transformers reads itself (``tokenizer.json``) take their flags from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from healthfm.models.files.stated import refuse_strange

FILE, CODE, LENGTH = (
    "how the file was made",
    "code and classes are never taken from a file",
    "texts are never cut or padded by the tokenizer",
)
CARD = "the card's rule wins: hub files often state the wrong one"
HARMLESS = {
    "tokenizer_class": CODE, "auto_map": CODE, "processor_class": CODE, "backend": CODE, "model_type": CODE, "name_or_path": FILE,
    "special_tokens_map_file": FILE, "tokenizer_file": FILE, "device_map": FILE, "is_local": FILE, "trust_remote_code": CODE,
    "local_files_only": FILE, "_commit_hash": FILE, "_from_auto": FILE, "fix_mistral_regex": "of tokenizer.json", "added_tokens_file": FILE,
    "model_max_length": LENGTH, "max_length": LENGTH, "max_len": LENGTH, "stride": LENGTH, "truncation_side": LENGTH, "truncation_strategy": LENGTH, "padding_side": LENGTH,
    "pad_to_multiple_of": LENGTH, "pad_token_type_id": LENGTH, "clean_up_tokenization_spaces": "decoded text is left as it is",
    "spaces_between_special_tokens": "special tokens are left out of decoded text", "use_default_system_prompt": "a chat template is used as it is written",
    "model_input_names": FILE, "use_fast": CODE, "from_slow": CODE, "errors": "how broken bytes are shown",
    "image_size": "of pictures, which these rows do not read", "sp_model_file": FILE, "vocab_file": FILE, "merges_file": FILE,
    **dict.fromkeys(("mask_token", "cls_token", "sep_token"), "no text of these rows holds one by itself"),
}  # fmt: skip
HELD: dict[str, Any] = {
    "split_special_tokens": False,
    "do_lower_case": False,
    "remove_space": False,
    "encode_special_tokens": False,
    "keep_accents": True,
    "add_prefix_space": True,
}


def check(where: str, stated: Mapping[str, Any], used: Iterable[str], held: Mapping[str, Any] = HELD) -> None:
    """Raise ``CheckpointError`` that names what a tokenizer's configuration states and nothing here follows."""
    known = {*used, *HARMLESS}
    silent = (None, [], {}, "")
    refuse_strange(
        where,
        [k for k, v in stated.items() if k not in known and v not in silent and not (k in held and v == held[k])],
    )
