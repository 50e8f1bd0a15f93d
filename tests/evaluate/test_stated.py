"""healthfm's own rule for written answers: what is stated is read, nothing is guessed, and how it stands beside published extractors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import evaluate, load_model
from healthfm.evaluate.stated import stated_answer
from tests.references.answers_table import answers, counts, line, of_four
from tests.references.medevalkit_cases import questions

ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "tests/data/expected/answers_200.json").read_text(encoding="utf-8"))
MORE = [
    json.loads(line)
    for line in (ROOT / "tests/data/answers_more.jsonl").read_text(encoding="utf-8").splitlines()
]  # fmt: skip
FOUR, TWELVE, WORDS = "ABCD", "ABCDEFGHIJKL", ("yes", "no", "maybe")
TUMOUR = {"A": "A viral infection", "B": "A bone disease", "C": "A benign tumour of the meninges"}
DRUGS = {"1": "Aspirin", "2": "Heparin", "3": "Warfarin"}


def ours(row: dict[str, Any]) -> str | None:
    return stated_answer(row["text"], tuple(row["options"]), row["options"])


def test_the_table_is_what_it_says() -> None:
    rows = answers()
    assert len(rows) == 200
    assert 40 <= sum(row["answer"] is None for row in rows) <= 50
    assert all(row["answer"] is None or row["answer"] in row["options"] for row in rows)
    assert len({(row["text"], *row["options"]) for row in rows}) == 200


def test_no_answer_is_read_wrongly_and_nearly_all_are_read() -> None:
    rows = answers()
    found = counts(rows, [ours(row) for row in rows], range(len(rows)))
    assert found["wrong"] == 0
    assert found["right"] >= found["stated"] - 1


def test_further_answers_are_read_as_well() -> None:
    for row in MORE:
        assert ours(row) == row["answer"], row["text"]


def test_no_published_extractor_reads_more_of_them_or_fewer_wrongly() -> None:
    rows = answers()
    which = of_four(rows)
    own = counts(rows, [ours(row) for row in rows], which)
    for name, read in STORED["read"].items():
        theirs = counts([rows[i] for i in which], read, range(len(which)))
        assert theirs["wrong"] >= own["wrong"] == 0, name
        assert theirs["right"] < own["right"], name


def test_the_page_shows_the_stored_numbers() -> None:
    rows, page = answers(), (ROOT / "docs/parsers.md").read_text(encoding="utf-8")
    which, read = of_four(rows), [ours(row) for row in rows]
    assert line("`stated-answer`, all 200", counts(rows, read, range(len(rows)))) in page
    assert line("`stated-answer`", counts(rows, read, which)) in page
    for name, found in STORED["read"].items():
        assert line(name, counts([rows[i] for i in which], found, range(len(which)))) in page, name


@pytest.mark.parametrize(
    ("text", "keys", "answer"),
    [
        ("Answer: A benign tumour of the meninges.", TUMOUR, "C"), ("Answer: A benign tumour", TUMOUR, None),
        ("The answer is B. The other choice: A is wrong.", FOUR, "B"), ("The answer is option B.", FOUR, "B"),
        ("Answer: $B$", FOUR, "B"), ("$\\boxed{\\text{B}}$", FOUR, "B"), ("The answer is $\\boxed{B}$.", FOUR, "B"),
        ("B:", FOUR, "B"), ("not B", FOUR, None), ("B is wrong", FOUR, None), ("The answer is not B", FOUR, None),
        ("A is incorrect, B is the correct answer.", FOUR, "B"), ("I don't think the answer is B", FOUR, None),
        ("The answer is B? No, that is wrong.", FOUR, None), ("Why is the answer B?", FOUR, None),
        ("If the patient were pregnant, the answer would be C. Here the answer is B.", FOUR, "B"),
        ("答案：Ｂ", FOUR, "B"), ("故选B。", FOUR, "B"), ("不选B", FOUR, None), ("答案是B型血", FOUR, None), ("选项B是错误的", FOUR, None),
        ('{"answer": "B"}', FOUR, "B"), ('{"answer": ["A","B"]}', FOUR, None), ('{"answer": 2}', DRUGS, "2"),
        ("Answer: 2.5 mg", DRUGS, None), ("1. First, think\n2. Then", DRUGS, None), ("2. Heparin", DRUGS, "2"),
        ("Answer: K", TWELVE, "K"), ("Answer: I", TWELVE, "I"), ("Answer: I cannot say", TWELVE, None),
        ("<think>The answer is A.</think>B", FOUR, "B"), ("<think>The answer is A. Hmm", FOUR, None),
        ("answer: (a)", FOUR, "A"), ("Answer: b", FOUR, "B"), ("The answer is a", FOUR, None),
        ("Answer: E. coli", "ABCDE", None), ("Answer: B cell lymphoma", FOUR, None), ("Answer: C-reactive protein", FOUR, None),
        ("A) x\nB) y\nC) z", FOUR, None), ("B\n\nQuestion: next\nAnswer: C", FOUR, "B"), ("A: B", FOUR, None),
        ("Hepatitis B is the most likely diagnosis", FOUR, None), ("The answer is A or B, but most likely B.", FOUR, None),
        ("Choice A: wrong. Choice B: right.", FOUR, None), ("A (wrong)", FOUR, None), ("Although many think the answer is A, it is B", FOUR, "B"),
        ("The answer is A. Actually no, B.", FOUR, None), ("The answer is B, or is it C?", FOUR, None), ("Yes, no difference was found", WORDS, "yes"),
        ('{"answer": "B", "answer": "C"}', FOUR, "C"), ("排除A、B，故选C", FOUR, "C"), ("A、B均可", FOUR, None), ("选项B", FOUR, "B"),
        ("yes and no", WORDS, None), ("Answer: yes/no", WORDS, None), ("Answer: no significant difference", WORDS, None),
    ],
)  # fmt: skip
def test_one_text_one_reading(text: str, keys: Any, answer: str | None) -> None:
    assert stated_answer(text, tuple(keys), keys if isinstance(keys, dict) else None) == answer


FORMS = (
    "({key}) {text}",
    "Answer: {text}",
    "**{key}. {text}**",
    "{text}\n\nThis fits best.",
    "The correct answer is {key}. The other choice: A is wrong.",
)


def test_answers_to_all_of_medqas_test_questions_are_read_and_none_wrongly() -> None:
    """Real options, with all their signs, quotes and numbers; of one question the texts are other options' letters, which says nothing."""
    found = [
        (stated_answer(FORMS[i % len(FORMS)].format(key=key, text=text), tuple(one.options), one.options), key)
        for i, one in enumerate(questions()) for key, text in one.options.items()
    ]  # fmt: skip
    assert len(found) == 4 * 1273
    assert all(read in (key, None) for read, key in found)
    assert sum(read is None for read, _ in found) < 0.005 * len(found)


def test_the_options_texts_reach_the_rule_in_a_run(tmp_path: Path) -> None:
    (tmp_path / "mc.csv").write_text(
        "id,question,A,B,C,answer\n1,What is a meningioma?,A viral infection,A bone disease,A benign tumour of the meninges,C\n"
        "2,What lowers blood pressure here?,A high-salt diet,A low-sodium diet,A tourniquet,B\n"
    )
    (tmp_path / "dataset.toml").write_text(
        'name = "written"\nrecord = "MultipleChoice"\ndefault_protocol = "g"\n[files]\ntest = "mc.csv"\n[protocols.g]\nsummary = "s"\n'
        'task = "multiple-choice-generated"\nfollows = "own"\ntemplate = "{{ question }}"\n'  # no parser named: the default rule
    )
    says = {"meningioma": "Answer: A benign tumour of the meninges.", "pressure": "Answer: A low-sodium diet"}

    def write(prompts: Any, **_: Any) -> list[str]:
        return [next(text for word, text in says.items() if word in str(prompt)) for prompt in prompts]

    model = load_model(write, verb="generate", card={"slug": "w", "name": "W"})
    run = evaluate(model, tmp_path, output=tmp_path / "run")
    assert run.predictions["prediction"].to_pylist() == ["C", "B"]
    assert run.facts["request"]["prompt"]["parser"] == "stated-answer"
