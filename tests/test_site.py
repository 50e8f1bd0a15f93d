"""The documentation site: every public name is on it, its links are those of the repository, and a link to nothing stops the build."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import healthfm

ROOT = Path(__file__).parents[1]
SITE = runpy.run_path(str(ROOT / "docs" / "conf.py"))


def test_every_public_name_has_its_docstring_on_the_page_of_the_library() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    shown = set(re.findall(r"auto(?:function|class):: (\w+)", page))
    errors = {name for name in healthfm.__all__ if name.endswith("Error") or name == "MissingExtra"}
    cards = {"ModelCard", "DatasetCard"}  # what TOML files hold: their fields are documented where they are declared
    assert shown | errors | cards == set(healthfm.__all__) and "automodule:: healthfm.errors" in page


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^([a-z-]+)$", (ROOT / "docs" / "index.md").read_text(), re.M))
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index", "coverage.head"}
    assert pages == listed


def test_links_lead_to_pages_to_the_repository_or_stay_to_be_complained_of() -> None:
    def linked(text: str, place: str) -> str:
        return str(SITE["linked"](text, ROOT / place))

    assert linked("[a](docs/runs.md#many-runs)", ".") == "[a](/runs.md#many-runs)"
    assert linked("[a](runs.md), [b](#here)", "docs") == "[a](/runs.md), [b](#here)"
    assert linked("[a](CONTRIBUTING.md)", ".") == "[a](/contributing.md)"
    assert linked("[a](Dockerfile) [b](../src/healthfm)", "docs").endswith(
        "[b](https://github.com/healthfm/healthfm/blob/main/src/healthfm)"
    )
    assert linked("[a](LICENSE)", ".") == "[a](https://github.com/healthfm/healthfm/blob/main/LICENSE)"
    assert (
        linked("[a](gone.md) [b](https://x.org/y) [c](/etc/passwd)", "docs")
        == "[a](gone.md) [b](https://x.org/y) [c](/etc/passwd)"
    )


@pytest.mark.parametrize(("link", "right"), [("b.md#there", True), ("b.md#gone", False), ("gone.md", False)])
def test_a_link_to_nothing_stops_the_build(tmp_path: Path, link: str, right: bool) -> None:
    pytest.importorskip("myst_parser", reason="the site's generator is not installed")
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\nmyst_heading_anchors = 3\n')
    (tmp_path / "index.md").write_text(f"# A\n\n[one]({link})\n\n```{{toctree}}\nb\n```\n")
    (tmp_path / "b.md").write_text("# B\n\n## There\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "dummy", str(tmp_path), str(tmp_path / "out")]
    assert (subprocess.run(command, capture_output=True).returncode == 0) is right
