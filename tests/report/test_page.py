"""The report page: complete, self-contained, escaped, private where it must be, and readable on every screen."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pyarrow as pa
import pytest

from healthfm import Run, evaluate_predictions, load_run, open_dataset
from healthfm.engine.store import RunFolder
from healthfm.records import MultipleChoice, digest
from healthfm.report.page import render

EVIL = """<script>alert(1)</script>"'&<img src=x onerror=alert(1)>"""
CLASSES = ("yes", "no", "maybe")


def table(n: int = 60, classes: tuple[str, ...] = CLASSES, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(len(classes)), n)
    target = [classes[int(rng.choice(len(classes), p=row))] for row in p]
    return {
        "id": [str(20_000 + i) for i in range(n)], "options": [list(classes)] * n,
        "probabilities": p.tolist(), "target": target, "prediction": [classes[int(row.argmax())] for row in p], **more,
    }  # fmt: skip


def facts(dataset: str = "pubmedqa:pqa-l@reasoning-required", split: str = "test", **more: Any) -> dict[str, Any]:
    """What ``evaluate`` writes down of a run."""
    request = {
        "model": "smollm2-135m-instruct", "dataset": dataset, "task": "yes-no-maybe", "split": split, "shots": 2,
        "shots_from": "train", "shots_order": "first", "shot_ids": ["1", "2"], "subgroups": [], "seed": 0, "limit": 60,
        "weights": "0011223344556677", "device": "auto", "dtype": "auto", "cards": {"model": "aa", "dataset": "bb"},
    }  # fmt: skip
    return {
        "format": 1, "request": request, "plan": {"characters_per_part": 12_000, "parts": [[0, 60]], "items": "cc"},
        "protocol": {"summary": "s", "template": "Abstract: {{ context }}\nAnswer:", "follows": "lm-evaluation-harness"},
        "root": None, "classes": list(CLASSES), "majority": {"class": "yes", "accuracy": 0.552, "n": 500}, "split_records": 500,
        "lineage": {"asked": True, "overlaps": [
            {"kind": "sibling", "meaning": "the model was trained on something from the same source as this dataset",
             "path": ["smollm2", "pubmed", "pubmedqa"], "steps": ["trained on PubMed", "made from PubMed"],
             "evidence": ["paper, section 2", "paper, section 3"], "splits": []},
            {"kind": "direct", "meaning": "m", "path": ["a", "b"], "steps": ["s"], "evidence": ["e"], "splits": ["train"]},
        ]},
        "notices": ["pubmedqa, split test: 499 records read, the card says 500"],
        "data": {"shareable_inputs": True, "path": None, "columns": {}},
        "environments": [{
            "versions": {"python": "3.11"}, "hardware": {"cpu": "a processor", "cores": 2},
            "model": {"weights": "Q4_1, dequantised", "dtype": "float32", "device": "cpu"},
        }],
        **more,
    }  # fmt: skip


def by_hand(path: Path, rows: dict[str, Any] | None = None, **more: Any) -> Run:
    """A run folder as ``evaluate`` leaves it, opened again."""
    with RunFolder(path) as folder:
        folder.write_json("run.json", facts(**more))
        folder.publish(0, pa.table(rows or table()))
    return load_run(path)


def of_records(path: Path, records: list[MultipleChoice], **more: Any) -> Run:
    """A run folder over real records, all answered by their first option."""
    options = [list(one.options) for one in records]
    rows = {
        "id": [one.id for one in records], "input": [digest(one) for one in records], "options": options,
        "probabilities": [[1.0] + [0.0] * (len(keys) - 1) for keys in options],
        "prediction": [keys[0] for keys in options], "target": [one.answer for one in records], "patient": [one.patient for one in records],
    }  # fmt: skip
    return by_hand(path, rows, **more)


def text_of(html: str) -> str:
    return " ".join(lxml.html.fromstring(html).text_content().split())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two pages: of a table of predictions, and of a full run folder with long names."""
    root = tmp_path_factory.mktemp("pages")
    rows = table(**{"subgroup.site": ["north"] * 50 + ["south"] * 10, "patient": [str(i // 2) for i in range(60)]})
    plain = evaluate_predictions(table(), "yes-no-maybe", output=root / "table")
    wide = tuple(f"class-{'x' * 20}-{i}" for i in range(9))
    long = table(60, wide, **{"subgroup.a-long-name-of-a-subgroup": [f"group {'y' * 90}"] * 60})
    long["id"] = [f"{'record' * 14}-{i}" for i in range(60)]
    full = by_hand(root / "full", rows)
    crowded = by_hand(
        root / "crowded", long, classes=list(wide), majority=None, notices=["notice " + "z" * 200],
        dataset="a-data-set-whose-name-never-ends-" * 4,
    )  # fmt: skip
    return {"table": plain.report(), "full": full.report(), "crowded": crowded.report()}


# What a page says -----------------------------------------------------------------------------------------------------


def test_a_table_of_predictions_gets_a_page_though_it_has_no_split_protocol_or_model() -> None:
    html = render(evaluate_predictions(table(), "yes-no-maybe", name="mine"))
    assert "mine on a table of predictions" in text_of(html)
    assert "contamination" not in text_of(html).lower() or "Not asked" in text_of(html)


def test_a_table_without_probabilities_gets_a_page_without_calibration() -> None:
    html = render(evaluate_predictions({"id": [1, 2], "target": ["a", "b"], "prediction": ["a", None]}, "multi-class"))
    assert "Calibration" not in html
    assert "unanswered: 1 predictions" in text_of(html)


def test_a_page_states_value_interval_method_baseline_and_limits(pages: dict[str, Path]) -> None:
    for name in ("table", "full"):
        run, text = load_run(pages[name].parent), text_of(pages[name].read_text())
        accuracy = run.metrics["accuracy"]
        assert f"{100 * accuracy['value']:.1f} %" in text
        assert f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f} %" in text
        for one in run.metrics.values():
            assert one["method"] in text
            assert f"{one['low']:.3f} to {one['high']:.3f}" in text
        majority = run.scores["majority"]
        assert f"always '{majority['class']}' is right for {majority['accuracy']:.1%}" in text
        (limits,) = lxml.html.fromstring(pages[name].read_text()).find_class("limits")
        assert "not a medical device" in limits.text_content()


def test_a_full_run_states_sample_weights_notices_contamination_and_provenance(pages: dict[str, Path]) -> None:
    text = text_of(pages["full"].read_text())
    assert "Only 60 of the split's 500 questions were asked" in text
    assert "sample: 60 of 500 questions, drawn with seed 0" in text
    assert "Q4_1, dequantised" in text
    assert "the card says 500" in text
    assert "trained on something from the same source" in text and "1 more path concerns other splits only" in text
    assert "lm-evaluation-harness" in text and "0011223344556677" in text
    assert "south" in text and "too few to say" in text
    assert "patient-clustered" in text


def test_the_page_says_whether_the_accuracy_beats_the_baseline(tmp_path: Path) -> None:
    def limits(accuracy: float) -> str:
        run = by_hand(tmp_path / str(accuracy), majority={"class": "yes", "accuracy": accuracy, "n": 500})
        return text_of(render(run))

    value = by_hand(tmp_path / "run").metrics["accuracy"]["value"]
    assert "interval includes the majority baseline" in limits(value)
    assert "lies below the majority baseline" in limits(0.999)
    assert "majority baseline" not in limits(0.001).partition("Limits")[2]


def test_the_confusion_table_holds_the_counts_of_the_run(pages: dict[str, Path]) -> None:
    run = load_run(pages["full"].parent)
    rows = lxml.html.fromstring(pages["full"].read_text()).xpath("//h2[.='Confusion']/following::table[1]/tbody/tr")
    assert [[int(cell.text) for cell in row.iter("td")] for row in rows] == run.scores["confusion"]


def test_the_samples_table_marks_right_and_wrong(pages: dict[str, Path]) -> None:
    run = load_run(pages["full"].parent)
    tree = lxml.html.fromstring(pages["full"].read_text())
    right = round(run.metrics["accuracy"]["value"] * 60)
    assert len(tree.xpath("//td[@class='right']")) == right
    assert len(tree.xpath("//td[@class='wrong']")) == 60 - right
    assert "text/html" not in run.facts and tree.xpath("//html/@lang") == ["en"]


def test_only_the_first_rows_of_a_large_run_are_listed_and_the_page_says_so() -> None:
    html = render(
        evaluate_predictions({"id": range(2_500), "target": ["a"] * 2_500, "prediction": ["a"] * 2_500}, "multi-class")
    )
    assert "2000 of 2500 samples" in text_of(html)


# Safety ---------------------------------------------------------------------------------------------------------------


def assert_self_contained(html: str) -> None:
    tree = lxml.html.fromstring(html)
    assert not list(tree.iter("script", "iframe", "object", "embed", "img", "form", "base", "audio", "video"))
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            if name in (
                "src",
                "href",
                "action",
                "data",
                "poster",
                "srcset",
                "{http://www.w3.org/1999/xlink}href",
                "xlink:href",
            ):
                assert value.startswith(("#", "data:")), (element.tag, name, value)
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html
    (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert "default-src 'none'" in policy and "script" not in policy and "http" not in policy and "*" not in policy


@pytest.mark.parametrize("name", ["table", "full", "crowded"])
def test_a_page_loads_nothing_and_runs_nothing(pages: dict[str, Path], name: str) -> None:
    assert_self_contained(pages[name].read_text())


def test_every_text_of_a_run_is_escaped(tmp_path: Path) -> None:
    classes = (EVIL, "no", "maybe")
    rows = table(60, classes, **{f"subgroup.{EVIL}": [EVIL] * 60, "patient": [EVIL] * 2 + [str(i) for i in range(58)]})
    rows["id"] = [f"{EVIL}{i}" for i in range(60)]
    bad = facts(dataset=EVIL, split=EVIL)
    bad["request"] |= {"model": EVIL, "weights": EVIL, "shots": EVIL}
    overlap = {"kind": EVIL, "meaning": EVIL, "path": [EVIL], "steps": [EVIL], "evidence": [EVIL], "splits": []}
    run = by_hand(
        tmp_path, rows, classes=list(classes), notices=[EVIL], request=bad["request"], majority={"class": EVIL, "accuracy": 0.5, "n": 9},
        protocol={"template": EVIL, "follows": EVIL}, lineage={"asked": True, "overlaps": [overlap]},
        environments=[{"versions": {EVIL: EVIL}, "model": {"weights": f"dequantised {EVIL}", "dtype": EVIL, "device": EVIL}}],
    )  # fmt: skip
    html = render(run)
    assert_self_contained(html)
    assert "<script" not in html and "<img" not in html
    assert text_of(html).count("<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>") > 80


def own_manifest(folder: Path, question: str) -> Path:
    rows = [{"id": f"r{i}", "question": f"{question} {i}", "A": "one", "B": "two", "answer": "A"} for i in range(3)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def own_run(folder: Path, question: str) -> tuple[Run, Path]:
    manifest = own_manifest(folder, question)
    records: list[Any] = list(open_dataset(manifest, split="test"))
    data = {"shareable_inputs": False, "path": str(manifest), "columns": {}}
    run = of_records(
        folder / "run", records, dataset="mine@letters", data=data, classes=["A", "B"], root=str(folder), majority=None,
    )  # fmt: skip
    run.facts["request"]["task"] = "multiple-choice"  # type: ignore[index]
    return run, manifest


def test_own_data_is_shown_only_when_asked_and_then_stamped(tmp_path: Path) -> None:
    run, _ = own_run(tmp_path, "Has Mrs Smith")
    hidden = render(run)
    assert "Smith" not in hidden and "identifiers only" in hidden and 'class="stamp"' not in hidden
    shown = render(run, show_inputs=True)
    assert "Has Mrs Smith 2" in text_of(shown) and "identifiers only" not in shown
    (stamp,) = lxml.html.fromstring(shown).find_class("stamp")
    assert "may not be shared" in stamp.text_content()


def test_questions_are_escaped_too(tmp_path: Path) -> None:
    html = render(own_run(tmp_path, EVIL)[0], show_inputs=True)
    assert_self_contained(html)
    assert f"{EVIL} 0" in text_of(html)


def test_inputs_that_changed_or_went_since_the_run_are_not_shown_as_those_that_were_asked(tmp_path: Path) -> None:
    run, manifest = own_run(tmp_path, "Before")
    own_manifest(tmp_path, "After")
    assert "After" not in render(run, show_inputs=True)
    manifest.unlink()
    gone = render(run, show_inputs=True)
    assert "identifiers only" in gone and 'class="stamp"' not in gone


def test_inputs_that_may_be_shared_are_shown_without_a_stamp(tmp_path: Path, pubmedqa_root: Path) -> None:
    records: list[Any] = list(open_dataset("pubmedqa", pubmedqa_root, "test"))[:5]
    run = of_records(tmp_path, records, root=str(pubmedqa_root))
    html = render(run)
    assert records[3].question in text_of(html)
    assert 'class="stamp"' not in html
    assert records[3].context[:60] not in html


def test_inputs_that_may_not_be_shared_are_hidden_and_stamped_when_shown(tmp_path: Path, pubmedqa_root: Path) -> None:
    records: list[Any] = list(open_dataset("pubmedqa", pubmedqa_root, "test"))[:5]
    data = {"shareable_inputs": False, "path": None, "columns": {}}
    run = of_records(tmp_path, records, root=str(pubmedqa_root), data=data)
    assert records[3].question not in text_of(render(run))
    shown = render(run, show_inputs=True)
    assert records[3].question in text_of(shown) and 'class="stamp"' in shown


def test_a_table_of_predictions_has_no_inputs_to_show() -> None:
    html = render(evaluate_predictions(table(), "yes-no-maybe"), show_inputs=True)
    assert "identifiers only" in html and 'class="stamp"' not in html


# In a browser ---------------------------------------------------------------------------------------------------------

SIZES = {"phone": (375, 740), "desktop": (1280, 900)}
CONTRAST = """
(selector) => {
  const parse = (c) => { const v = c.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c.slice(0, 3); }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255]; };
  return [...document.querySelectorAll(selector)].map((e) => {
    const style = getComputedStyle(e), ink = parse(e.tagName === 'text' ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine: the page was not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page from its file, and fail at the end if it spoke to the console or asked for anything else."""
    contexts, problems = [], []

    def go(path: Path, size: str = "desktop", scheme: str = "light") -> Any:
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", lambda one: problems.append(f"request: {one.url}") if one.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        return page

    yield go
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("name", ["table", "full", "crowded"])
def test_a_page_fits_its_screen_and_can_be_read(
    visit: Callable[..., Any], pages: dict[str, Path], tmp_path: Path, name: str, size: str, scheme: str
) -> None:
    page = visit(pages[name], size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.evaluate("document.body.scrollWidth") <= SIZES[size][0]
    for selector in ("body", "p", "li", ".note", "th", "td", ".wrong", ".right", "summary", "pre", ".path", "svg text"):
        found = page.evaluate(CONTRAST, selector)
        assert found or selector in (".path", ".note"), f"nothing on the page is {selector}"
        assert min(found, default=21) >= 4.5, f"{selector}: contrast {min(found):.2f}"
    page.screenshot(path=tmp_path / f"{name}-{size}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_stamp_can_be_read(visit: Callable[..., Any], tmp_path: Path, scheme: str) -> None:
    run, _ = own_run(tmp_path, "Has Mrs Smith")
    path = tmp_path / "stamped.html"
    path.write_text(render(run, show_inputs=True))
    page = visit(path, "phone", scheme)
    assert min(page.evaluate(CONTRAST, ".stamp")) >= 4.5
    page.screenshot(path=tmp_path / f"stamped-{scheme}.png", full_page=True)


def test_hostile_text_does_nothing_in_a_browser(visit: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "evil.html"
    path.write_text(render(own_run(tmp_path, EVIL)[0], show_inputs=True))
    page = visit(path)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.reload()
    assert dialogs == []
    assert page.evaluate("document.scripts.length + document.images.length") == 0


def test_every_folded_part_opens_by_keyboard_and_shows_its_focus(
    visit: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = visit(pages["full"])
    folded = page.evaluate("document.querySelectorAll('details').length")
    assert folded == 4  # one overlap, the samples, the template, the facts
    opened = 0
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY" and not page.evaluate(
            "document.activeElement.parentElement.open"
        ):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.keyboard.press("Enter")
            opened += 1
    assert opened == folded
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")


def test_plots_have_names_for_those_who_do_not_see_them(visit: Callable[..., Any], pages: dict[str, Path]) -> None:
    page = visit(pages["full"])
    assert page.get_by_role("img", name="Metrics with 95 percent intervals").count() == 1
    assert page.get_by_role("img", name="Calibration").count() == 1
