"""Pages in headless Chromium: they fit a phone, can be read in light and dark, work by keyboard, and ask for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from healthfm.report.page import render
from tests.report.made import EVIL, KINDS, own_run

TEXT, LINES = 4.5, 3.0  # the contrast that text and graphics need (WCAG 2.2, 1.4.3 and 1.4.11)
SIZES = {"phone": (375, 740), "desktop": (1280, 900)}
CONTRAST = """
(selectors) => {
  const parse = (c) => { const v = c.match(/[\\d.]+/g).map(Number).map((x, i) => (c.startsWith('color(') && i < 3 ? 255 * x : x));
    return v.length < 4 ? [...v, 1] : v; };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const root = matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255], known = new Map([[null, root]]);
  const behind = (e) => {
    if (!known.has(e)) { const c = parse(getComputedStyle(e).backgroundColor); known.set(e, c[3] === 1 ? c.slice(0, 3) : behind(e.parentElement)); }
    return known.get(e); };
  const contrast = (e) => {
    const style = getComputedStyle(e), ink = parse(e.tagName === 'text' ? style.fill : e.matches('.mark') ? style.stroke : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const found = {};
  for (const one of selectors) {
    const all = [...document.querySelectorAll(one)];
    if (all.length) found[one] = Math.min(...all.map(contrast));
  }
  return found;
}"""

READ = (
    "body", "p", "li", ".note", "th", "td", "small", ".wrong", ".right", "summary", "pre", ".path", "svg text", "nav a", "dt", "dd", ".key li", "figcaption", ".answers li",
)  # fmt: skip


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """One page of one Chromium: a new process for every page that is looked at takes longer than the look."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine: the page was not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched.new_page()
        launched.close()


@pytest.fixture
def visit(tab: Any) -> Iterator[Callable[..., Any]]:
    """Open a page from its file, and fail at the end if it spoke to the console or asked for anything else."""
    asked: list[str] = []
    problems: list[str] = []
    heard = {
        "console": lambda message: problems.append(f"console: {message.text}"),
        "pageerror": lambda error: problems.append(f"error: {error}"),
        "request": lambda one: problems.append(f"request: {one.url}") if one.url not in asked else None,
    }
    for name, hear in heard.items():
        tab.on(name, hear)

    def go(path: Path, size: str = "desktop", scheme: str = "light") -> Any:
        asked[:] = [path.as_uri()]
        seen_as(tab, size, scheme)
        tab.goto(path.as_uri())
        tab.wait_for_load_state()
        return tab

    yield go
    for name, hear in heard.items():
        tab.remove_listener(name, hear)
    assert problems == []


def seen_as(page: Any, size: str, scheme: str) -> None:
    """Show a page on a screen of this size, light or dark."""
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(media="screen", color_scheme=scheme)


def contrast(page: Any, *selectors: str) -> dict[str, float]:
    """Return the least contrast of what each selector finds; a selector that finds nothing is left out."""
    found: dict[str, float] = page.evaluate(CONTRAST, [*selectors])
    return found


@pytest.mark.parametrize(
    "name", ["full", "probe", "crowded", "comparison", "leaderboard", "clinical", "pictures", *KINDS]
)
def test_a_page_fits_its_screen_and_can_be_read(visit: Callable[..., Any], pages: dict[str, Path], name: str) -> None:
    page = visit(pages[name])
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    for size, scheme in (("phone", "dark"), ("desktop", "light")):
        seen_as(page, size, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        assert page.evaluate("document.body.scrollWidth") <= SIZES[size][0]
        words = contrast(page, *READ)
        assert {"body", "p", "li", ".note", "th", "td", "svg text", "nav a"} <= set(words)
        assert {selector: value for selector, value in words.items() if value < TEXT} == {}
        lines = contrast(page, "svg .c1, svg .c2, svg .c3, svg .c4, svg .c5, svg .c6, svg .mark")
        assert min(lines.values(), default=LINES) >= LINES


def test_a_map_fits_its_screen_and_its_signs_can_be_seen(visit: Callable[..., Any], pages: dict[str, Path]) -> None:
    page = visit(pages["map"])
    for size, scheme in (("phone", "dark"), ("desktop", "light")):
        seen_as(page, size, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        words = contrast(page, "p", "li", "svg text", ".key li", ".note")
        assert len(words) == 5 and min(words.values()) >= TEXT
        assert contrast(page, "svg .point")["svg .point"] >= LINES


def test_a_phone_breaks_no_heading_within_a_word_and_names_what_wide_screens_name_in_headings(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    words = """[...document.querySelectorAll('.scroll table:not(.forest) thead th')].flatMap((head) => { const range = document.createRange();
      return [...head.childNodes].filter((one) => one.nodeType === 3).flatMap((one) => [...one.data.matchAll(/[\\w%]+/g)].map((word) => {
        range.setStart(one, word.index); range.setEnd(one, word.index + word[0].length); return [word[0], range.getClientRects().length]; })); })"""
    found = visit(pages["clinical"], "phone").evaluate(words)
    assert len(found) > 10 and [word for word, lines in found if lines > 1] == []
    page = visit(pages["full"], "phone")
    names = page.evaluate(
        "[...document.querySelectorAll('#classes + table tbody tr:first-child td[data-name]')].map((one) => one.dataset.name)"
    )
    assert names == ["AUROC", "average precision"]
    assert (
        page.get_by_text("Dashed: commonest class.").is_visible() and page.get_by_text("Dashed: chance.").is_visible()
    )
    assert not visit(pages["full"]).get_by_text("Dashed: chance.").is_visible()


def test_a_page_that_cannot_be_read_is_found_out(
    visit: Callable[..., Any], pages: dict[str, Path], tmp_path: Path
) -> None:
    pale = tmp_path / "pale.html"
    pale.write_text(
        pages["full"]
        .read_text()
        .replace("--muted: #566372", "--muted: #9aa4ae")
        .replace("--c1: #0b62c4", "--c1: #9cc4f4")
    )
    page = visit(pale)
    found = contrast(page, ".note", "svg .c1")
    assert found[".note"] < TEXT and found["svg .c1"] < LINES


def test_the_stamp_can_be_read(visit: Callable[..., Any], tmp_path: Path) -> None:
    run, _ = own_run(tmp_path, "Has Mrs Smith")
    path = tmp_path / "stamped.html"
    path.write_text(render(run, show_inputs=True))
    page = visit(path, "phone")
    for scheme in ("light", "dark"):
        seen_as(page, "phone", scheme)
        assert contrast(page, ".stamp")[".stamp"] >= TEXT


def test_hostile_text_does_nothing_in_a_browser(visit: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "evil.html"
    path.write_text(render(own_run(tmp_path, EVIL)[0], show_inputs=True))
    page = visit(path)
    dialogs: list[str] = []

    def heard(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    page.reload()
    page.remove_listener("dialog", heard)
    assert dialogs == []
    assert page.evaluate("document.scripts.length + document.images.length") == 0


def test_every_folded_part_and_wide_table_is_reached_by_keyboard_and_shows_its_focus(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["full"])
    folded = page.evaluate("document.querySelectorAll('details').length")
    assert folded == 4  # one overlap, the samples, the template, the facts
    opened, seen = 0, set()
    for _ in range(60):
        page.keyboard.press("Tab")
        tag = page.evaluate("document.activeElement.tagName")
        if tag == "BODY":
            break
        seen.add(tag)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") in ("solid", "auto")
        if tag == "SUMMARY" and not page.evaluate("document.activeElement.parentElement.open"):
            page.keyboard.press("Enter")
            opened += 1
    assert opened == folded and {"A", "SUMMARY", "DIV"} <= seen
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert page.evaluate("[...document.querySelectorAll('nav a')].every((one) => document.querySelector(one.hash))")


def test_plots_have_names_and_words_for_those_who_do_not_see_them(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["binary"])
    names = (
        "accuracy with its 95 percent interval",
        "Calibration: accuracy against confidence",
        "ROC",
        "Precision and recall",
        "Risk and coverage",
    )
    for name in names:
        assert page.get_by_role("img", name=name, exact=True).count() == 1
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every((one) => one.ariaHidden === 'true' || one.querySelector('desc').textContent)"
    )


def test_a_printed_page_is_light_and_leaves_nothing_folded_but_the_samples(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["full"], scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    assert page.locator("details:has(pre.wrap) pre").is_visible()
    assert not page.locator("#samples").is_visible() and not page.locator("nav").is_visible()
    assert page.pdf()[:5] == b"%PDF-"
