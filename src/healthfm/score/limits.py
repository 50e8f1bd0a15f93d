"""What a run cannot say, from its facts."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.cards import catalog
from healthfm.errors import CardError
from healthfm.score.result import Result, not_the_row
from healthfm.score.sentences import carved, environment, groups_apart, noun, without_interval
from healthfm.spelling import counted, several

FEW = 100  # rows under which the headline's interval is wide whatever the model
FEW_PATIENTS = 50  # under which a cluster bootstrap's intervals are too narrow
STAND_INS = ("assays", "signatures")  # kinds whose column patient holds assays, proteins or drugs
DEVICE = "Research use only. This is not a medical device, and no number here speaks of a patient's care."
OVERLAP = "Exact match, token F1, BLEU and ROUGE count shared words. They do not measure clinical correctness: a wrong dose shares most words with the right one."


def limits(run: Result) -> list[str]:
    """Return what this run cannot say, from its facts."""
    return [DEVICE, *_of_baseline(run), *_of_sample(run), *_of_model(run), *_of_metrics(run), *_of_licences(run)]


def _of_baseline(run: Result) -> Iterator[str]:
    accuracy, majority = run.metrics.get("accuracy"), run.scores.get("majority")
    if not accuracy or not majority or accuracy["low"] is None:
        return
    if accuracy["low"] <= majority["accuracy"] <= accuracy["high"]:
        yield "The accuracy's interval includes the majority baseline: this run does not show that the model knows more than the commonest answer."
    elif accuracy["high"] < majority["accuracy"]:
        yield "The accuracy lies below the majority baseline."


def _of_sample(run: Result) -> Iterator[str]:
    facts, n = run.facts, run.scores["n"]
    if n < facts.get("split_records", n):
        whole = "samples that were not used for fitting" if carved(run) else several(noun(run))
        yield f"Only {n} of the split's {facts['split_records']} {whole} were asked: the intervals carry that."
    yield from without_interval(run)
    if n < FEW:
        yield f"{counted(n, 'row is', 'rows are')} few: the intervals are wide, and those of small classes and groups say little."
    patients = _patients(run)
    if not patients:
        yield "The data name no patients. Should several rows be of one patient, the intervals are too narrow."
    elif len(patients) < run.predictions.num_rows and len(patients) < FEW_PATIENTS:
        if run.scores.get("kind") in STAND_INS:
            yield f"The rows come from {counted(len(patients), 'group')}, resampled whole in the place of patients: with so few, intervals are too narrow."
        else:
            yield f"The rows come from {counted(len(patients), 'patient')}: with so few, intervals over patients are too narrow."
    fitted = facts.get("fitted") if not facts.get("fitted", {}).get("draws") else None
    drawn = (facts["request"].get("limit"), fitted, facts["request"].get("shots_order") == "random")
    if any(drawn):
        yield f"One seed ({facts['request']['seed']}) drew the sample, the examples or the fit; what another draw would give is not in the intervals."


def _patients(run: Result) -> set[str]:
    names = run.predictions["patient"].to_pylist() if "patient" in run.predictions.column_names else []
    return {name for name in names if name is not None}


def _of_model(run: Result) -> Iterator[str]:
    facts, model = run.facts, environment(run)
    weights = str(model.get("weights"))
    if "split" not in facts["request"] or "given" in facts:
        yield "The predictions were made elsewhere: by which model, prompt and settings is not known here, nor whether the rows were chosen."
    if facts["request"].get("weights") == "random":
        yield "The weights are random: this is a dry run of the road, and its numbers say nothing of the model."
    elif weights.startswith("random"):
        yield "The weights were drawn at random when the model was loaded: unless it was trained since, its numbers say nothing of it."
    if "dequantised" in weights:
        yield f"The weights are {weights}: the published full-precision weights can score otherwise."
    if model.get("dtype") in ("bfloat16", "float16"):
        yield f"The model ran in {model['dtype']}: float32 can score otherwise."
    if facts["request"].get("endpoint"):
        yield "The model ran behind an endpoint: which weights answered is the server's word."
    for said in not_the_row(facts):
        yield f"{said[:1].upper()}{said[1:]}; what the cards say of training data and licence may not hold for it."
    if facts.get("protocol"):
        yield "One prompt was used. Published numbers of other prompts, shots or answer rules are not comparable with these."
    if facts.get("lineage", {}).get("asked"):
        yield "The contamination finding rests on what the cards say of training data; most owners publish little of it."


def _of_metrics(run: Result) -> Iterator[str]:
    scores = run.scores
    if scores.get("kind") == "text":
        yield OVERLAP
    if scores.get("kind") == "ranking":
        yield "One text counts as right for each query; others that would serve as well count as wrong."
    if scores.get("kind") == "matches":
        yield "Only what stands beside it in the data counts as right for a query; others that would serve as well count as wrong."
    if (words := scores.get("prompts")) and words["spread"]:
        yield f"One of {len(words['draws'])} ways of asking is the headline; other words gave {words['spread']['least']:.3f} to {words['spread']['most']:.3f}."
    yield from groups_apart(run)
    groups = [one for group in scores["subgroups"].values() for one in group]
    if few := sum(one["too_few"] for one in groups):
        yield f"{few} of {counted(len(groups), 'group')} {'is' if few == 1 else 'are'} too small to say anything of."
    gaps = sum(one.get("gap") is not None for one in groups)
    if gaps > 4:
        yield f"{gaps} gaps between groups were looked at, without correction: about one in twenty leaves out zero by chance."


def _of_licences(run: Result) -> Iterator[str]:
    request = run.facts["request"]
    for kind in ("model", "dataset") if "split" in request else ():
        try:
            card = catalog.card(str(request[kind]).partition("@")[0].partition("#")[0], kind)
        except CardError:
            continue
        unread = [one.name for one in card.licences if one.checked == "unverified"]
        if unread:
            yield f"Licence of the {kind}, unverified: {', '.join(unread)}. It was not read at its source."
        elif not card.licences:
            yield f"The {kind}'s card knows no licence."
