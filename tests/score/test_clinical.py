"""The clinical reading against statsmodels, scikit-learn, published examples and sums done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import roc_auc_score

import healthfm as hfm
from healthfm.cards.schema.dataset import Labels
from healthfm.errors import RunError
from healthfm.evaluate.provenance import card_digest, positive_of
from healthfm.score import clinical
from healthfm.score.scoring import check_table
from healthfm.score.statistics import decision, recalibration
from healthfm.score.tables import as_table
from tests.cli.command import run as command
from tests.report.made import by_hand, of_kind

PAIR = ["well", "sick"]


def table(truth: Any, risk: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": [f"r{i}" for i in range(len(truth))], "target": [PAIR[int(one)] for one in truth], "options": [PAIR] * len(truth),
        "probabilities": [[1 - float(p), float(p)] for p in risk], **more,
    }  # fmt: skip


def reading(truth: Any, risk: Any, asked: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The reading of a table with the risk of being sick, at a threshold of 0.3 unless ``asked`` otherwise."""
    checked = check_table(as_table(table(truth, risk, **more)), "binary", PAIR)
    return clinical.clinical(
        checked, "binary", PAIR, clinical.Asked(**{"positive": "sick", "threshold": 0.3, **(asked or {})}), 0
    )


def drawn(n: int = 300, seed: int = 1) -> tuple[Any, Any]:
    """Risks that are too high and too extreme, and what came of them."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1.5, n)
    return rng.random(n) < special.expit(0.6 * odds - 0.4), special.expit(odds)


# Calibration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clustered", [False, True])
def test_intercept_and_slope_are_those_of_statsmodels(clustered: bool) -> None:
    import statsmodels.api as sm

    truth, risk = drawn()
    who = np.arange(300) // 3
    odds, family = special.logit(risk), sm.families.Binomial()
    how: dict[str, Any] = {"cov_type": "cluster", "cov_kwds": {"groups": who}, "use_t": True} if clustered else {}
    found = reading(truth, risk, **({"patient": [f"p{i}" for i in who]} if clustered else {}))["metrics"]
    with_offset = sm.GLM(truth.astype(float), np.ones((300, 1)), family=family, offset=odds).fit(**how)
    with_slope = sm.GLM(truth.astype(float), sm.add_constant(odds), family=family).fit(**how)
    for name, fitted, which in (("calibration_intercept", with_offset, 0), ("calibration_slope", with_slope, 1)):
        one = found[name]
        assert one["value"] == pytest.approx(fitted.params[which], rel=1e-6)
        assert (one["low"], one["high"]) == pytest.approx(tuple(fitted.conf_int()[which]), rel=1e-5)
        assert ("patient-clustered" in one["method"]) == clustered
    assert found["calibration_slope"]["with_intercept"] == pytest.approx(with_slope.params[0], rel=1e-5)
    assert found["o_e"]["value"] == pytest.approx(truth.sum() / risk.sum())


def test_intervals_hold_what_was_put_in() -> None:
    truth, risk = drawn(4000)
    *_, slope = recalibration.slope(truth, special.logit(risk), None)
    assert slope.low < 0.6 < slope.high
    rng = np.random.default_rng(3)
    risk = rng.beta(1, 4, 300)
    right = reading(rng.random(300) < risk, risk)["metrics"]
    for name, value in (("o_e", 1), ("calibration_intercept", 0), ("calibration_slope", 1)):
        assert right[name]["low"] < value < right[name]["high"]


def test_the_curve_counts_every_row_once_and_keeps_equal_risks_together() -> None:
    truth, risk = drawn()
    even = reading(truth, risk)["curve"]
    assert [one["n"] for one in even] == [30] * 10
    assert sum(one["n"] * one["observed"] for one in even) == pytest.approx(truth.sum())
    assert sum(one["n"] * one["risk"] for one in even) == pytest.approx(risk.sum())
    tied = np.where(np.arange(100) < 70, 0.1, 0.6)
    answer = np.arange(100) % 5 == 0
    order = np.random.default_rng(0).permutation(100)
    first, again = (reading(answer[by], tied[by]) for by in (np.arange(100), order))
    assert first["curve"] == again["curve"]  # the rows' order decides nothing
    assert [(one["n"], one["observed"]) for one in first["curve"]] == [(70, 0.2), (30, 0.2)]
    assert "equal risks stay in one bin of the calibration curve, which has fewer bins for it" in first["says"]


def test_the_smooth_curve_is_clevelands_published_example_and_statsmodels() -> None:
    """The example is the one in the header of his lowess (netlib, go/lowess.f): F = 0.25, NSTEPS = 0, DELTA = 0."""
    from statsmodels.nonparametric.smoothers_lowess import lowess

    x = np.array([1, 2, 3, 4, 5, *[6] * 10, 8, 10, 12, 14, 50], float)
    y = np.array([18, 2, 15, 6, 10, 4, 16, 11, 7, 3, 14, 17, 20, 12, 9, 13, 1, 8, 5, 19], float)
    published = [13.659, 11.145, 8.701, 9.722, 10.000, 11.300, 13.000, 6.440, 5.596, 5.456, 18.998]
    assert recalibration.smooth(y, x, np.unique(x), 0.25) == pytest.approx(published, abs=6e-4)
    order = np.random.default_rng(0).permutation(300)
    truth, risk = (one[order] for one in drawn())
    found = reading(truth, risk)["smooth"]
    theirs = lowess(truth.astype(float), risk, frac=2 / 3, it=0, xvals=np.array(found["risk"]))
    assert found["observed"] == pytest.approx(np.clip(theirs, 0, 1), abs=1e-8) and len(found["risk"]) == 100
    assert (found["risk"][0], found["risk"][-1]) == (risk.min(), risk.max())
    few = reading(truth, np.round(risk, 1).clip(0.1, 0.9))
    assert few["smooth"] is None and any(
        "smoothed calibration curve needs 10 different risks" in one for one in few["says"]
    )


def test_a_patients_rows_count_as_a_patient() -> None:
    truth, risk = drawn(120)
    many = [np.repeat(one, 4) for one in (truth, risk)]
    alone = reading(truth, risk, {"prevalence": 0.1})
    four = reading(*many, {"prevalence": 0.1}, patient=[f"p{i}" for i in np.repeat(np.arange(120), 4)])
    assert four["patients"] == 120
    for name, one in alone["metrics"].items():
        same = four["metrics"][name]
        assert same["value"] == pytest.approx(one["value"], abs=1e-6)
        assert same["high"] - same["low"] == pytest.approx(one["high"] - one["low"], rel=0.25), name
    widths = [np.subtract(found["decision"]["high"], found["decision"]["low"]) for found in (alone, four)]
    assert widths[1][:20] == pytest.approx(widths[0][:20], rel=0.15)


# A threshold ----------------------------------------------------------------------------------------------------------


def test_the_four_shares_at_a_threshold_by_hand() -> None:
    truth = [1] * 20 + [0] * 80
    risk = [0.9] * 12 + [0.3] * 3 + [0.1] * 5 + [0.7] * 10 + [0.3] * 6 + [0.05] * 64
    found = reading(truth, risk, {"prevalence": 0.02})
    assert found["cells"] == {"true negatives": 64, "false positives": 16, "false negatives": 5, "true positives": 15}
    value = {name: one["value"] for name, one in found["metrics"].items()}
    assert (value["sensitivity"], value["specificity"], value["ppv"], value["npv"]) == pytest.approx(
        (0.75, 0.8, 15 / 31, 64 / 69)
    )
    assert value["ppv_at_prevalence"] == pytest.approx(0.75 * 0.02 / (0.75 * 0.02 + 0.2 * 0.98))
    assert value["npv_at_prevalence"] == pytest.approx(0.8 * 0.98 / (0.8 * 0.98 + 0.25 * 0.02))
    assert value["auroc"] == pytest.approx(roc_auc_score(truth, risk))
    assert found["metrics"]["sensitivity"]["method"].startswith("Clopper-Pearson")
    assert "9 risks equal the threshold; from the threshold on a row is called positive" in found["says"]
    assert any("by Bayes' rule" in one for one in found["says"])


def test_at_the_rows_own_prevalence_bayes_gives_the_rows_own_values() -> None:
    truth, risk = drawn()
    found = reading(truth, risk, {"prevalence": float(truth.mean())})["metrics"]
    for name in ("ppv", "npv"):
        assert found[f"{name}_at_prevalence"]["value"] == pytest.approx(found[name]["value"])


def test_predictive_values_of_the_published_example() -> None:
    # Alzheimer's disease and APOE e4 at a prevalence of 3 % (Mercaldo et al. 2007); bounds of a Bayesian method with flat priors stand in the
    # manual of the R package bdpv: PPV 0.0591 to 0.0860
    counts = np.array([288, 87, 178, 240])
    assert float(decision.ppv(counts, 0.03)) == pytest.approx(0.0711, abs=5e-5)
    interval = decision.predictive_interval(counts, 0.03, positive=True)
    assert (interval.low, interval.high) == pytest.approx((0.0591, 0.0860), abs=1.5e-3)
    empty = decision.predictive_interval(np.array([90, 0, 3, 27]), 0.03, positive=True)
    assert 0.2 < empty.low < empty.high < 1 and "empty cell" in empty.method


def test_a_share_that_floats_write_a_little_low_is_at_the_threshold() -> None:
    risk = np.array([1 - 0.7, np.float32(0.3), 0.2999])
    assert decision.called(risk, 0.3).tolist() == [True, True, False]


# Net benefit ----------------------------------------------------------------------------------------------------------


def test_net_benefit_of_the_published_tutorial() -> None:
    # Decision curve analysis, a tutorial (Memorial Sloan Kettering): 750 men, 105 cancers, a marker. At 20 % its net benefit is 0.03; at 15 % it
    # saves about 33 biopsies of 100. The counts are those of the tutorial's data.
    for threshold, true, false in ((0.20, 41, 77), (0.15, 59, 136)):
        truth = np.r_[np.ones(105), np.zeros(645)].astype(bool)
        risk = np.r_[np.full(true, 0.4), np.full(105 - true, 0.05), np.full(false, 0.4), np.full(645 - false, 0.05)]
        found = reading(truth, risk, {"threshold": threshold})
        at = found["decision"]["thresholds"].index(threshold)
        if threshold == 0.2:
            assert round(found["decision"]["model"][at], 2) == 0.03
            assert found["metrics"]["net_benefit"]["value"] == pytest.approx(41 / 750 - 77 / 750 * 0.2 / 0.8)
        else:
            assert round(100 * found["decision"]["avoided"][at]) == 33
        odds = threshold / (1 - threshold)
        assert found["decision"]["all"][at] == pytest.approx(105 / 750 - 645 / 750 * odds)


def test_the_decision_curve_at_every_threshold_by_hand() -> None:
    truth, risk = drawn(150)
    found = reading(truth, risk, {"prevalence": 0.05})["decision"]
    whole = reading(truth, risk)
    plain = whole["decision"]
    for curve, prevalence in ((found, 0.05), (plain, float(truth.mean()))):
        for i, threshold in enumerate(curve["thresholds"]):
            odds, call = threshold / (1 - threshold), risk >= threshold
            hit, false = call[truth].mean(), call[~truth].mean()
            model = hit * prevalence - false * (1 - prevalence) * odds
            everyone = prevalence - (1 - prevalence) * odds
            assert curve["model"][i] == pytest.approx(model, abs=1e-12)
            assert curve["all"][i] == pytest.approx(everyone, abs=1e-12)
            assert curve["avoided"][i] == pytest.approx((model - everyone) / odds, abs=1e-9)
            assert curve["low"][i] <= curve["model"][i] + 1e-9 and curve["model"][i] <= curve["high"][i] + 1e-9
    assert (plain["thresholds"][0], 0.3 in plain["thresholds"], plain["thresholds"][-1]) == (
        0.01,
        True,
        round(2 * truth.mean(), 2),
    )
    one = whole["metrics"]["net_benefit"]
    at = plain["thresholds"].index(0.3)
    assert (one["low"], one["high"]) == pytest.approx((plain["low"][at], plain["high"][at]), abs=0.01)


# What cannot be said --------------------------------------------------------------------------------------------------


def says(found: dict[str, Any], *parts: str) -> bool:
    return any(all(part in one for part in parts) for one in found["says"])


def test_perfect_separation_has_no_slope_and_the_rest_stands() -> None:
    found = reading([0] * 30 + [1] * 30, [0.2] * 30 + [0.8] * 30)
    assert "calibration_slope" not in found["metrics"] and says(found, "calibration slope", "do not overlap")
    assert found["metrics"]["calibration_intercept"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["metrics"]["auroc"]["value"] == 1
    touching = reading(
        [0] * 30 + [1] * 30, [0.2] * 25 + [0.5] * 5 + [0.5] * 5 + [0.8] * 25
    )  # they share one risk: still no finite slope
    assert "calibration_slope" not in touching["metrics"] and says(touching, "do not overlap")
    assert "calibration_slope" in reading([0] * 29 + [1] * 31, [0.2] * 29 + [0.1] + [0.8] * 30)["metrics"]


@pytest.mark.parametrize("side", [0, 1])
def test_one_class_only_is_a_sentence(side: int) -> None:
    found = reading([side] * 40, np.linspace(0.1, 0.9, 40), {"prevalence": 0.1})
    assert says(found, "AUROC is not defined", "one class only") and says(
        found, "calibration intercept and slope are not defined"
    )
    assert says(found, "every row is positive" if side else "no row is positive")
    assert says(found, "specificity" if side else "sensitivity", "not defined")
    assert says(found, "PPV and NPV at the prevalence are not defined") and says(found, "net benefit is not defined")
    assert found["decision"] is None
    assert reading([side] * 40, np.linspace(0.1, 0.9, 40))["decision"] is not None
    assert found["metrics"]["o_e"]["value"] == pytest.approx(side * 40 / 20)


def test_few_positives_constant_risks_and_a_threshold_that_none_reaches_are_said() -> None:
    truth, risk = np.arange(60) < 5, np.full(60, 0.2)
    found = reading(truth, risk, {"prevalence": 0.1})
    assert says(found, "5 rows are positive", "fewer than 100") and says(
        found, "calibration slope", "every risk is the same"
    )
    assert says(found, "PPV is not defined", "no risk reaches the threshold")
    assert says(found, "PPV at the prevalence is not defined")
    assert found["metrics"]["sensitivity"]["value"] == 0 and found["metrics"]["npv"]["value"] == pytest.approx(55 / 60)


def test_risks_of_exactly_0_and_1_are_left_out_where_their_odds_are_infinite() -> None:
    truth, risk = drawn(200)
    more_truth = np.r_[truth, True, False, True]
    found = reading(more_truth, np.r_[risk, 0.0, 1.0, 1.0])
    inner = reading(truth, risk)
    for name in ("calibration_intercept", "calibration_slope"):
        assert found["metrics"][name] == inner["metrics"][name]
    assert says(found, "3 rows state a risk of exactly 0 or 1", "2 of these are wrong")
    assert found["metrics"]["o_e"]["value"] == pytest.approx(more_truth.sum() / (risk.sum() + 2))
    every = reading([0, 1] * 20, [0.0, 1.0] * 20)
    assert says(every, "calibration intercept and slope are not defined", "no row is there")
    nothing = reading([0, 1] * 20, [0.0] * 40)
    assert says(nothing, "O/E is not defined", "every risk is 0")


def test_extreme_risks_still_fit() -> None:
    truth, risk = np.arange(40) % 2 == 0, np.where(np.arange(40) % 4 < 2, 1e-12, 1 - 1e-12)
    intercept, slope, interval = recalibration.slope(truth, special.logit(risk), None)
    assert (intercept, slope) == pytest.approx((0, 0), abs=1e-6) and interval.low < 0 < interval.high


# Which class is positive ----------------------------------------------------------------------------------------------


def test_nobody_guesses_which_class_is_positive(tmp_path: Path) -> None:
    truth, risk = drawn(60)
    with pytest.raises(RunError, match=r"which class is positive is not known.*the classes are sick, well"):
        hfm.evaluate_predictions(table(truth, risk), "binary", threshold=0.3)
    with pytest.raises(RunError, match=r"'ill' is none of the classes well, sick"):
        hfm.evaluate_predictions(table(truth, risk), "binary", classes=PAIR, positive="ill")
    quiet = hfm.evaluate_predictions(table(truth, risk), "binary", output=tmp_path / "quiet")
    assert 'id="clinical"' not in quiet.report().read_text()
    named = hfm.evaluate_predictions(table(truth, risk), "binary", positive="WELL")
    assert (named.scores["clinical"]["positive"], named.scores["classes"]) == ("well", ["sick", "well"])
    assert named.scores["clinical"]["metrics"]["o_e"]["value"] == pytest.approx((~truth).sum() / (1 - risk).sum())
    assert named.metrics["sensitivity"]["n"] == int((~truth).sum())  # the other metrics take the same class
    declared = hfm.evaluate_predictions(table(truth, risk), "binary", classes=PAIR).clinical(threshold=0.3)
    assert (declared["positive"], declared["chosen_by"]) == ("sick", "as the second of the declared classes")


def test_a_card_may_name_the_positive_class_and_a_run_of_several_classes_is_read_for_one(tmp_path: Path) -> None:
    space: dict[str, Any] = {"name": "x", "kind": "binary", "classes": ("malignant", "benign")}
    assert Labels(**space, positive="malignant").model_dump()["positive"] == "malignant"
    assert "positive" not in Labels(**space).model_dump()
    with pytest.raises(ValueError, match="none of its classes"):
        Labels(**space, positive="cancer")
    run = by_hand(tmp_path / "run", positive="maybe")
    found = run.clinical(threshold=0.5)
    assert (found["positive"], found["against"], found["chosen_by"]) == (
        "maybe",
        ["yes", "no"],
        "by the dataset's card",
    )
    rows = run.predictions.to_pylist()
    truth, risk = [row["target"] == "maybe" for row in rows], [row["probabilities"][2] for row in rows]
    assert found["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, risk))
    with pytest.raises(RunError, match="which class is positive"):
        by_hand(tmp_path / "other").report(task="binary")
    with pytest.raises(RunError, match="a run knows its own task"):
        run.report(task="multi-class")


def test_the_digest_of_a_card_does_not_rest_on_which_class_it_calls_positive() -> None:
    card = hfm.card("medmnist-v2")
    spaces = [one.model_copy(update={"positive": None}) for one in card.labels]  # type: ignore[union-attr]
    assert card_digest(card) == card_digest(card.model_copy(update={"labels": tuple(spaces)}))
    assert card_digest(card) != card_digest(card.model_copy(update={"labels": tuple(spaces[1:])}))
    assert positive_of(card, ["malignant", "normal, benign"]) == {"positive": "malignant"}  # type: ignore[arg-type]
    assert positive_of(card, ["a", "b"]) == {}  # type: ignore[arg-type]


def test_where_a_run_takes_the_other_class_as_positive_that_is_said() -> None:
    run = of_kind("binary")
    assert says(run.clinical(positive="well"), "take 'sick' as positive, this reading 'well'")
    assert not says(run.clinical(positive="sick"), "as positive, this reading")


def test_of_several_labels_a_row_the_uncertain_rows_are_left_out() -> None:
    run = of_kind("multi-label")
    found = run.clinical(positive="finding a", threshold=0.5)
    rows = [row for row in run.predictions.to_pylist() if "finding a" not in row["uncertain"]]
    truth, risk = ["finding a" in row["target"] for row in rows], [row["probabilities"][0] for row in rows]
    assert (found["n"], found["positives"]) == (len(rows), sum(truth)) and len(rows) < 120
    assert found["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, risk))


@pytest.mark.parametrize(
    ("kind", "message"),
    [("regression", "a class that recurs"), ("ordinal", "needs the risk"), ("free-text", "a class that recurs")],
)
def test_what_has_no_risk_is_refused(kind: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        of_kind(kind).clinical(positive="1", threshold=0.3)


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", 0.0), ("threshold", 30), ("prevalence", 1.0), ("prevalence", -0.1)]
)
def test_a_share_is_between_0_and_1(name: str, value: float) -> None:
    with pytest.raises(RunError, match=rf"{name} is .* between 0 and 1"):
        reading(*drawn(60), {name: value})


# For whom -------------------------------------------------------------------------------------------------------------


def test_each_group_has_its_own_numbers_and_the_worst_is_in_the_headline(tmp_path: Path) -> None:
    truth, risk = drawn(300)
    site = np.array(["north", "south", None])[np.arange(300) % 3]
    risk = np.where(site == "south", 1 - risk, risk)  # misled there
    tiny = ["x"] * 4 + ["y"] * 296
    run = hfm.evaluate_predictions(
        table(truth, risk, **{"subgroup.site": site.tolist(), "subgroup.ward": tiny}), "binary", classes=PAIR, threshold=0.3, output=tmp_path / "run",
    )  # fmt: skip
    found = run.scores["clinical"]
    groups = {one["group"]: one for one in found["subgroups"]["site"]}
    for name, one in groups.items():
        inside = site == name
        assert (one["n"], one["positives"]) == (inside.sum(), truth[inside].sum())
        assert one["value"] == pytest.approx(roc_auc_score(truth[inside], risk[inside]))
        assert one["low"] < one["value"] < one["high"]
        assert one["beside"]["sensitivity"]["value"] == pytest.approx((risk[inside & truth] >= 0.3).mean())
        assert one["beside"]["o_e"]["value"] == pytest.approx(truth[inside].sum() / risk[inside].sum())
    assert groups["south"]["gap"] == pytest.approx(groups["south"]["value"] - groups["north"]["value"])
    assert found["worst"][0].startswith("AUROC is lowest in site = south") and found["worst"][0].endswith(
        "and told apart from the rest"
    )
    assert not any("ward" in one for one in found["worst"])  # one group alone that is large enough is no worst one
    page = run.report().read_text()
    assert "AUROC is lowest in site = south" in page.partition('<div class="boxes">')[0]


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    truth, risk = drawn(120)
    path = tmp_path / "mine.csv"
    lines = [
        f"{i},{PAIR[int(t)]},{p},{'a' if i % 2 else 'b'}" for i, (t, p) in enumerate(zip(truth, risk, strict=True))
    ]
    path.write_text("id,target,probability.sick,ward\n" + "\n".join(lines) + "\n")
    words = [
        "report",
        "--predictions",
        path,
        "--task",
        "binary",
        "--subgroup",
        "ward",
        "--output",
        tmp_path / "run",
        "--threshold",
        "0.3",
    ]
    refused = command(*words)
    assert refused.returncode == 2 and "which class is positive is not known" in refused.stderr
    assert not (tmp_path / "run").exists()  # what was refused leaves nothing
    done = command(*words, "--positive", "sick", "--prevalence", "0.02")
    assert done.returncode == 0, done.stderr
    assert "PPV at a prevalence of 2 %" in done.stdout and "Called 'sick' from a risk of 0.3 on" in done.stdout
    again = command("report", tmp_path / "run", "--task", "binary", "--threshold", "0.4", "--format", "csv")
    assert again.returncode == 0, again.stderr
    found = hfm.load_run(tmp_path / "run").clinical(threshold=0.4)
    assert f"risk,sick,sensitivity,{found['metrics']['sensitivity']['value']}" in again.stdout
    assert f"decision curve,threshold 0.4,net_benefit,{found['metrics']['net_benefit']['value']}"[:60] in again.stdout
    assert "## As a clinical risk" in command("report", tmp_path / "run", "--positive", "sick", "--format", "md").stdout
