"""What counts in a written answer: tables of answers that say the same and of answers that do not, in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm.score.metrics import text
from healthfm.score.metrics.wording import clinical, plain, squad

UNLIKE = [
    ("1.5 mg", "15 mg"), ("0.25 mg", "025 mg"), ("1·5 mg", "15 mg"), ("1,5 mg", "15 mg"), ("1.05", "1.5"), (".5", "5"), ("１．５", "１５"),
    ("١٫٥", "١٥"), ("1.500", "1.5"), ("2 500 mg", "2500 mg"), ("A+", "A-"), ("+", "-"), ("±", "+"), ("++", "+"), ("2+", "2"), ("2+", "2-"),
    ("CD4+ cells", "CD4- cells"), ("HIV (+)", "HIV (-)"), ("HBsAg: -", "HBsAg: +"), ("HBsAg -", "HBsAg"), ("阳性(+)", "阳性(-)"),
    ("(-)-menthol", "(+)-menthol"), ("-2 dioptres", "2 dioptres"), ("−2", "2"), ("–2", "2"), ("- 2 D", "2 D"), ("BE -5", "BE 5"), ("(-2)", "(2)"),
    ("±5", "5"), ("-2 to 3", "2 to 3"), ("−5℃", "5℃"), ("<5", ">5"), ("< 5", "> 5"), ("≤5", "<5"), (">=5", "<=5"), ("p<0.05", "p>0.05"), ("~5", "5"),
    ("10^3", "103"), ("10³", "103"), ("10⁻³", "10³"), ("1e-3", "1e3"), ("3/4", "34"), ("120/80", "120 80"), ("5 mg/kg", "5 mg kg"), ("1:10", "110"),
    ("1½", "11/2"), ("3-5", "35"), ("3-5", "3 5"), ("5-10 mg", "510 mg"), ("5%", "5"), ("5‰", "5%"), ("mg", "g"), ("Na+", "Na"), ("H2O2", "H2O"),
    ("hepatitis A", "hepatitis"), ("type A", "type B"), ("vitamin K", "vitamin"), ("A positive", "positive"), ("↑ potassium", "↓ potassium"),
    ("37 °C", "37 °F"), ("$5", "5"), ("発熱なし", "発熱"), ("ไม่ปวด", "ปวด"), ("한국", "한"), ("ё", "я"),
]  # fmt: skip
ALIKE = [
    ("1,000", "1000"), ("1\u202f000", "1000"), ("2 000", "2000"), ("1,00,000", "100000"), ("1.50 mg", "1.5 mg"), (".5 mg", "0.5 mg"), ("1.0", "1"),
    ("1·5", "1.5"), ("１．５ｍｇ", "1.5 mg"), ("٣", "3"), ("١٫٥", "1.5"), ("5mg", "5 mg"), ("5 %", "5%"), ("µg", "μg"), ("37 ℃", "37°C"),
    ("10³", "10^3"), ("10³", "10**3"), ("10⁻³", "10^{-3}"), ("3 x 10^3", "3×10³"), ("m²", "m^2"), ("m²", "m2"), ("H₂O₂", "H2O2"), ("Ca²⁺", "Ca2+"),
    ("½", "1/2"), ("1½", "1 1/2"), ("3–5", "3-5"), ("3 - 5", "3-5"), ("3～5天", "3-5天"), ("−2", "-2"), ("－2", "-2"), ("< 5", "<5"), ("≦5", "<=5"),
    ("1 : 10", "1:10"), ("3 / 4", "3/4"), ("+/-", "±"), ("HIV (+)", "HIV+"), ("HIV +", "HIV+"), ("HBsAg: -", "HBsAg-"), ("X-ray", "x ray"),
    ("COVID-19", "Covid 19"), ("Crohn’s disease", "Crohn's disease"), ("the liver", "Liver."), ("an MRI", "MRI"), ("Aspirin®", "aspirin"),
    ("b.i.d.", "BID"), ("- aspirin", "aspirin"), ("fever — cough", "fever, cough"), ("**5 mg**", "5 mg"), ("(pneumonia)", "pneumonia"),
    ("hepatitis a", "Hepatitis A"), ("发热。", "发热"), ("（肺炎）", "「肺炎」"), ("テスト・カタカナ", "テストカタカナ"), ("ｶﾞﾝ", "ガン"), ("Ⅱ型", "II型"),
    ("फेफड़ा।", "फेफड़ा"), ("كسر؟", "كسر"), ("כאב־ראש", "כאב ראש"), ("ΑΡΘΡΙΤΙΣ", "αρθρίτις".replace("ί", "ι")), ("Straße", "STRASSE"),
    ("soft\u00adhyphen", "softhyphen"), ("cafe\u0301", "café"), ("Артериальная Гипертензия!", "артериальная гипертензия"), ("폐렴.", "폐렴"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_what_carries_a_value_tells_answers_apart(one: str, other: str) -> None:
    assert text.exact_match(one, [other]) == text.exact_match(other, [one]) == 0
    assert text.exact_match(one, [one]) == text.exact_match(other, [other]) == 1
    assert text.token_f1(one, [other]) < 1


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_carries_none_does_not(one: str, other: str) -> None:
    assert text.exact_match(one, [other]) == text.token_f1(one, [other]) == 1


@pytest.mark.parametrize("nothing", ["", " ", "...", "，", "the", "An", "—", "?!"])
def test_an_answer_without_content_matches_nothing_not_even_itself(nothing: str) -> None:
    assert clinical(nothing) == ()
    assert text.exact_match(nothing, [nothing]) == text.token_f1(nothing, [nothing, "yes"]) == 0


def test_letters_of_scripts_without_blanks_are_tokens_among_words_of_others() -> None:
    assert clinical("服用阿司匹林5mg qd") == ("服", "用", "阿", "司", "匹", "林", "5", "mg", "qd")
    assert plain("服用Aspirin 100毫克。") == ["服", "用", "aspirin", "100", "毫", "克"]
    assert plain("ปวดหัว 1 วัน") == ["ป", "ว", "ด", "ห", "ั", "ว", "1", "ว", "ั", "น"]
    assert plain("급성 폐렴, гипертензия") == ["급성", "폐렴", "гипертензия"]
    assert text.token_f1("阑尾炎", ["急性阑尾炎"]) == pytest.approx(2 * 3 / 8)


def test_squads_rule_stays_what_its_script_does_under_its_own_name() -> None:
    assert squad("  The  Patient's   theatre, an A.") == ["patients", "theatre"]
    for one, other in (("1.5 mg", "15 mg"), ("+", "-"), ("hepatitis A", "hepatitis")):
        assert text.exact_match_squad(one, [other]) == text.token_f1_squad(one, [other]) == 1


@given(st.text(max_size=40))
def test_any_text_has_tokens_that_stay_what_they_are(written: str) -> None:
    tokens = clinical(written)
    assert all(one and one == one.strip() for one in tokens)
    assert text.exact_match(written, [written]) == bool(tokens)
    assert clinical(written.upper()) == clinical(written.upper().lower()) or not written.isascii()
