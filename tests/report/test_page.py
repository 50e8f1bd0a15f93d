"""The report page: complete, self-contained, escaped, and private where it must be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lxml.html
import pytest

from healthfm import compare, evaluate_predictions, load_run, open_dataset
from healthfm.evaluate.contamination import store
from healthfm.report import comparison, plots, words
from healthfm.report.export import to_markdown
from healthfm.report.page import render
from healthfm.score.sentences import contamination_line, headline_notes
from tests.report.made import EVIL, KINDS, by_hand, facts, of_kind, of_records, own_manifest, own_run, table, text_of

# What a page says -----------------------------------------------------------------------------------------------------


def test_a_table_of_predictions_gets_a_page_though_it_has_no_split_protocol_or_model() -> None:
    html = render(evaluate_predictions(table(), "yes-no-maybe", name="mine"))
    assert "mine on a table of predictions" in text_of(html)
    assert "Lineage: not asked" in text_of(html)


def test_a_table_without_probabilities_gets_a_page_without_calibration() -> None:
    html = render(evaluate_predictions({"id": [1, 2], "target": ["a", "b"], "prediction": ["a", None]}, "multi-class"))
    assert "Calibration" not in html
    assert "unanswered: 1 prediction is missing" in text_of(html)


def test_tables_have_no_column_and_no_scale_for_what_no_row_has() -> None:
    asked = {"id": [1, 2, 3], "target": ["a", "b", "b"], "prediction": ["a", "a", "b"]}
    chances = {"options": [["a", "b"]] * 3, "probabilities": [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]}
    sure = render(evaluate_predictions({**asked, **chances}, "binary"))
    assert '<th class="number">confidence</th>' in sure
    assert '<th class="number">confidence</th>' not in render(evaluate_predictions(asked, "binary"))
    for kind, drawn in (("ordinal", True), ("perplexity", False)):
        metrics = render(of_kind(kind)).partition('<h2 id="metrics">')[2].partition("</table>")[0]
        assert ("<svg" in metrics.partition("<tfoot>")[2]) is drawn


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
    rows = lxml.html.fromstring(pages["full"].read_text()).xpath("//h2[@id='confusion']/following::table[1]/tbody/tr")
    assert [[int(cell.text) for cell in row.iter("td")] for row in rows] == run.scores["confusion"]


def test_the_samples_table_marks_right_and_wrong(pages: dict[str, Path]) -> None:
    run = load_run(pages["full"].parent)
    tree = lxml.html.fromstring(pages["full"].read_text())
    right = round(run.metrics["accuracy"]["value"] * 60)
    samples = tree.xpath("//h2[@id='samples']/following::table[1]")[0]
    assert len(samples.xpath(".//td[contains(@class, 'right')]")) == right
    assert len(samples.xpath(".//td[contains(@class, 'wrong')]")) == 60 - right
    assert tree.xpath("//html/@lang") == ["en"]


def test_the_errors_are_the_wrong_answers_the_model_was_surest_of(pages: dict[str, Path]) -> None:
    rows = load_run(pages["full"].parent).predictions.to_pylist()
    wrong = sorted((r for r in rows if r["prediction"] != r["target"]), key=lambda r: -max(r["probabilities"]))
    tree = lxml.html.fromstring(pages["full"].read_text())
    shown = tree.xpath("//h2[@id='errors']/following::table[1]/tbody/tr/td[1]/text()")
    assert shown == [row["id"] for row in wrong[:20]]
    assert f"the {len(shown)} of {len(wrong)} wrong answers" in text_of(pages["full"].read_text())


PARTS = {
    "binary": {"clinical", "confusion", "calibration", "selective", "roc", "subgroups"}, "multi-label": {"classes", "roc"},
    "regression": {"scatter", "agreement", "subgroups"}, "ordinal": {"confusion"}, "retrieval": set(), "free-text": {"judge"}, "perplexity": set(),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_the_sections_that_apply_to_its_kind_and_no_others(pages: dict[str, Path], kind: str) -> None:
    tree = lxml.html.fromstring(pages[kind].read_text())
    found = set(tree.xpath("//h2/@id")) - {"pr"}
    assert found == PARTS[kind] | {"run", "limits", "metrics", "contamination", "errors", "samples", "provenance"}
    assert {link.removeprefix("#") for link in tree.xpath("//nav/a/@href")} == found - {"run"}
    run, text = load_run(pages[kind].parent), text_of(pages[kind].read_text())
    assert all(f"{one['low']:.3f} to {one['high']:.3f}" in text for one in run.metrics.values())
    assert all(one["method"] in text for one in run.metrics.values())


def test_a_number_has_one_value_on_the_page_and_in_the_run(pages: dict[str, Path]) -> None:
    scores, text = load_run(pages["binary"].parent).scores, text_of(pages["binary"].read_text())
    half = next(
        r for c, r in zip(scores["selective"]["coverage"], scores["selective"]["risk"], strict=True) if c >= 0.5
    )
    assert f"the surest half, {100 * half:.0f} %" in text
    assert f"Expected calibration error {scores['calibration']['ece']:.3f}" in text
    odds = scores["fairness"]["sex"]["equalised_odds"]
    assert f"{odds['value']:.3f}Equalised odds" in text and f"{odds['low']:.3f} to {odds['high']:.3f}" in text
    for one in scores["subgroups"]["sex"]:
        assert f"{one['gap']:+.3f} {one['gap_low']:+.3f} to {one['gap_high']:+.3f}" in text


def test_the_errors_of_other_kinds_are_the_worst_rows(pages: dict[str, Path]) -> None:
    def shown(kind: str) -> list[str]:
        return list(
            lxml.html.fromstring(pages[kind].read_text()).xpath(
                "//h2[@id='errors']/following::table[1]/tbody/tr/td[1]/text()"
            )
        )

    rows = load_run(pages["regression"].parent).predictions.to_pylist()
    off = sorted((r for r in rows if r["prediction"] is not None), key=lambda r: -abs(r["prediction"] - r["target"]))
    assert shown("regression") == [row["id"] for row in off[:20]]
    rows = load_run(pages["perplexity"].parent).predictions.to_pylist()
    assert shown("perplexity")[0] == min(rows, key=lambda r: r["log_likelihood"])["id"]
    rows = load_run(pages["retrieval"].parent).predictions.to_pylist()
    assert set(shown("retrieval")) <= {row["id"] for row in rows if row["ranking"][0] not in row["target"]}
    rows = {row["id"]: row for row in load_run(pages["multi-label"].parent).predictions.to_pylist()}
    first = shown("multi-label")[0]
    worst = max(
        (abs(p - (name in row["target"])), row["id"])
        for row in rows.values() for name, p in zip(row["options"], row["probabilities"], strict=True) if name not in row["uncertain"]
    )  # fmt: skip
    assert first == worst[1]


def test_limits_come_from_the_facts_of_a_run(tmp_path: Path) -> None:
    def said(run: Any) -> str:
        (limits,) = lxml.html.fromstring(render(run)).find_class("limits")
        return " ".join(limits.text_content().split())

    few = said(of_kind("binary", 30))
    assert (
        "30 rows are few" in few and "15 patients" in few and "made elsewhere" in few and "name no patients" not in few
    )
    many = said(of_kind("ordinal", 120))
    assert "rows are few" not in many and "name no patients" in many
    assert "do not measure clinical correctness" in said(of_kind("free-text"))
    full = said(by_hand(tmp_path))
    assert (
        "One seed (0)" in full
        and "Q4_1, dequantised" in full
        and "One prompt was used" in full
        and "made elsewhere" not in full
    )
    half = facts()["environments"][0]["model"] | {"dtype": "bfloat16"}
    assert "ran in bfloat16" in said(by_hand(tmp_path / "half", environments=[{"model": half}]))
    drawn = facts()["environments"][0]["model"] | {"weights": "random weights, seed 0"}
    assert "unless it was trained since" in said(by_hand(tmp_path / "drawn", environments=[{"model": drawn}]))
    named = facts()["request"] | {"weights": "random"}
    assert "this is a dry run" in said(by_hand(tmp_path / "random", request=named, environments=[{"model": drawn}]))
    assert "unverified" in said(
        by_hand(tmp_path / "other", dataset="liveqa", request=facts("liveqa")["request"] | {"model": "bentsao"})
    )


def test_metrics_without_an_interval_say_so_and_why_everywhere(tmp_path: Path) -> None:
    """All rows right: every resample of a balanced accuracy is 1, and with patients every one of the accuracy too."""
    rows = {
        "id": range(40),
        "target": ["a", "b"] * 20,
        "prediction": ["a", "b"] * 20,
        "subgroup.ward": ["x"] * 20 + ["y"] * 20,
    }
    alone = evaluate_predictions(rows, "binary", output=tmp_path / "alone")
    together = evaluate_predictions({**rows, "patient": [i // 2 for i in range(40)]}, "binary", output=tmp_path / "run")
    assert alone.metrics["accuracy"]["low"] == pytest.approx(0.9124, abs=1e-4)
    assert together.metrics["accuracy"]["low"] is None and alone.metrics["balanced_accuracy"]["high"] is None
    for run in (alone, together):
        text = text_of(render(run))
        assert "no interval" in text and "degenerate: every resample gives the same value" in text
        assert "No interval is given of" in text and "which is no proof of certainty" in text
        assert "| no interval |" in to_markdown(run) and load_run(run.path or "").scores == run.scores
        assert "None" not in text + to_markdown(run)
    assert "accuracy 1.000 no interval, n = 40" in repr(together)
    pair = compare([alone, evaluate_predictions(rows, "binary", name="twin")], metrics=["kappa"])
    assert "no interval" in text_of(comparison.render(pair))


def test_probabilities_that_do_not_sum_to_one_are_noted(tmp_path: Path) -> None:
    rows = {
        "id": range(8),
        "target": ["a", "b"] * 4,
        "options": [["a", "b"]] * 8,
        "probabilities": [[0.5, 0.51]] * 6 + [[0.9, 0.4], [0.1, 0.1]],
    }
    run = evaluate_predictions(rows, "binary")
    said = "the probabilities of 25.0% of the rows do not sum to 1 (0.800 away at most)"
    assert any(one.startswith(said) for one in run.scores["rules"]) and said in text_of(render(run))
    assert not any("sum to 1" in one for one in of_kind("binary").scores["rules"])


def test_samples_of_a_split_that_was_fitted_on_too_are_counted_as_what_they_are(tmp_path: Path) -> None:
    half = facts(fitted={"fitted_on": 250})
    half["request"] |= {"task": "linear-probe", "fit_on": "test", "fitted_on": 250, "shots": None}
    more = {"request": half["request"], "split_records": 250, "majority": {"class": "yes", "accuracy": 0.55, "n": 250}}
    run = by_hand(tmp_path, **more)
    text = text_of(render(run))
    assert "is right for 55.0% of 250 of 500 samples of the split (the others were used for fitting)" in text
    assert "60 of 250 (the split's other 250 were used for fitting)" in text
    assert "Only 60 of the split's 250 samples that were not used for fitting were asked" in text


def test_a_model_that_saw_the_web_is_said_to_in_every_format(tmp_path: Path) -> None:
    run = by_hand(tmp_path, lineage={"asked": True, "overlaps": [], "crawls": ["FineWeb, 10 TB"]})
    for text in (text_of(render(run)), to_markdown(run), contamination_line(run)):
        assert "show no way by which this split reached the model; it saw web text (FineWeb, 10 TB)" in text
        assert "a web crawl may hold any public text, this dataset's too: the cards cannot tell" in text


def test_a_judge_is_held_against_people_or_said_not_to_be(pages: dict[str, Path]) -> None:
    text = text_of(pages["free-text"].read_text())
    assert "it agreed for 100%" in text and "of 59 answers that people scored too" in text
    assert "verdicts missing1, left out of the mean" in text and "no answer60, counted as not right" in text
    run = of_kind("free-text")
    alone = evaluate_predictions(run.predictions.drop_columns(["human"]), "free-text")
    said = "nobody held its verdicts against people's: how far they can be trusted is not known"
    assert said in text_of(render(alone)) and said in to_markdown(alone) and said in " ".join(headline_notes(alone))


def test_what_was_found_of_contamination_stands_on_the_page(tmp_path: Path) -> None:
    from healthfm import contamination

    run, manifest = own_run(tmp_path, "Is a rare disease with a long and winding name found in the valley")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text(
        "Before. Is a rare disease with a long and winding name found in the valley 1? After."
    )
    assert "no corpus was searched" in text_of(render(run))
    store(run, contamination(manifest, tmp_path / "corpus", run=run, show_inputs=True))
    hidden, shown = text_of(render(run)), text_of(render(run, show_inputs=True))
    assert "no corpus was searched" not in hidden and "found in" in hidden and "a.txt" in hidden
    assert "winding name" not in hidden and "winding name" in shown


def test_only_the_first_rows_of_a_large_run_are_listed_and_the_page_says_so() -> None:
    html = render(
        evaluate_predictions({"id": range(700), "target": ["a", "b"] * 350, "prediction": ["a"] * 700}, "multi-class")
    )
    assert "500 of 700 samples" in text_of(html)


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


@pytest.mark.parametrize("name", ["table", "full", "probe", "crowded", "comparison", *KINDS])
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
    errors, samples = html.split('id="errors"')[1].split('id="samples"')
    wrong = next(one for one in records if one.answer != "yes")
    assert wrong.context[:60] in errors and wrong.context[:60] not in samples


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


def test_a_table_that_carries_its_inputs_shows_them_only_when_asked() -> None:
    run = evaluate_predictions(table(input=[f"Mrs Smith {i}" for i in range(60)]), "yes-no-maybe")
    assert "Smith" not in render(run)
    shown = render(run, show_inputs=True)
    assert "Mrs Smith 7" in shown and 'class="stamp"' in shown


def test_free_answers_are_inputs_too() -> None:
    run = of_kind("free-text")
    assert "secretly" not in render(run) and "Aspirin, 100 mg" not in render(run)
    shown = render(run, show_inputs=True)
    assert "secretly" in shown and "Aspirin, 100 mg" in shown and 'class="stamp"' in shown


def test_one_of_something_is_said_as_one(pages: dict[str, Path]) -> None:
    numbers, told = (text_of(pages[name].read_text()) for name in ("regression", "clinical"))
    assert "1 prediction is missing and is left out" in numbers and "1 row without a prediction is left out" in numbers
    assert "1 of 4 groups is too small" in told and "Interval of mean absolute error, " in numbers
    assert "lower limit of agreement, upper limit of agreement" in numbers
    assert words.counted(1, "row is", "rows are") == "1 row is" and words.counted(1_000, "query") == "1,000 queries"
    assert words.listed(["recall at 1", "recall at 5"]) == "recall at 1, recall at 5"
    assert words.listed(["to text, at 1", "to text, at 5"]) == "to text, at 1; to text, at 5"


def test_no_page_says_none_where_something_was_not_asked(pages: dict[str, Path]) -> None:
    for kind, path in pages.items():
        assert not re.search(r"\bNone\b", text_of(path.read_text())), kind


def test_lists_of_samples_call_their_columns_what_they_hold_and_have_none_that_is_empty() -> None:
    texts = lxml.html.fromstring(render(of_kind("perplexity"))).xpath("//h2[@id='errors']/following::thead[1]//th")
    assert [one.text for one in texts] == ["id", "bytes", "tokens", "bits per byte"]
    n = 12
    genes = evaluate_predictions(
        {"id": [f"g{i}" for i in range(n)], "target": [[float(i), 1.0, 2.0 * i % 5] for i in range(n)], "prediction": [[float(i % 3), 2.0, 1.0] for i in range(n)]},
        "expression-regression", classes=["a", "b", "c"],
    )  # fmt: skip
    heads = lxml.html.fromstring(render(genes)).xpath("//h2[@id='errors']/following::thead[1]//th")
    assert [one.text for one in heads] == ["id", "correlation"]


def test_a_headline_without_an_interval_says_so_once(tmp_path: Path) -> None:
    html = render(
        evaluate_predictions({"id": ["a", "b"], "target": [1.0, 2.0], "prediction": [1.0, 2.0]}, "regression")
    )
    [said] = lxml.html.fromstring(html).find_class("of")
    assert " ".join(said.text_content().split()) == "no interval, n = 2"
    assert 'data-name="95 %"' not in html.partition('id="metrics"')[2].partition("</table>")[0]


def test_the_same_number_has_the_same_interval_everywhere(pages: dict[str, Path]) -> None:
    page = lxml.html.fromstring(pages["clinical"].read_text())
    [asked] = [row for row in page.iter("tr") if "(asked)" in row.text_content()]
    told = next(row for row in page.iter("tr") if row.text_content().startswith("net benefit"))
    assert asked.findall("td")[2].text == told.findall("td")[1].text != ""


def test_intervals_have_the_colour_of_their_line() -> None:
    point = {"low": 0.2, "high": 0.9, "value": 0.5, "n": 9, "method": "m"}
    points = [{**point, "by": name, "shots": shots} for name in ("adapter", "probe") for shots in (1, 2)]
    drawn, _ = plots.few_labels({"zero": point, "by": ["adapter", "probe"], "points": points})
    assert drawn.count('class="whisker c1"') == drawn.count('class="whisker c2"') == 2


def test_a_title_breaks_at_its_signs_and_is_escaped() -> None:
    assert words.broken("roco:radiology#retrieval <b>") == "roco<wbr>:radiology<wbr>#retrieval &lt;b&gt;"


def test_sentences_call_metrics_as_tables_do() -> None:
    none = "No interval is given of macro-f1, mcc, image-to-text-recall-1: every resample"
    assert (
        words.renamed(none)
        == "No interval is given of macro-F1; Matthews correlation; image to text, recall at 1: every resample"
    )
    assert words.renamed("over 4 prompts macro-auroc goes up, a-data-macro-f1 and macro-f1x do not") == (
        "over 4 prompts macro-AUROC goes up, a-data-macro-f1 and macro-f1x do not"
    )
