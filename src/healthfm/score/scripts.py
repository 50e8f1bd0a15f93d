"""Scripts that put no blanks between words: each of their letters counts as a word, wherever text is taken as words."""

from __future__ import annotations

import re

# Han with its radicals and marks, Bopomofo, kana; Thai, Lao, Burmese, Khmer, the Tai scripts, Yi. Korean has blanks.
RANGES = (
    "\u0e01-\u0e2f\u0e30-\u0e3a\u0e40-\u0e4e\u0e80-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109d\u1780-\u17d3\u17d7\u17dc\u17dd"
    "\u1950-\u19cf\u1a20-\u1a7f\u1aa7\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaadf\uf900-\ufaff"
    "\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
SPACELESS = re.compile(f"[{RANGES}]")
_SEAM = re.compile(rf"(?<=\S)(?=[{RANGES}])|(?<=[{RANGES}])(?=[^\W_])")


def spaceless(text: str) -> bool:
    """Say whether a text has letters of a script that puts no blanks between words."""
    return SPACELESS.search(text) is not None


def spaced(text: str) -> str:
    """Return a text with a blank before each letter of a spaceless script, and between it and a letter of another one."""
    return _SEAM.sub(" ", text)
