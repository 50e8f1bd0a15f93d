"""SigLIP's tokenizer from the one file that it is published in (``spiece.model``, of the package sentencepiece): small letters, no punctuation.

The rule is big_vision's (``canonicalize_text``), as transformers' SiglipTokenizer has it, which needs a package more.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import sentencepiece
import transformers

from healthfm.errors import CheckpointError
from healthfm.models.files import bert_files

FILE = "spiece.model"
END, UNKNOWN = "</s>", "<unk>"


class Words(transformers.PreTrainedTokenizer):  # type: ignore[misc]
    """The pieces of a model of sentencepiece, the end's behind them; the end fills texts up, too."""

    def __init__(self, pieces: sentencepiece.SentencePieceProcessor, lowers: bool) -> None:
        self.pieces, self.lowers = pieces, lowers
        super().__init__(eos_token=END, unk_token=UNKNOWN, pad_token=END)

    @property
    def vocab_size(self) -> int:
        """The number of pieces."""
        return int(self.pieces.get_piece_size())

    def get_vocab(self) -> dict[str, int]:
        """Return each piece's number."""
        return {self.pieces.id_to_piece(i): i for i in range(self.vocab_size)}

    def tokenize(self, text: str, **_: Any) -> list[str]:
        """Return the pieces of a text."""
        made = (text.lower() if self.lowers else text).translate(str.maketrans("", "", string.punctuation))
        return list(self.pieces.encode(" ".join(made.split()), out_type=str))

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: Any = None) -> list[int]:
        """Return a text's ids with the end's behind them."""
        return [*token_ids_0, self.eos_token_id]

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return str(self.pieces.id_to_piece(index))


def read(folder: Path | None, lower_case: bool | None) -> Words | None:
    """Return the tokenizer whose file lies in a folder; None without one. Texts are lowered where neither ``lower_case`` nor the files say
    otherwise. Raises ``CheckpointError``: the file is damaged, or its end is not the token that fills SigLIP's texts up.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return None
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: not readable as a model of sentencepiece ({type(error).__name__})") from None
    if pieces.id_to_piece(1) != END:
        raise CheckpointError(f"{path}: the token of number 1 is not '{END}', which ends and fills SigLIP's texts")
    told = bert_files.lowers(path.parent) if lower_case is None else lower_case
    return Words(pieces, True if told is None else told)
