"""Named entities: mentions that a model lists in words, and words that a token classifier tags."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from healthfm import CheckpointError, RunError, evaluate, load_model, load_run
from healthfm.evaluate import listed
from healthfm.models.model import Model
from healthfm.score.metrics import chunks
from tests.cli.command import run as command
from tests.evaluate.test_writing import writer

SENTENCES = {
    "train": [
        [("No", "O"), ("cystic", "B-Disease"), ("fibrosis", "I-Disease"), (".", "O")],
        [("Acute", "O"), ("flu", "B-Disease"), ("and", "O"), ("flu", "B-Disease"), (".", "O")],
    ],
    "dev": [[("None", "O"), (".", "O")]],
    "test": [
        [("Flu", "B-Disease"), ("or", "O"), ("cystic", "B-Disease"), ("fibrosis", "I-Disease"), ("?", "O")],
        [("The", "O"), ("fluid", "O"), ("is", "O"), ("clear", "O"), (".", "O")],
        [("Severe", "O"), ("asthma", "B-Disease"), ("in", "O"), ("flu", "B-Disease"), (".", "O")],
    ],
}


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """NCBI-disease as BLURB's scripts write it, small."""
    folder = tmp_path / "data/NCBI-disease"
    folder.mkdir(parents=True)
    for split, rows in SENTENCES.items():
        lines = ["\n".join(f"{token}\t{tag}" for token, tag in row) + "\n" for row in rows]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


# Lists in words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("disease | flu\n- drug | aspirin", [("disease", "flu"), ("drug", "aspirin")]),
        ("1. disease | flu\n2) disease | flu", [("disease", "flu")]),
        ("Here they are:\n| disease | flu |\n| --- | --- |", [("disease", "flu")]),
        ('```json\n[{"text": "flu", "type": "disease"}]\n```', [("disease", "flu")]),
        ('[{"type": "disease", "text": "flu"}, {"type": "drug", "te', [("disease", "flu")]),
        ('{"disease": ["flu", "asthma"], "drug": []}', [("disease", "flu"), ("disease", "asthma")]),
        ('[["disease", "flu"], ["drug", "aspirin"]]', [("disease", "flu"), ("drug", "aspirin")]),
        ("<think>disease | scurvy</think>\ndisease | flu\n\nText: more\ndisease | gout", [("disease", "flu")]),
        ("疾病｜流感", [("疾病", "流感")]),
        ("none", []), ("None.", []), ("[]", []), ("无", []),
        ("", None), ("The text speaks of flu.", None), ("[12]", None), ('[{"type": "disease"}]', None),
    ],
)  # fmt: skip
def test_a_written_list_is_read_as_json_or_line_by_line_and_else_is_no_answer(text: str, found: Any) -> None:
    assert listed.entries(text, ("type", "text")) == found


def test_of_one_type_a_short_line_is_a_mention_and_prose_is_no_list() -> None:
    assert listed.single(
        "- flu\n- cystic fibrosis\nThe text speaks of many diseases, some of which are not named in it at all."
    ) == [("flu",), ("cystic fibrosis",)]
    assert listed.single("The text speaks of many diseases, some of which are not named in it at all.") is None
    assert listed.single('["flu"]') == [("flu",)] and listed.single("none") == [] and listed.single(" ") is None


@pytest.mark.parametrize(
    ("mention", "text", "found"),
    [
        ("flu", "flu, Flu and fluid; non-flu", [(0, 3), (24, 27)]),
        ("FLU", "flu, Flu and fluid", [(0, 3), (5, 8)]),
        ("cystic  fibrosis", "a cystic\nfibrosis", [(2, 17)]),
        ("IL-2 (h)", "the IL-2 (h) and IL-2", [(4, 12)]),
        ("流感", "甲型流感病毒", [(2, 4)]),
        ("asthma", "flu", []), ("  ", "flu", []),
    ],
)  # fmt: skip
def test_a_mention_stands_wherever_the_text_has_it_as_whole_words(mention: str, text: str, found: Any) -> None:
    assert listed.places(mention, text) == found


def test_a_shorter_mention_is_not_marked_inside_a_longer_one_unless_it_stands_nowhere_else() -> None:
    text = "breast cancer and cancer"
    both = [("disease", "cancer"), ("disease", "breast cancer")]
    assert listed.placed(both, text) == ([(0, 13, "disease"), (18, 24, "disease")], [])
    assert listed.placed(both, text[:13]) == ([(0, 13, "disease"), (7, 13, "disease")], [])
    other = [("part", "breast"), ("disease", "breast cancer"), ("disease", "flu")]
    assert listed.placed(other, text) == ([(0, 6, "part"), (0, 13, "disease")], [("disease", "flu")])


def test_a_model_lists_mentions_and_what_the_text_does_not_hold_is_counted(sentences: Path, tmp_path: Path) -> None:
    outputs = ["disease | flu\ndisease | cystic fibrosis\ndisease | scurvy\ndrug | or", "The text is clear", "asthma"]
    run = evaluate(
        writer(outputs), "blurb:ncbi-disease", root=sentences, task="named-entities", output=tmp_path / "run"
    )
    table = run.predictions.to_pylist()
    assert [[(one["start"], one["end"], one["type"]) for one in row["prediction"]] for row in table] == [
        [(0, 3, "disease"), (7, 22, "disease")], [], [(7, 13, "disease")],
    ]  # fmt: skip
    assert table[0]["unplaced"] == [{"text": "scurvy", "type": "disease"}, {"text": "or", "type": "drug"}]
    assert table[1]["unplaced"] == [
        {"text": "The text is clear", "type": "disease"}
    ]  # of one type each line is a mention
    assert [row["characters"] for row in table] == [24, 20, 22]
    assert run.metrics["micro_precision"]["value"] == pytest.approx(3 / 6)
    assert run.metrics["micro_recall"]["value"] == pytest.approx(3 / 4)
    assert run.scores["rivals"]["dictionary"]["micro_f1"] == pytest.approx(
        2 * 3 / (3 + 4)
    )  # asthma was never seen in training
    [looked_up] = run.scores["baselines"]["rivals"]
    assert looked_up["name"] == "dictionary" and looked_up["value"] == pytest.approx(6 / 7) and looked_up["high"] == 1
    # of the eight ways to swap three rows four are as far apart; what the text does not hold counts in each of them
    assert run.scores["baselines"]["strongest"]["p"] == pytest.approx(1 / 2, abs=0.06)
    assert load_run(tmp_path / "run").scores == run.scores
    page = run.report(show_inputs=True).read_text(encoding="utf-8")
    assert "[Flu | disease: found] or [cystic fibrosis | disease: found] ?" in page
    assert "[flu | disease: missed]" in page and "disease (not in the text)" in page and page.count("cheap rival:") == 1
    hidden = run.report().read_text(encoding="utf-8")
    assert "cystic" not in hidden and "disease 0-3" in hidden


def test_an_output_that_is_no_list_is_no_answer(tmp_path: Path) -> None:
    read = load_model(
        lambda prompts, **_: ["I see nothing to list here." for _ in prompts],
        verb="generate",
        card={"slug": "w", "name": "W"},
    )
    folder = tmp_path / "data/ner/JNLPBA"
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text(
        "-DOCSTART-\t-X-\t-X-\tO\n\nIL-2\tX\tX\tB-protein\nin\tX\tX\tO\nblood\tX\tX\tB-cell_type\n\n"
    )
    run = evaluate(read, "blurb:scibert-jnlpba", root=tmp_path, task="named-entities", output=tmp_path / "run")
    assert run.predictions["prediction"].to_pylist() == [None] and run.scores["unanswered"] == 1
    assert run.metrics["micro_f1"]["value"] == 0 and run.scores["classes"] == [
        "DNA",
        "RNA",
        "cell line",
        "cell type",
        "protein",
    ]


def test_texts_without_a_mark_are_refused_before_the_model_is_asked(sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no text of split 'validation' has a mention marked"):
        evaluate(
            writer([]),
            "blurb:ncbi-disease",
            root=sentences,
            task="named-entities",
            split="validation",
            output=tmp_path / "run",
        )


def test_examples_are_not_given(sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="named-entities is asked without solved examples"):
        evaluate(
            writer([]), "blurb:ncbi-disease", root=sentences, task="named-entities", shots=1, output=tmp_path / "run"
        )


# Token classifiers ------------------------------------------------------------------------------------------------------


def drawn(rng: random.Random, n: int) -> list[tuple[list[str], list[str]]]:
    """Sentences of which the words "flu" and, after "cystic", "fibrosis" are diseases, and "aspirin" a drug."""
    rows = []
    for _ in range(n):
        words, tags = [], []
        for _ in range(rng.randint(2, 6)):
            one = rng.choice((("flu",), ("cystic", "fibrosis"), ("aspirin",), ("the",), ("fluids",), (".",)))
            kind = {"flu": "Disease", "cystic": "Disease", "aspirin": "Chemical"}.get(one[0])
            words += one
            tags += ["O"] if kind is None else [f"{'I' if i else 'B'}-{kind}" for i in range(len(one))]
        rows.append((words, tags))
    return rows


@pytest.fixture(scope="module")
def tagger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, trained for a moment to tag, as transformers saves it."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tagger")
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "flu",
        "##id",
        "##s",
        "cystic",
        "fib",
        "##rosis",
        "aspirin",
        "the",
        ".",
        "or",
        "?",
        "in",
        "is",
        "clear",
        "severe",
        "as",
        "##thma",
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    labels = ["O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical"]
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=16,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)}, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    network, tokenizer = (
        transformers.BertForTokenClassification(config),
        transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True),
    )
    tokenizer.save_pretrained(folder)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for words, tags in drawn(random.Random(0), 120):
        given = tokenizer(words, is_split_into_words=True, return_tensors="pt", truncation=True, max_length=16)
        ids = given.word_ids()
        first = [w if w is not None and w not in ids[:i] else None for i, w in enumerate(ids)]
        wanted = torch.tensor([[-100 if w is None else labels.index(tags[w]) for w in first]])
        loss = network(**given, labels=wanted).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.save_pretrained(folder)
    return folder


def test_words_have_the_tag_of_their_first_piece_as_transformers_reads_them(tagger_folder: Path) -> None:
    import torch
    import transformers

    model = load_model(f"hf:{tagger_folder}")
    network = transformers.AutoModelForTokenClassification.from_pretrained(tagger_folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tagger_folder)
    rows = [(words, tags) for words, tags in drawn(random.Random(1), 30) if len(words) < 7]
    theirs = []
    for words, _ in rows:
        given = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            best = network(**given).logits[0].argmax(-1).tolist()
        ids = given.word_ids()
        theirs.append([network.config.id2label[best[ids.index(i)]] for i in range(len(words))])
    ours = model.tag([words for words, _ in rows])
    assert ours == theirs
    right = sum(a == b for row, (_, tags) in zip(ours, rows, strict=True) for a, b in zip(row, tags, strict=True))
    assert right > 0.8 * sum(len(tags) for _, tags in rows)  # it has learned something
    long = ["flu", "the"] * 20  # longer than the 16 positions: read in windows, no word lost
    assert [len(row) for row in model.tag([long, []])] == [40, 0] and model.provenance["windows"] == 1


def test_a_token_classifier_is_evaluated_and_types_that_the_data_do_not_mark_are_left_out(
    tagger_folder: Path, sentences: Path, tmp_path: Path
) -> None:
    status = command(
        "evaluate",
        f"hf:{tagger_folder}",
        "blurb:ncbi-disease",
        "--root",
        str(sentences),
        "--task",
        "token-classification",
        "--output",
        str(tmp_path / "run"),
    )
    assert status.returncode == 0, status.stderr
    run = load_run(tmp_path / "run")
    table = run.predictions.to_pylist()
    assert [len(row["tags"]) for row in table] == [5, 5, 5]  # the corpus' own tokens
    model = load_model(f"hf:{tagger_folder}")
    tags = model.tag([[token for token, _ in row] for row in SENTENCES["test"]])
    assert [row["tags"] for row in table] == tags
    hits = total = true = 0
    for given, row in zip(tags, SENTENCES["test"], strict=True):
        found = {one for one in chunks.lenient(given) if one[2] == "Disease"}
        wanted = set(chunks.lenient([tag for _, tag in row]))
        hits, total, true = hits + len(found & wanted), total + len(found), true + len(wanted)
    assert run.metrics["micro_f1"]["value"] == pytest.approx(2 * hits / (total + true)) and hits > 0
    assert "Chemical: not marked in these data" in status.stdout
    assert (tmp_path / "run/report.html").is_file()


def tags_of(rows: Sequence[Sequence[str]]) -> Model:
    class Tags:
        classes = ("O",)

        def tag(self, texts: Sequence[Sequence[str]]) -> list[list[str]]:
            return [list(row) for row in rows]

    return load_model(Tags(), card={"slug": "tags", "name": "Tags"})  # type: ignore[arg-type]


def test_tags_of_no_scheme_or_of_another_number_are_refused(sentences: Path, tmp_path: Path) -> None:
    for rows, said in (([["Disease"] * 5] * 3, "no tags of mentions"), ([["O"]] * 3, "another number of tags")):
        with pytest.raises(RunError, match=said):
            evaluate(
                tags_of(rows),
                "blurb:ncbi-disease",
                root=sentences,
                task="token-classification",
                output=tmp_path / said[:2],
            )


def test_a_folder_that_does_not_name_its_tags_is_refused(tagger_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(tagger_folder, tmp_path / "bare")
    stated = json.loads((tmp_path / "bare/config.json").read_text())
    stated["id2label"] = {str(i): f"LABEL_{i}" for i in range(5)}
    (tmp_path / "bare/config.json").write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match="does not say which tags"):
        load_model(f"hf:{tmp_path / 'bare'}")
