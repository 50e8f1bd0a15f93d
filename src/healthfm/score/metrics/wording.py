"""A written answer as tokens: what two answers must share to say the same.

``clinical`` is the rule of exact match and token F1. Case, punctuation of any script, full-width forms, invisible characters, "the" and
"an" do not count. What carries a value does: signs, decimal points, comparisons, per cent, ratios, ranges, powers, and the letter "a",
which is a type more often than an article ("hepatitis A"). ``plain`` is ROUGE's rule, letters and digits of any script; ``squad`` is
SQuAD's evaluation script to the letter. Letters of scripts without blanks are a token each in the first two (``evaluate.scripts``).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from healthfm.score.scripts import RANGES

ARTICLES = ("the", "an")
_INVISIBLE = "®™©℠\ufe0e\ufe0f\u0640"  # marks of trade and the stretching of Arabic say nothing
_BREAK = ";"  # stands for all punctuation that does not count; a sign may end before it
_RANGE = "–"  # between two numbers; every other dash has become "-" by then
_PLUS, _MINUS = "⊕", "⊖"  # a sign in brackets that follows no word: (-)-menthol
_SAME = {
    **dict.fromkeys("−‐‑‒–⁃", "-"), **dict.fromkeys("—―⸺⸻", "—"), **dict.fromkeys("’‘ʼ`´′ʹ", "'"), **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("·‧∙⋅", "·"), **dict.fromkeys("≦⩽", "≤"), **dict.fromkeys("≧⩾", "≥"), "٫": ".", "٬": ",", "٪": "%", "∼": "~", "〜": "~",
    "∗": "*", "×": "×",
}  # fmt: skip
_KEPT = "+-—±<>≤≥=%‰/.,:'^~*()[]{}"  # punctuation and signs whose place decides what they are
_DROPPED = "|`"  # signs that say nothing by themselves


class _Characters(dict[int, str]):
    """What each character becomes, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kind = unicodedata.category(char)
        if char in _SAME:
            found = _SAME[char]
        elif char in _KEPT or char.isspace():
            found = char
        elif kind == "Nd":
            found = str(unicodedata.decimal(char))
        elif kind == "Cf":
            found = ""
        elif kind == "Pd":
            found = "-"
        elif kind[0] in "PZC" or kind == "Sk" or char in _DROPPED:
            found = _BREAK
        else:
            found = f" {char} " if kind[0] == "S" else char
        self[code] = found
        return found


_CHARACTERS = _Characters()
_LETTER = r"[^\W\d_]"
_BEFORE = [  # while the characters are as they were written
    (re.compile(f"[{_INVISIBLE}]"), ""),
    (re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))"), ""),  # a thin space between thousands
    (re.compile(r"(?<=\d)(?=[⁺⁻]?[⁰¹²³⁴-⁹])(?<![⁰¹²³⁴-⁹])"), "^"),
    (re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞↉])"), " "),
]
_SIGNS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [  # in this order
    (re.compile(r"-{4,}"), _BREAK),  # a line drawn; no pattern below has to walk along it
    (re.compile(r"(?m)^[-*•] (?=[^\W\d])"), _BREAK),  # an item of a list
    (re.compile(r"\+\s?/\s?-"), "±"),
    (re.compile(r"<\s?=|=\s?<"), "≤"),
    (re.compile(r">\s?="), "≥"),
    (re.compile(r"-+>"), " → "),
    (re.compile(r"(?<=\d)\s*(?:\*\*|\^)\s*[({]?\s*([+-]?)\s*(\d+)[)}]?"), r"^\1\2"),
    (re.compile(r"(?<=[^\W\d_])\^(?=\d)"), ""),  # m^2 is m2
    (re.compile(r"(?<=\w)\s*[(\[]\s*([+\-±]+)\s*[)\]]"), r"\1;"),  # HIV (+)
    (re.compile(r"[(\[]\s*\+\s*[)\]]"), f" {_PLUS} "),
    (re.compile(r"[(\[]\s*-\s*[)\]]"), f" {_MINUS} "),
    (re.compile(r"[()\[\]{}=]"), _BREAK),
    (re.compile(r"(?<=\d)\s*[x×*]\s*(?=\d)"), " x "),
    (re.compile(r"×|(?<!\w)x(?=\d)"), " x "),
    (re.compile(r"(?<=\d) : (?=\d)"), ":"),
    (re.compile(r"(?<![\w.,])([1-9]\d{0,2}(?: \d{3})* 000)(?!\d)"), lambda found: found[1].replace(" ", "")),
    (re.compile(r"(?<=\d)·(?=\d)"), "."),
    (re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:,\d{2,3})*,\d{3})(?!,?\d)"), lambda found: found[1].replace(",", "")),
    (re.compile(r"(?<![\w.])\.(?=\d)"), "0."),
    (re.compile(r"(?<![^\W\d_])([^\W\d_])\.(?=[^\W\d_](?![^\W\d_]))"), r"\1"),  # b.i.d. is bid
    (re.compile(r"(?<!\d)\.|\.(?!\d)"), _BREAK),
    (re.compile(r"(?<!\d),|,(?!\d)"), _BREAK),
    (re.compile(r"(?<!\d):|:(?!\d)"), _BREAK),
    (re.compile(rf"(?<={_LETTER})'(?={_LETTER})"), ""),
    (re.compile(r"['*·]|\^(?![+-]?\d)|(?<!\d)\^"), _BREAK),
    (re.compile(r"(?<=[\d%])\s*[—~]\s*(?=\d)"), f" {_RANGE} "),
    (re.compile(r"(?<=[\d%])(?:-\s*|\s+-\s+)(?=\d)"), f" {_RANGE} "),
    (re.compile(r"~\s*(?=[+-]?\d)"), " ≈ "),
    (re.compile(r"[—~]|--+(?=\s*\w)"), _BREAK),
    (re.compile(rf"(?<=\S)-(?={_LETTER})|(?<!\S)-(?={_LETTER})"), " "),  # X-ray, -itis
    (re.compile(r"(?<=[^\W\d_])-(?=\d)"), " "),  # COVID-19
    (re.compile(r"(?<![\w+\-±^])([+\-±])\s*(?=\d)"), r" \1"),  # -2
    (re.compile(r"([<>≤≥])\s*(?=[+\-±]?\d)"), r" \1"),
    (re.compile(r"(?<=[\w%])[ ;]+([+\-±]+)[ ;]*(?=[;\n]|$)"), r"\1;"),  # HBsAg: -
    (re.compile(r"(?<=\w)\s+-\s+(?=\w)"), " "),
]  # fmt: skip
_TOKEN = re.compile(
    rf"[<>≤≥]?[+\-±]?\d+(?:\.\d+)*(?:e[+-]?\d+)?(?:\^[+-]?\d+)?(?:[+\-±]+(?!\w))?"
    rf"|[{RANGES}](?:[+\-±]+(?!\w))?"
    rf"|[^\s;+\-±<>≤≥%‰/.,:^{RANGES}]+[+\-±]*"
    rf"|[+\-±]+|[^\s;.^]"
)
_NUMBER = re.compile(r"([^\d]*)(\d+)(?:\.(\d+))?((?:e[+-]?\d+)?(?:\^[+-]?\d+)?[+\-±]*)")


@lru_cache(maxsize=1 << 14)
def clinical(text: str) -> tuple[str, ...]:
    """Return the tokens that count in an answer; none where it holds nothing but punctuation and articles."""
    for pattern, by in _BEFORE:
        text = pattern.sub(by, text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_CHARACTERS)
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    for pattern, put in _SIGNS:
        text = pattern.sub(put, text)
    return tuple(_value(one) for one in _TOKEN.findall(text.strip("; \n")) if one not in ARTICLES)


def _value(token: str) -> str:
    """Return a number without zeros that do not count; 1.500 stays, which is a thousand and a half in half of the world."""
    number = _NUMBER.fullmatch(token)
    if number is None:
        return token
    before, whole, part, after = number.groups()
    whole = whole.lstrip("0") or "0"
    if part is not None and (len(part) != 3 or whole == "0"):
        part = part.rstrip("0")
    return f"{before}{whole}{'.' + part if part else ''}{after}"


_PLAIN = re.compile(rf"[{RANGES}]|[^\s{RANGES}]+")


class _Words(dict[int, str]):
    def __missing__(self, code: int) -> str:
        self[code] = chr(code) if unicodedata.category(chr(code))[0] in "LMN" else " "
        return self[code]


_WORDS = _Words()


def plain(text: str) -> list[str]:
    """Return words of letters and digits in lower case, as Google's rouge-score takes them from ASCII, of any script."""
    return _PLAIN.findall(unicodedata.normalize("NFKC", text).lower().translate(_WORDS))


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad(text: str) -> list[str]:
    """Return lower-case words without ASCII punctuation and English articles (SQuAD's evaluation script)."""
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()
