"""Overlap metrics equal sacrebleu's, rouge-score's and the SQuAD script's, and spans seqeval's way of counting."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from transformers.data.metrics import squad_metrics

from healthfm.errors import RunError
from healthfm.score.metrics import clinical, text
from healthfm.score.metrics.spans import span_counts, span_f1

TEXTS = [
    "The patient has a fracture of the left femur, with no sign of infection.",
    "No acute cardiopulmonary process.",
    "aspirin",
    "",
    "There is a moderate left pleural effusion and an enlarged heart.",
]
ACCEPTED = [
    ["A fracture of the left femur without signs of infection", "Left femoral fracture with no sign of infection"],
    ["No acute cardiopulmonary abnormality."],
    ["Aspirin.", "acetylsalicylic acid"],
    ["nothing"],
    ["Moderate left pleural effusion; the heart is enlarged", "There is a moderate left effusion and cardiomegaly"],
]


def test_squads_exact_match_and_f1_equal_its_script() -> None:
    for one, answers in zip(TEXTS, ACCEPTED, strict=True):
        assert text.exact_match_squad(one, answers) == max(squad_metrics.compute_exact(a, one) for a in answers)
        f1 = max(squad_metrics.compute_f1(a, one) for a in answers)
        assert text.token_f1_squad(one, answers) == pytest.approx(f1)
    assert text.token_f1_squad("the", ["a"]) == squad_metrics.compute_f1("a", "the") == 1  # nothing left of either


@pytest.mark.parametrize(
    "counts", [[1, 1, 1, 1, 1], [0, 2, 0, 3, 1], [0, 0, 4, 1, 0], [0, 0, 0, 2, 0], [3, 0, 0, 0, 2]]
)
def test_bleu_of_a_resample_equals_sacrebleus_corpus_score(counts: list[int]) -> None:
    rows = np.repeat(np.arange(5), counts)
    most = max(len(answers) for answers in ACCEPTED)
    references = [[ACCEPTED[i][k] if k < len(ACCEPTED[i]) else None for i in rows] for k in range(most)]
    theirs = BLEU().corpus_score([TEXTS[i] for i in rows], references).score / 100
    ours = text.bleu(np.array([counts]) @ text.bleu_counts(TEXTS, ACCEPTED))
    assert ours == [pytest.approx(theirs, abs=1e-12)]


CHINESE = [
    ("患者应当每天服用阿司匹林。", ["患者应当每天服用阿司匹林，并复查血小板"]),
    ("急性阑尾炎（需要手术）", ["急性阑尾炎", "阑尾炎，需要手术"]),
    ("剂量为 1.5 mg，每日2次", ["剂量为1.5mg，每日两次"]),
    ("体温37.5℃——发热“可疑”…", ["体温37.5℃，发热"]),
]


def test_bleu_of_chinese_is_sacrebleus_zh_and_of_thai_its_characters() -> None:
    texts, accepted = zip(*CHINESE, strict=True)
    references = [[row[k] if k < len(row) else None for row in accepted] for k in range(2)]
    theirs = BLEU(tokenize="zh").corpus_score(texts, references).score / 100
    assert text.bleu(text.bleu_counts(texts, accepted).sum(0)) == pytest.approx(theirs, abs=1e-12) and 0.3 < theirs < 1
    thai, other = "ผู้ป่วยปวดหัวมาก", "ผู้ป่วยปวดท้องมาก"
    letters = BLEU(tokenize="char").corpus_score([thai], [[other]]).score / 100
    assert text.bleu(text.bleu_counts([thai], [[other]]).sum(0)) == pytest.approx(letters, abs=1e-12)


def test_rouge_of_other_scripts_is_rouge_scores_on_words_it_can_read() -> None:
    """Each word, or each letter of Chinese, stands for an ASCII word."""
    cyrillic = ("артериальная гипертензия тяжёлая", "тяжёлая гипертензия"), ("a b c", "c b")
    chinese = ("急性阑尾炎", "阑尾炎，慢性"), ("a b c d e", "c d e f b")
    for (written, answer), (ours, theirs) in (cyrillic, chinese):
        expected = text.rouge([ours], [[theirs]])
        assert text.rouge([written], [[answer]]) == {name: pytest.approx(value) for name, value in expected.items()}
        assert 0 < expected["rouge_l"][0] < 1


def test_rouge_takes_the_best_of_the_accepted_answers() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    found = text.rouge(TEXTS, ACCEPTED)
    for i, (one, answers) in enumerate(zip(TEXTS, ACCEPTED, strict=True)):
        for theirs, ours in text.ROUGE.items():
            assert found[ours][i] == max(scorer.score(a, one)[theirs].fmeasure for a in answers)
    assert found["rouge_1"][2] == 1 and found["rouge_2"][2] == 0


def test_a_span_counts_when_start_end_and_type_are_right() -> None:
    """seqeval gives these tags (B-Drug I-Drug O B-Dose / B-Drug I-Drug O O and O B-Drug / B-Dose O) an F1 of 2/5."""
    true = [{(0, 2, "Drug"), (3, 4, "Dose")}, {(1, 2, "Drug")}]
    found = [{(0, 2, "Drug")}, {(0, 1, "Dose")}]
    assert span_counts(true, found).tolist() == [[1, 1, 0], [0, 1, 1]]
    assert span_f1(true, found) == pytest.approx(2 / 5)
    assert np.isnan(span_f1([set()], [set()]))


def test_clinical_metrics_need_the_users_weights_and_say_so() -> None:
    with pytest.raises(RunError, match="CheXbert-14 needs the weights"):
        clinical.findings_f1(["a"], ["b"], None)
    with pytest.raises(RunError, match="RadGraph-F1 needs the weights"):
        clinical.graph_f1(["a"], ["b"], None)


def test_findings_and_facts_of_a_labeller_are_compared() -> None:
    """Any labeller will do; this one reads words. Edema: one hit and one false alarm; fracture: one miss."""

    def words(texts: list[str]) -> list[set[str]]:
        return [{one for one in clinical.CHEXBERT_14 if one.lower() in t} for t in texts]

    found = clinical.findings_f1(["edema", "edema"], ["edema", "fracture"], words)
    assert found["micro_f1"] == pytest.approx(2 / 4)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    facts = clinical.graph_f1(
        ["a b", "c", ""], ["a d", "c", ""], lambda texts: [{(w,) for w in t.split()} for t in texts]
    )
    assert facts.tolist() == [0.5, 1, 0]
