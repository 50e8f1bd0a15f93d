"""The documentation site (``make docs``): these pages, the README, CONTRIBUTING and CHANGELOG, and the library's docstrings, by Sphinx.

Nothing is fetched. A link that leads nowhere, here or in the repository, is a warning, and ``make docs`` takes warnings for errors.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

import healthfm  # noqa: E402

project, author, release = "healthfm", "The healthfm authors", healthfm.__version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["coverage.head.md"]
myst_heading_anchors = 3
myst_enable_extensions: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = html_copy_source = html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

REPOSITORY = "https://github.com/healthfm/healthfm/blob/main"
TAKEN_IN = {
    "index": "README.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
}  # pages that are files of the root
LINK = re.compile(r"(\]\()([^()\s]+)(\))")


def linked(text: str, place: Path) -> str:
    """Return a page's text with its links as the site has them. ``place``: the folder that they are relative to.

    Of a page the page; of any other file of the repository its address there. A link to nothing stays, for Sphinx to complain of.
    """
    pages = {ROOT / file: f"{page}.md" for page, file in TAKEN_IN.items()}

    def one(match: re.Match[str]) -> str:
        path, hash_, anchor = match[2].partition("#")
        if "://" in path or not path:
            return match[0]
        file = (place / path).resolve()
        if not file.exists() or not file.is_relative_to(ROOT):
            return match[0]
        if file in pages or (file.parent == DOCS and file.suffix == ".md"):
            return f"](/{pages.get(file, file.name)}{hash_}{anchor})"
        return f"]({REPOSITORY}/{file.relative_to(ROOT)})"

    return LINK.sub(one, text)


def _page(app: Any, name: str, source: list[str]) -> None:
    if name in TAKEN_IN:
        app.env.note_dependency(str(ROOT / TAKEN_IN[name]))
        source[0] = linked((ROOT / TAKEN_IN[name]).read_text(encoding="utf-8"), ROOT) + "\n" + source[0]
    else:
        source[0] = linked(source[0], DOCS)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _page)
