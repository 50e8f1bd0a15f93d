"""healthfm's own reader of written answers, for prompts that name no other: the option that a text states, or None.

None is never a guess: what two readings fit, what is denied, supposed or asked, and a text cut off within its thoughts state
nothing. docs/parsers.md holds the rule against the published extractors, answer by answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

NEAR, FAR = 300, 2000  # characters looked at before and behind what says that an answer follows
SEVERAL = ""  # a statement of more than one option, or of one that its own words contradict

# How a text is laid out -------------------------------------------------------------------------------------------------

THOUGHTS = re.compile(r"(?s)\A.*</(?:think|thinking|thought|reasoning)>|<(?:think|thinking|thought|reasoning)>.*\Z")
DRESS = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|rm|bf)\s*\{([^{}]*)\}")
BOXED = re.compile(r"\\f?boxed\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\w))")
TAGGED = re.compile(r"(?is)<(answer|final_answer|choice)>(.*?)</\1>")
FIELD = re.compile(
    r"[\"'](?i:(?:final|correct|best|predicted|selected|chosen)?[_ ]?(?:answer|choice|option|selection)(?:[_ ](?:choice|option|letter|key|idx|index))?|letter|答案)[\"']"
    r"\s*:\s*(?:\[\s*)?(?:\"([^\"\n]*)\"|'([^'\n]*)'|(\d+))(?=(\s*,\s*[\"'\d])?)"
)
MARKS = re.compile(r"\*+|`+|\$|__|\\[()\[\]]|</?(?:b|i|u|em|strong|p|span|br)\b[^<>]*>|(?m:^[ \t]*(?:#+|>|[-•])[ \t]+)")
TURN = re.compile(r"\n\s*(?:question|q|user|human|problem|问题)\s*\d*\s*[:.]", re.IGNORECASE)

# What says that an answer follows ----------------------------------------------------------------------------------------

IS = r"(?:\s*(?:\bis\b|\bwas\b|\bwould\s+be\b|\bshould\s+be\b|\bmust\s+be\b|\bwill\s+be\b|=)\s*:?|\s*:|\s+[-–—]\s|(?<=answer)\s*\n)"
LEADS = re.compile(
    r"\b(?:answer|option|choice|letter)(?:\s+(?:choice|option|letter|key|number))?(?:\s*\([^()\n]{0,30}\))?"
    rf"(?:\s+(?:here|to|for|of|in)\b[^.:;?!\n]{{0,60}}?)?{IS}\s*"
    r"|\b(?:choose|select|pick|go\s+with|opt\s+for|chose|selected|picked)\s+"
    r"|\b(?:respuesta|resposta|risposta|réponse|antwort|ответ)(?:\s+(?:correcta|correta|corretta|correcte|richtige))?\s*(?:\b(?:es|é|è|est|ist)\b|:|-)\s*"
    r"|(?:答案|(?:正确|最佳|最合适的)选项|正解|答え|정답|답)\s*[】\])]?\s*(?:应该|应当|应|就|最可能)?\s*(?:是|为|選|选|は|は|은|는|:)?\s*:?\s*(?:选项)?\s*"
    r"|(?:选择?|選択?)(?!项|項)\s*(?:是|为|:)?\s*|答\s*:\s*",
    re.IGNORECASE,
)
SUPPOSED = re.compile(r"\b(?:if|unless|whether|suppose|supposing|assuming|were)\b|如果|假如|是否", re.IGNORECASE)
DENIED = re.compile(
    r"\b(?:not|never|no|neither|nor|cannot|why|wrong|incorrect|false|other|another|alternative|distractor|least|worst|second|next|"
    r"previous|initial|first|tempting|popular|sample|example|possible|your|their|could|might|may|wouldn|thought|multiple|following|each|any|eliminate|"
    r"instead\s+of|rather\s+than|(?:many|some|most|people|students|others|they|you|one|he|she|who)\s+(?:\w+\s+)?(?:think|say|believe|assume|argue|claim)\w*)\b|n't\b|(?:不|非|别|勿|误|排除|干扰|其他|错误)[^,。;]{0,3}$",
    re.IGNORECASE,
)
RETRACTED = re.compile(
    r"\b(?:wait\s*(?:[,.!…-]|no\b|\Z)|actually\s*,?\s*no\b|correction\b|on\s+second\s+thought|scratch\s+that|my\s+mistake|i\s+was\s+wrong)",
    re.IGNORECASE,
)
WRONG = re.compile(
    r"[\s()\[\]:.,–—-]*(?:is\s+|are\s+)?(?:wrong|incorrect|false|no(?=\s*(?:[.,;!]|\Z))|not\s+(?:correct|right|the|appropriate|indicated|likely))\b",
    re.IGNORECASE,
)
FILLER = re.compile(
    r"(?:[\s\"'(\[{<:“”‘’「『【]|(?:most\s+(?:likely|probably)|likely|probably|clearly|definitely|certainly|therefore|thus|hence|indeed|simply|"
    r"obviously|actually|still|just|the|correct|best|right|option|choice|letter|number|answer|only|going\s+to\s+be)\b|选项)*",
    re.IGNORECASE,
)
ENDED = re.compile(
    r"\s*(?:\Z|[)\]}\"'>”’」』】!。;:：、]|\.(?!\d)|,(?!\d)|[-–—]\s|\()|\s+(?:because|since|as|due|based|given|which|rather|over|not)\b|\s*(?:选项|项|因为|由于|正确|です|だ)"
)
SAID_ON = re.compile(r"\s+(?:it|they|he|she|this|these|there)\b", re.IGNORECASE)  # "Yes it does"
CLOSED = re.compile(r"\s*[)\]}\"'>”’.:」』】]")
TEXT_ENDED = re.compile(
    r"\s*(?:\Z|\.(?!\d)|[)\];:!\"'”。；\n]|[-–—]\s|\((?!\s*(?:or|and|not)\b))|,?\s+(?:because|since|due|given|based|which)\b|,\s*(?:as|so|not)\b",
    re.IGNORECASE,
)
BINOMIAL = re.compile(  # "E. coli" is no option E
    r"\.\s*(?:coli|difficile|diff|aureus|pylori|cereus|baumannii|pneumoniae|albicans|neoformans|elegans|perfringens|tetani|botulinum|"
    r"influenzae|meningitidis|gonorrhoeae|fragilis|anthracis|pertussis|burgdorferi|henselae|trachomatis|jejuni|faecalis|faecium|"
    r"epidermidis|pyogenes|agalactiae|aeruginosa|fumigatus|histolytica|lamblia|vivax|falciparum|solium|saginata)\b"
)
CONFIRMED = (
    r"\s*(?:\bis\b|\bwould\s+be\b|\bseems\b|\bappears(?:\s+to\s+be)?\b)\s+(?:(?:the|clearly|definitely|thus|therefore|probably|likely)\s+)*"
    r"(?:(?:single\s+)?(?:correct|best)|right(?=\s*(?:[.,;!)]|$|because|since|here|answer|choice|option))|most\s+(?:likely|appropriate|accurate|suitable|probable)|answer)\b"
    r"(?!\s+(?:wrong|incorrect|not|false|for|in|if|only|when)\b)"
)
BEFORE_KEY = (
    r"(?:\A|[\n.!?;:,(]\s*|\b(?:option|choice|answer|that|so|thus|hence|therefore|because)\s+|选项)[\"'(\[]{0,4}"
)
ARTICLES = frozenset({"a", "an", "the"})
WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s.,;:!?()\[\]{}\"'。]")


@dataclass(frozen=True)
class _Options:
    """The keys of a question, as one pattern, and the words of each option's text."""

    keys: Sequence[str]
    pattern: str
    texts: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, keys: Sequence[str], options: Mapping[str, str] | None) -> _Options:
        one = "|".join(sorted(map(re.escape, keys), key=len, reverse=True))
        words = [(tuple(w for w, _ in _words(_bare(text))), key) for key, text in (options or {}).items()]
        alone = {w: key for w, key in words if w and sum(w == other for other, _ in words) == 1}
        return cls(keys, one, alone)

    def key(self, written: str) -> str | None:
        """Return the key that was written, in its own case where several differ by that alone."""
        if written in self.keys:
            return written
        found = [key for key in self.keys if key.lower() == written.lower()]
        return found[0] if len(found) == 1 else None

    def text_at(self, segment: str) -> tuple[str, int] | None:
        """Return the option whose whole text opens a segment, the longest, and where it ends; None where more words follow."""
        spans = _words(segment)
        words = [word for word, _ in spans]
        for wanted in sorted(self.texts, key=len, reverse=True):
            if tuple(words[: len(wanted)]) == wanted:
                end = spans[len(wanted) - 1][1]
                return (self.texts[wanted], end) if TEXT_ENDED.match(segment, end) else None
        return None


def stated_answer(text: str, keys: Sequence[str], options: Mapping[str, str] | None = None) -> str | None:
    """Return the key of the option that a text states, or None. ``options``: their texts by key, which may be stated instead.

    The last statement counts ("the answer is B", "Answer: B", ``\\boxed{B}``, a JSON field, "故选B"), else what the text opens or
    closes with or says to be correct, where that is one option. Letters count as written, small ones only in a statement or in brackets.
    """
    known = _Options.of(keys, options)
    plain = _bare(text)
    said = [(end, one) for end, one in _statements(plain, known) if one is not None]
    if said:
        end, last = said[-1]
        return None if RETRACTED.search(plain, end) else last or None
    beside = {
        one for one in (*_confirmed(plain, known), _opening(plain, known), _closing(plain, known)) if one is not None
    }
    return next(iter(beside)) or None if len(beside) == 1 else None


def _bare(text: str) -> str:
    """Return a text without thoughts, dress and further questions; boxes, tags and fields become lines "Answer: ..."."""
    plain = THOUGHTS.sub("", unicodedata.normalize("NFKC", text).replace("’", "'"))
    for _ in range(2):
        plain = DRESS.sub(r"\1", plain)
    plain = BOXED.sub(lambda m: f"\nAnswer: {m[1] or m[2] or ''}\n", plain)
    plain = TAGGED.sub(lambda m: f"\nAnswer: {m[2].strip()}\n", plain)
    plain = FIELD.sub(
        lambda m: f"\nAnswer: {m[1] or m[2] or m[3] or ''}{' and more' if m[4] and '[' in m[0] else ''}\n", plain
    )
    plain = MARKS.sub("", plain).strip()
    return TURN.split(plain, maxsplit=1)[0]


def _words(text: str) -> list[tuple[str, int]]:
    """Return the words and signs of a text with their ends, in lower case, without articles (the A of "vitamin A" is none)."""
    joined = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", text)
    found = [(m[0], m.end()) for m in WORD.finditer(joined)]
    return [
        (word.casefold(), end) for i, (word, end) in enumerate(found)
        if len(found) == 1 or not (word in ARTICLES or (i == 0 and word.lower() in ARTICLES))
    ]  # fmt: skip


def _statements(text: str, known: _Options) -> Iterator[tuple[int, str | None]]:
    """Yield where each statement's lead ends, and what it says: a key, ``SEVERAL``, or None where it names no option."""
    for lead in LEADS.finditer(text):
        sentence = re.split(r"[.!?\n;。!?]", text[max(0, lead.start() - NEAR) : lead.start()])[-1]
        if SUPPOSED.search(sentence) or DENIED.search(re.split(r"[,:]|\s[-–—]\s|\bbut\b|\bso\b", sentence)[-1]):
            continue
        after = text[lead.end() : lead.end() + FAR]
        segment, _, rest = after.partition("\n")
        if re.match(r"[^.\n]{0,40}\?", segment):
            continue
        if "\n" in lead[0] and _listing([segment, *rest.split("\n")], known):
            yield lead.end(), SEVERAL
            continue
        yield lead.end(), _read(segment, known)


def _read(segment: str, known: _Options) -> str | None:
    """Return the option that a segment opens with, by key or by text."""
    start = FILLER.match(segment).end()  # type: ignore[union-attr]
    found = re.compile(rf"({known.pattern})(?![A-Za-z0-9])", re.IGNORECASE).match(segment, start)
    whole, cut = known.text_at(segment), known.text_at(segment[start:])
    by_text = whole or ((cut[0], start + cut[1]) if cut else None)
    key = known.key(found[1]) if found else None
    if found is None or key is None:
        return by_text[0] if by_text else None
    rest = segment[found.end() :]
    if by_text is not None and by_text[1] > found.end():  # "A viral infection", "E. coli"
        return by_text[0]
    if by_text is not None and by_text[0] != key:  # the key of one option is the text of another
        return SEVERAL
    if _another(rest, key, known):
        return SEVERAL
    return key if _ended(found[1], segment[:start], rest, known) else None


def _another(rest: str, key: str, known: _Options) -> bool:
    """Whether what follows a key names another option: a second key, or another's text."""
    more = rf"[)\]\"'.]*\s*(?:(?:,|/|&|\+|、|\band\b|\bor\b|和|或|及|与|と)\s*)+(?:both\s+)?(?:option\s+|choice\s+)?[(\[\"']*({known.pattern})(?![A-Za-z0-9])(?!\s+(?:is|are)\s+(?:wrong|incorrect|not))"
    if re.match(r"[)\]\"'.]*\s*,?\s*(?:\bor\b|或)", rest):
        return True
    second = re.match(more, rest) or re.match(rf"\s*[:.)]+\s*[(\[]*({known.pattern})[)\].]*\s*$", rest)
    if second and known.key(second[1]) not in (None, key):
        return (
            len(second[1]) == 1 or re.match(r"\s*(?:\Z|[.,;/)!])", rest[second.end() :]) is not None
        )  # "Yes, no difference"
    own = re.match(r"[\s)\]}\"'.,:;(–—-]+", rest)
    by_text = known.text_at(rest[own.end() :]) if own else None
    return by_text is not None and by_text[0] != key


def _ended(written: str, before: str, rest: str, known: _Options) -> bool:
    """Whether a key stands for itself, and is no word or part of what follows ("A patient", "B cells", "E. coli", "2.5 mg")."""
    if BINOMIAL.match(rest) and len(written) == 1:
        return False
    if len(written) > 1 and SAID_ON.match(rest):
        return True
    if not ENDED.match(rest) or re.match(r"'s\b", rest):
        return False
    if len(written) > 1 or not written.islower():
        return True
    wrapped = bool(re.search(r"[(\[\"']\s*$", before)) or bool(CLOSED.match(rest))
    alone = bool(re.match(r"\s*(?:\Z|[)\]}\"'.,;:!])", rest))
    return wrapped or (alone and written not in "aeioy")  # a cut text can end with an article


def _listing(lines: Sequence[str], known: _Options) -> bool:
    """Whether lines open with different keys: options listed, or steps counted."""
    opened = (re.match(rf"\s*[(\[]?({known.pattern})\s*[).:\]]", line) for line in lines)
    return len({m[1] for m in opened if m}) > 1


def _opening(text: str, known: _Options) -> str | None:
    lines = re.sub(r"(?i)\b(?:option|choice)\s+", "", text).split("\n")
    if _listing([one for line in lines for one in re.split(r"(?<=[.;,])\s+", line)], known):
        return None
    first = text.split("\n")[0].strip()
    by_text = known.text_at(first)
    if by_text is not None and re.fullmatch(r"[\s.!。)\]]*", first[by_text[1] :]):
        bare = known.key(re.sub(r"\W", "", first))
        return by_text[0] if bare in (None, by_text[0]) else SEVERAL
    found = re.match(
        rf"(?i:(?:the\s+)?(?:option\s|choice\s|选项)\s*)?[\s(\[\"']*({known.pattern})(?![A-Za-z0-9])",
        first,
        re.IGNORECASE,
    )
    if found is None:
        return None
    written, rest = found[1], first[found.end() :]
    if len(written) == 1 and WRONG.match(rest):
        return None
    if len(written) == 1 and written.islower() and written not in known.keys and not CLOSED.match(rest):
        return None
    if written.isdigit() and rest.strip(" .):]"):  # "1. First, ..." counts steps
        own = re.match(r"[\s.):\]]+", rest)
        stated = known.text_at(rest[own.end() :]) if own else None
        return stated[0] if stated and stated[0] == known.key(written) else None
    return _read(first[found.start(1) - (first[: found.start(1)].endswith("(")) :], known)


def _closing(text: str, known: _Options) -> str | None:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) < 2 or _listing(lines, known):
        return None
    found = re.fullmatch(rf"(?i:[(\[\"']*({known.pattern})[)\]\"'.]*(?:\s*[:.)]\s*(.+))?)", lines[-1])
    if found is None or (len(found[1]) == 1 and found[1].islower() and found[1] not in known.keys):
        return None
    key = known.key(found[1])
    stated = known.text_at(found[2]) if found[2] else None
    return key if found[2] is None or (stated is not None and stated[0] == key) else None


def _confirmed(text: str, known: _Options) -> Iterator[str]:
    """Yield the keys that a text calls correct, that "it is", or that it ends on ("so B"; a word may only go on)."""
    letters = rf"(?-i:{known.pattern})"
    single = "|".join(re.escape(key) for key in known.keys if len(key) == 1)
    called = rf"{BEFORE_KEY}({letters})[\"')\]]*(?:{CONFIRMED}|\s*(?:选项|项)?\s*(?:是)?(?:正确|对的)(?!吗))"
    meant = rf"\b(?:it|this)(?:\s+is|'s|\s+must\s+be|\s+should\s+be)\s+(?:most\s+likely\s+|probably\s+|definitely\s+|clearly\s+)?[(\[\"']*({letters})(?![A-Za-z0-9])"
    ended = rf"\b(?:thus|therefore|hence|so)\b,?\s+[(\[\"']*((?-i:{single}))(?![A-Za-z0-9])"
    for pattern in (called, meant, *([ended] if single else [])):
        for found in re.finditer(pattern, text, re.IGNORECASE):
            sentence = re.split(r"[.!?\n;。]", text[max(0, found.start(1) - NEAR) : found.start(1)])[-1]
            key, rest = known.key(found[1]), text[found.end(1) : found.end(1) + FAR]
            if key is None or SUPPOSED.search(sentence) or DENIED.search(re.split(r",", sentence)[-1]):
                continue
            if pattern is called or _ended(found[1], "", rest, known):
                yield SEVERAL if _another(rest, key, known) else key
