"""Qwen's first tokenizer (``qwen.tiktoken``: one base64 token and its rank a line) as a fast tokenizer, without its own code or tiktoken.

Source: Qwen/Qwen-7B ``tokenization_qwen.py``: NFC, the cut below, byte-pair merging by rank, special tokens after the ranks.
"""

from __future__ import annotations

import base64
from pathlib import Path

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from healthfm.errors import CheckpointError

END = "<|endoftext|>"
SPECIAL = (END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)))
CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRINTABLE = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}


def load(path: Path) -> transformers.PreTrainedTokenizerFast:
    """Return the tokenizer of a ranks file. No token is added at either end. Raises ``CheckpointError``: damaged or cut short."""
    ranks = read_ranks(path)
    letters = _letters()
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    pairs = [(spell[a], spell[b]) for a, b in (last_merge(token, ranks) for token in ranks if len(token) > 1)]
    vocabulary = {spell[token]: rank for token, rank in ranks.items()}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=True))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CUT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=END)


def read_ranks(path: Path) -> dict[bytes, int]:
    """Return token -> rank, lowest first; ranks run from 0 without a gap and every byte is a token."""
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (ValueError, OSError):
        raise CheckpointError(f"{path}: not a readable file of tiktoken ranks, or cut short") from None
    if list(ranks.values()) != list(range(len(ranks))) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise CheckpointError(f"{path}: its ranks do not run from 0 without a gap over all bytes, or it is cut short")
    return ranks


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens whose merging makes ``token``: merge its bytes by rank until two parts are left."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        lowest = min(joined)
        if lowest >= ranks[token]:
            raise CheckpointError(f"the token of rank {ranks[token]} cannot be merged from tokens of lower ranks")
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _letters() -> list[str]:
    """Return the letter that byte-level BPE writes for each byte: itself where printable, else one from 256 on."""
    odd = iter(range(256, 512))
    return [chr(byte) if byte in PRINTABLE else chr(next(odd)) for byte in range(256)]
