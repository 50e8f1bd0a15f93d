"""CLIP's tokenizer from the one file that OpenAI publishes it in (``bpe_simple_vocab_16e6.txt.gz``), as transformers' own class."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import transformers
from tokenizers import pre_tokenizers

from healthfm.errors import CheckpointError
from healthfm.models.language.text_model import read_tokenizer

FILES = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")
MERGES = 49152 - 256 - 2  # as many lines as OpenAI's code takes, behind the first
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
END = "</w>"


def read(folder: Path | None) -> transformers.PreTrainedTokenizerBase | None:
    """Return the tokenizer whose files lie in a folder: transformers', else OpenAI's one; None without any."""
    found = read_tokenizer(folder)
    if found is not None or folder is None:
        return found
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    return None if path is None else load(path)


def load(path: Path) -> transformers.CLIPTokenizer:
    """Return the tokenizer of OpenAI's file. Raises ``CheckpointError``: damaged, or no list of merges."""
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not readable as CLIP's list of merges ({type(error).__name__})") from None
    pairs = [tuple(line.split()) for line in lines[1 : MERGES + 1] if line.strip()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise CheckpointError(
            f"{path}: not CLIP's list of merges: two pieces a line were expected behind the first line"
        )
    letters = _letters()
    pieces = [*letters, *(one + END for one in letters), *("".join(pair) for pair in pairs), *SPECIAL]
    return transformers.CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=pairs)


def _letters() -> list[str]:
    """Return the letter that stands for each byte, in the order of the vocabulary: those that print first."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    found = [chr(byte) for byte in prints] + [chr(256 + i) for i in range(256 - len(prints))]
    assert set(found) == set(pre_tokenizers.ByteLevel.alphabet())
    return found
