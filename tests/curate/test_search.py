"""Planted texts are found, whole or with a tenth of their words changed; disjoint real corpora raise no alarm."""

from __future__ import annotations

import random
from difflib import SequenceMatcher
from pathlib import Path

import ahocorasick
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthfm.curate import search
from healthfm.curate.search import Index, run_length
from healthfm.curate.texts import Part, parts
from healthfm.curate.words import fold
from healthfm.records import Document, MultipleChoice
from tests.curate.planted import Document as Text
from tests.curate.planted import change, corpus, plant, records
from tests.real_files import ELSEWHERE

MEDQUAD = ELSEWHERE / "medquad"


def part(text: str, *more: str) -> Part:
    return Part("text", tuple(tuple(fold(one).split()) for one in (text, *more)), ("x",))


def found(text: str, *documents: str, others: tuple[str, ...] = ()) -> list[search.Hit]:
    index = Index([part(text), *(part(one) for one in others)])
    return [m for m in index.search((str(i), 0, one) for i, one in enumerate(documents)) if m.part == 0]


@pytest.fixture(scope="module")
def pubmedqa(pubmedqa_root: Path) -> list[Part]:
    return parts(records("pubmedqa", pubmedqa_root))


@pytest.fixture(scope="module")
def medqa(medqa_root: Path) -> list[Part]:
    return parts(records("medqa", medqa_root))


@pytest.fixture(scope="module")
def texts(medqa_root: Path, pubmedqa_root: Path) -> dict[str, list[Text]]:
    return {"medqa": corpus(records("medqa", medqa_root)), "pubmedqa": corpus(records("pubmedqa", pubmedqa_root))}


@pytest.fixture(scope="module")
def indexes(pubmedqa: list[Part], medqa: list[Part]) -> dict[str, Index]:
    return {"pubmedqa": Index(pubmedqa), "medqa": Index(medqa)}


@pytest.mark.parametrize(("which", "where"), [("pubmedqa", "medqa"), ("medqa", "pubmedqa")])
@pytest.mark.parametrize("changed", [False, True])
def test_planted_texts_are_found(
    which: str, where: str, changed: bool, texts: dict[str, list[Text]], indexes: dict[str, Index]
) -> None:
    """Recall 1 for whole texts, 0.95 and more with a tenth of the words changed; of every kind of text, and in its place."""
    looked_for = indexes[which].parts
    documents, places = plant(looked_for, texts[where], changed)
    met = {(m.part, m.document): m for m in indexes[which].search(documents)}
    for kind in {looked_for[i].kind for i in places}:
        planted = {i: name for i, name in places.items() if looked_for[i].kind == kind}
        recall = sum((i, name) in met for i, name in planted.items()) / len(planted)
        assert recall == 1 if not changed else recall >= 0.95, (kind, recall, len(planted))
    if not changed:
        assert all(met[one].how == "exact" for one in places.items())
    at = {name: i for i, name in places.items()}
    for match in met.values():
        assert alike(looked_for[match.part], looked_for[at[match.document]]), match


def alike(one: Part, planted: Part) -> bool:
    """Whether a find is explained by what was planted: the same record (an abstract repeats its question), or a repeated question."""
    words, others = (sum(part.segments, ()) for part in (one, planted))
    blocks = SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
    return bool(set(one.ids) & set(planted.ids)) or sum(block.size for block in blocks) >= 0.6 * len(words)


@pytest.mark.parametrize(("which", "where"), [("pubmedqa", "medqa"), ("medqa", "pubmedqa")])
def test_disjoint_real_corpora_raise_no_alarm(
    which: str, where: str, texts: dict[str, list[Text]], indexes: dict[str, Index]
) -> None:
    assert list(indexes[which].search(texts[where])) == []


@pytest.mark.skipif(not MEDQUAD.is_dir(), reason="needs MedQuAD's files")
def test_medquad_answers_are_found_and_raise_no_alarm(
    indexes: dict[str, Index], texts: dict[str, list[Text]], tmp_path: Path
) -> None:
    for path in sorted(MEDQUAD.rglob("*.xml"))[::4]:
        link = tmp_path / path.relative_to(MEDQUAD)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    medquad = records("medquad", tmp_path, "train")
    looked_for = [one for one in parts(medquad) if one.kind == "question and answer"]
    index = Index(looked_for)
    assert list(indexes["pubmedqa"].search(corpus(medquad))) == []
    assert list(index.search(texts["medqa"])) == []
    for changed in (False, True):
        documents, places = plant(looked_for, texts["pubmedqa"], changed)
        met = {(m.part, m.document) for m in index.search(documents)}
        assert sum(one in met for one in places.items()) / len(places) >= (0.99 if changed else 1)


def test_whole_questions_are_those_that_aho_corasick_finds(pubmedqa: list[Part], texts: dict[str, list[Text]]) -> None:
    questions = [one for one in pubmedqa if one.kind == "question"]
    documents, _ = plant(questions, texts["medqa"], changed=False)
    automaton = ahocorasick.Automaton()
    for i, one in enumerate(questions):
        automaton.add_word(f" {b' '.join(one.segments[0]).decode()} ", i)
    automaton.make_automaton()
    plain = {name: f" {' '.join(fold(text).decode().split())} " for name, _, text in documents}
    theirs = {(i, name) for name, text in plain.items() for _, i in automaton.iter(text)}
    ours = {(m.part, m.document) for m in Index(questions).search(documents) if m.how == "exact"}
    assert ours == theirs and len(ours) > 400


@given(st.integers(6, 300))
@settings(max_examples=60)
def test_a_copy_with_a_tenth_of_its_words_changed_shares_as_many_runs_as_the_lemma_says(length: int) -> None:
    n, need = run_length([length])
    words = [f"w{i}" for i in range(length)]
    rng = random.Random(length)
    copy = change(words, ["other"], rng)
    runs = {tuple(copy[i : i + n]) for i in range(len(copy) - n + 1)}
    assert sum(tuple(words[i : i + n]) in runs for i in range(length - n + 1)) >= need >= 1
    assert n <= max(search.LENGTHS)


def test_where_it_stands_is_told_in_characters_of_the_document() -> None:
    text = "Ärzte fragten: “Does  COVID-19 cause lasting myocarditis — in young athletes”? Nobody knew."
    [match] = found("does covid 19 cause lasting myocarditis in young athletes", text)
    assert (match.how, match.snippet) == ("exact", "Does  COVID-19 cause lasting myocarditis — in young athletes")
    assert text[match.start : match.end] == match.snippet


def test_options_may_stand_in_another_order_and_behind_letters() -> None:
    question = MultipleChoice(
        id="q", question="Which drug lowers potassium fastest in severe hyperkalaemia with changes of the electrocardiogram?",
        options={"A": "Intravenous calcium gluconate", "B": "Insulin with glucose", "C": "Oral patiromer", "D": "Aspirin"},
    )  # fmt: skip
    looked_for = parts([question])
    assert [one.kind for one in looked_for] == ["question", "question and options"]
    shuffled = f"12. {question.question} (1) Oral patiromer (2) Aspirin (3) Insulin with glucose (4) Intravenous calcium gluconate. Answer: 3"
    alone = f"{question.question} Discuss."
    assert {(m.part, m.how) for m in Index(looked_for).search([("d", 0, shuffled)])} == {(0, "exact"), (1, "exact")}
    assert {m.part for m in Index(looked_for).search([("d", 0, alone)])} == {0}


def test_a_short_text_is_found_as_a_whole_and_not_by_its_like() -> None:
    assert [m.how for m in found("What is rickets?", "They ask what is rickets, and why.")] == ["exact"]
    assert found("What is rickets?", "What is scurvy?", "rickets is what") == []
    assert found("Rickets", "rickets") == []  # one word is no text to look for


def test_of_a_text_of_ten_words_one_may_be_changed_and_not_two() -> None:
    text = "do statins lower the risk of stroke after bypass surgery"
    assert found(text, "do statins lower the chance of stroke after bypass surgery")
    assert found(text, "do statins lower risk of stroke after bypass surgery")
    assert found(text, "statins lower the risk of stroke after bypass surgery")
    assert found(text, "do statins lower the risk of a stroke after bypass surgery")
    assert not found(text, "do fibrates lower the chance of stroke after bypass surgery")


def numbered(first: str, count: int) -> list[str]:
    return [f"{first}{i}" for i in range(count)]


@pytest.mark.parametrize(
    ("words", "there", "expected"), [(40, 29, True), (40, 27, False), (20, 14, True), (20, 13, False)]
)
def test_a_near_copy_covers_seven_tenths_of_a_texts_weight(words: int, there: int, expected: bool) -> None:
    """Alone in its benchmark, a text's words weigh the same: 29 of 40 are 0.725, 27 are 0.675 (and more than ``WORDS``)."""
    text = numbered("w", words)
    copy = " ".join(text[:there] + numbered("other", 12))
    assert [m.how for m in found(" ".join(text), copy)] == ["near"] * expected


@pytest.mark.parametrize(("there", "expected"), [(26, True), (25, False), (22, False)])
def test_a_near_copy_covers_sixty_five_hundredths_of_a_texts_words_however_rare_they_are(
    there: int, expected: bool
) -> None:
    """40 words, of which the copy has the rare ones: 0.9 of the weight; 26 of 40 words are enough, 25 (0.625) are not."""
    rare, common = numbered("rare", there), numbered("common", 40 - there)
    others = tuple(" ".join([*common, *numbered(f"own{i}x", there)]) for i in range(200))
    copy = " ".join([*numbered("before", 9), *rare, *numbered("behind", 9)])
    index = Index([part(" ".join(rare + common)), *(part(one) for one in others)])
    _, share = index._share(index.parts[0], [one.encode() for one in copy.split()])
    assert share > 0.8
    assert [m.how for m in index.search([("d", 0, copy)]) if m.part == 0] == ["near"] * expected


def test_how_much_may_be_changed_depends_on_how_many_words_there_are() -> None:
    """Under 3 none is looked for, under 6 all must be there, under 11 one may be changed, then three tenths."""
    assert not found("uno dos", "uno dos") and found("uno dos tres", "uno dos tres")
    assert not found("a1 a2 a3 a4 a5", "a1 a2 a3 a4 x") and found("a1 a2 a3 a4 a5 a6", "a1 a2 a3 a4 a5 x")
    ten, eleven = numbered("w", 10), numbered("w", 11)
    assert not found(" ".join(ten), " ".join([*ten[:8], "x", "y"]))
    assert found(" ".join(ten), " ".join([*ten[:9], "x"]))
    assert found(" ".join(eleven), " ".join([*eleven[:9], "x", "y"]))


def test_a_long_text_is_compared_by_runs_of_three_words() -> None:
    """In pairs, 24 words stand there; in runs of three, none does. Of 23 words pairs are enough."""
    for length, expected in ((23, True), (24, False)):
        text = numbered("w", length)
        pairs = [text[i : i + 2] for i in range(0, length, 2)]
        index = Index([part(" ".join(text))])
        window = [word.encode() for pair in pairs for word in (*pair, "between")]
        covered, _ = index._share(index.parts[0], window)
        assert (covered > 0.9) == expected


def test_what_many_texts_share_counts_little() -> None:
    """A question that differs from its like in its rare words alone is not found in a text about another."""
    others = tuple(f"what are the treatments for disease number {i} in children and in adults" for i in range(40))
    text = "what are the treatments for amyloid cardiomyopathy in children and in adults"
    assert not found(text, "what are the treatments for seasonal influenza in children and in adults", others=others)
    assert found(text, "what are treatments for amyloid cardiomyopathy in children and in adults", others=others)


def test_a_text_whose_runs_many_others_share_is_still_found() -> None:
    """All of its runs are common, but it is there."""
    template = [f"what are the signs of {a} {b}" for a in ("mild", "bad", "rare") for b in ("flu", "gout", "acne")] * 30
    looked_for = [Part("text", (tuple(fold(t).split()),), (str(i),)) for i, t in enumerate(template)]
    met = {m.part for m in Index(looked_for).search([("d", 0, "Tell me what are the signs of rare gout please")])}
    assert {template[i] for i in met} >= {"what are the signs of rare gout"}


def test_runs_do_not_reach_from_one_document_into_the_next() -> None:
    text = "the first half of the sentence stands here and the second half stands there"
    assert not found(text, "the first half of the sentence stands here", "and the second half stands there")


def test_records_with_the_same_text_are_one_part_and_are_all_named() -> None:
    [one] = parts([Document(id="a", text="Same text here."), Document(id="b", text="same TEXT here")])
    assert one.ids == ("a", "b")


def test_the_size_of_a_block_does_not_matter(
    pubmedqa: list[Part], texts: dict[str, list[Text]], indexes: dict[str, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of what is searched, nor of what is looked for."""
    documents, _ = plant(pubmedqa, texts["medqa"][:60], changed=True)
    whole = sorted(indexes["pubmedqa"].search(documents), key=str)
    for size in (1, 300, 1 << 14):
        monkeypatch.setattr(search, "BLOCK", size)
        index = Index(pubmedqa) if size > 1 else indexes["pubmedqa"]
        assert sorted(index.search(documents), key=str) == whole and whole


COPIED = {
    "Chinese": "患者应当每天服用阿司匹林以降低心肌梗死复发的风险并定期复查血小板计数",
    "Japanese": "患者は心筋梗塞の再発リスクを減らすために毎日アスピリンを服用するべきである",
    "Thai": "ผู้ป่วยควรรับประทานยาแอสไพรินทุกวันเพื่อลดความเสี่ยงของการเกิดภาวะกล้ามเนื้อหัวใจตายซ้ำ",
    "Lao": "ຄົນເຈັບຄວນກິນຢາແອັດສະໄພຣິນທຸກວັນເພື່ອຫຼຸດຄວາມສ່ຽງ",
    "Khmer": "អ្នកជំងឺគួរតែលេបថ្នាំអាស្ពីរីនជារៀងរាល់ថ្ងៃដើម្បីកាត់បន្ថយហានិភ័យ",
    "Korean": "환자는 심근경색의 재발 위험을 줄이기 위해 매일 아스피린을 복용해야 하며 혈소판 수를 정기적으로 확인해야 한다",
    "Hindi": "रोगी को हृदयाघात के पुनरावृत्ति के जोखिम को कम करने के लिए प्रतिदिन एस्पिरिन लेनी चाहिए और नियमित जांच करानी चाहिए",
    "Arabic": "يجب على المريض تناول الأسبرين يوميا لتقليل خطر تكرار احتشاء عضلة القلب ومتابعة عدد الصفائح الدموية بانتظام",
}


@pytest.mark.parametrize("language", COPIED)
def test_a_copy_is_found_in_any_script_within_a_text_without_blanks_around_it(language: str) -> None:
    text = COPIED[language]
    [whole] = found(text, f"前文。{text}。后文")
    assert whole.how == "exact" and whole.snippet.strip("。") == text
    middle = text.find(" ", len(text) // 2) + 1 if " " in text else len(text) // 2
    changed = f"{text[:middle]}{'xyz ' if ' ' in text else ''}{text[middle + (0 if ' ' in text else 3) :]}"
    assert [one.how for one in found(text, changed)] == ["near"]
