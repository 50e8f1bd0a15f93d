"""What CLIP's owners do to a text before its tokenizer: ``ftfy.fix_text``, then two rounds of ``html.unescape`` (openai/CLIP ``simple_tokenizer.py``).

All of ftfy 6.3.1 that is plain replacement stands here. What it guesses, texts that were decoded by a wrong encoding, stays as it is.
"""

from __future__ import annotations

import html
import unicodedata

JOINED = "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬅﬆ"  # two letters that are one character
SINGLE, DOUBLE = "ʼ‘’‚‛", "“”„‟"  # quotation marks that lean
CONTROLS = (
    range(0x00, 0x09),
    (0x0B,),
    range(0x0E, 0x20),
    (0x7F,),
    range(0x206A, 0x2070),
    (0xFEFF,),
    range(0xFFF9, 0xFFFD),
)
WIDE = range(0xFF01, 0xFFF0)  # forms for East Asian print, of its width
PLAIN: dict[int, str | None] = {
    **{code: unicodedata.normalize("NFKC", chr(code)) for code in (*WIDE, 0x3000)},
    **{ord(one): unicodedata.normalize("NFKC", one) for one in JOINED},
    ord("ﬅ"): "ſt", **dict.fromkeys(map(ord, SINGLE), "'"), **dict.fromkeys(map(ord, DOUBLE), '"'),
    **{code: None for codes in CONTROLS for code in codes},
}  # fmt: skip


def repaired(text: str) -> str:
    """Return a text with plain letters, quotation marks and entities, composed (NFC)."""
    whole = html.unescape(text) if "<" not in text else text  # ftfy takes what has a tag for HTML
    made = unicodedata.normalize("NFC", whole.translate(PLAIN))
    return html.unescape(html.unescape(made)).strip()
