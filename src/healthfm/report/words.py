"""Metrics and numbers in plain words, for a reader who does not live among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from healthfm.spelling import counted
from healthfm.spelling import several as plural


@dataclass(frozen=True)
class Word:
    """What a metric is called, what it means in one clause, and the ends of its scale (``worst``, ``best``; None is open).

    ``share``: it is a share of rows, so that per cents may be said.
    """

    label: str
    meaning: str
    worst: float | None = 0
    best: float | None = 1
    share: bool = False


AREA = "0.5 is chance, 1 is perfect"
AGREEMENT = "0 is chance, 1 is perfect"
OVERLAP = "shared words, not clinical correctness"
WORDS: Mapping[str, Word] = {
    "accuracy": Word("accuracy", "share of answers that are right", share=True),
    "acc_norm": Word(
        "accuracy by length (acc_norm)", "share of answers that are right when an option's length does not count against it", share=True
    ),
    "macro_f1": Word("macro-F1", "F1 of each class, averaged so that rare classes count as much as common ones"),
    "micro_f1": Word("micro-F1", "F1 over all decisions together, so that common classes weigh more"),
    "f1": Word("F1", "harmonic mean of precision and sensitivity"),
    "balanced_accuracy": Word("balanced accuracy", "share found of each class, averaged over classes"),
    "mcc": Word("Matthews correlation", f"agreement of prediction and target; {AGREEMENT}", -1),
    "kappa": Word("Cohen's kappa", f"agreement beyond chance; {AGREEMENT}", -1),
    "quadratic_kappa": Word("quadratic kappa", f"agreement beyond chance, far misses cost more; {AGREEMENT}", -1),
    "sensitivity": Word("sensitivity", "share of the positives that were found", share=True),
    "specificity": Word("specificity", "share of the negatives that were recognised", share=True),
    "ppv": Word("PPV", "share of those called positive that are"),
    "npv": Word("NPV", "share of those called negative that are"),
    "ppv_at_prevalence": Word("PPV at the prevalence", "share of those called positive that would be, by Bayes' rule"),
    "npv_at_prevalence": Word("NPV at the prevalence", "share of those called negative that would be, by Bayes' rule"),
    "o_e": Word("O/E", "observed over expected positives; 1 is right, below 1 the risks are too high", None, None),
    "calibration_intercept": Word("calibration in the large (intercept)", "0 is right, below 0 the risks are too high", None, None),
    "calibration_slope": Word("calibration slope", "1 is right, below 1 the risks are too extreme", None, None),
    "net_benefit": Word("net benefit", "true positives a row that are left when false ones are paid for", None, None),
    "log_loss": Word("log-loss", "surprise at the right answer in nats; 0 is best", None, 0),
    "brier": Word("Brier score", "squared error of the probabilities, summed over the classes; 0 is best, 2 is worst", 2, 0),
    "auroc": Word("AUROC", f"chance that a positive ranks above a negative; {AREA}"),
    "partial_auroc_90": Word("partial AUROC, specificity 0.9 to 1", f"how much is found where few are called wrongly; {AREA}"),
    "sensitivity_at_95_specificity": Word("sensitivity at specificity 0.95", "share of positives found where one in twenty negatives is called"),
    "macro_auroc": Word("macro-AUROC", f"AUROC of each class, averaged; {AREA}"),
    "average_precision": Word("average precision", "area under precision-recall; chance is the share of positives"),
    "macro_average_precision": Word("macro average precision", "average precision of each class, averaged"),
    "micro_precision": Word("precision", "share of what was found that is right, all types together"),
    "micro_recall": Word("recall", "share of what is there that was found, all types together"),
    "precision": Word("precision", "share of what was found that is right"),
    "recall": Word("recall", "share of what is there that was found"),
    "overlap_f1": Word("overlap F1", "a mention counts where it shares a character with one of its type"),
    "linked_micro_f1": Word("mention and concept F1", "place, type and concepts all right"),
    "linked_micro_precision": Word("mention and concept precision", "place, type and concepts all right"),
    "linked_micro_recall": Word("mention and concept recall", "place, type and concepts all right"),
    "concept_micro_f1": Word("concept F1", "the concepts of a whole text, wherever they are mentioned"),
    "concept_micro_precision": Word("concept precision", "the concepts of a whole text, wherever they are mentioned"),
    "concept_micro_recall": Word("concept recall", "the concepts of a whole text, wherever they are mentioned"),
    "strict_micro_f1": Word("strict micro-F1", "chunks that are written as their scheme demands"),
    "strict_micro_precision": Word("strict precision", "chunks that are written as their scheme demands"),
    "strict_micro_recall": Word("strict recall", "chunks that are written as their scheme demands"),
    "strict_macro_f1": Word("strict macro-F1", "chunks that are written as their scheme demands, types averaged"),
    "sample_f1": Word("F1 by row", "F1 of each row, averaged"),
    **{f"ap_{part}": Word(f"mAP of {names}", f"average precision of {names}, video by video, averaged") for part, names in (
        ("ivt", "triplets"), ("i", "instruments"), ("v", "verbs"), ("t", "targets"), ("iv", "instruments with verbs"), ("it", "instruments with targets"))},
    "subset_accuracy": Word("subset accuracy", "share of rows with every class right", share=True),
    "mae": Word("mean absolute error", "mean distance from the target, in its units; 0 is best", None, 0),
    "rmse": Word("root mean squared error", "as the mean error, large misses weigh more; 0 is best", None, 0),
    "r2": Word("R²", "share of the target's variance explained; below 0 is worse than its mean", None),
    "pearson": Word("Pearson correlation", "how linear the relation is; 1 is perfect", -1),
    "spearman": Word("Spearman correlation", "how well the order is kept; 1 is perfect", -1),
    "pearson_by_gene": Word("Pearson by gene", "correlation over cell types, averaged over genes; 1 is perfect", -1),
    "pearson_by_type": Word("Pearson by cell type", "correlation over genes, averaged over cell types; high for whoever knows the genes' means alone", -1),
    "ends_found": Word("ends found", "share of the genes that rise or fall most that are predicted so; chance is 0.1"),
    "lddt": Word("lDDT", "share of distances between residues that are kept, within 0.5 to 4 Å; 1 is perfect"),
    "tm_score": Word("TM-score", "how well chains lie over each other; above 0.5 they have one fold, 1 is the same"),
    "gdt_ts": Word("GDT-TS", "share of residues within 1, 2, 4 and 8 Å, averaged; 1 is all"),
    "gdt_ha": Word("GDT-HA", "share of residues within 0.5, 1, 2 and 4 Å, averaged; 1 is all"),
    "rmsd": Word("RMSD", "of the residues that are predicted, in Å; lower is better", None, 0),
    "spearman_plain": Word("Spearman, plain mean", "mean over all assays, whatever they share; published averages are not this one", -1),
    "ndcg": Word("nDCG of the top tenth", "how much of an assay's best comes first; 1 is perfect"),
    "top_recall": Word("top recall", "share of an assay's best tenth that is among the tenth scored highest; chance is 0.1"),
    "bias": Word("bias", "mean difference, prediction less target, in its units; 0 is best", None, None),
    "agreement_low": Word("lower limit of agreement", "about 2.5 % of differences lie below it, where they are normal (Bland and Altman)", None, None),
    "agreement_high": Word("upper limit of agreement", "about 2.5 % of differences lie above it, where they are normal (Bland and Altman)", None, None),
    "c_index": Word("concordance index", f"chance that the larger of two targets is predicted larger; {AREA}"),
    "exact_match": Word("exact match", "share of answers worded as an accepted one", share=True),
    "token_f1": Word("token F1", OVERLAP),
    "exact_match_squad": Word("exact match (SQuAD)", "the same, blind to signs and decimal points", share=True),
    "token_f1_squad": Word("token F1 (SQuAD)", f"{OVERLAP}, blind to signs and decimal points"),
    "closed_accuracy": Word("accuracy, closed questions", "share of yes-or-no questions answered rightly", share=True),
    "open_exact_match": Word("exact match, open questions", "share of open questions answered in the words of an accepted answer", share=True),
    "open_token_f1": Word("token F1, open questions", OVERLAP),
    "open_token_recall": Word("token recall, open questions", "share of an accepted answer's words that were written"),
    "bleu": Word("BLEU", f"runs of {OVERLAP}; 1 is identical"),
    "rouge_1": Word("ROUGE-1", f"single {OVERLAP}"),
    "rouge_2": Word("ROUGE-2", f"pairs of {OVERLAP}"),
    "rouge_l": Word("ROUGE-L", f"longest run of {OVERLAP}"),
    "judge": Word("judge's score", "mean verdict of a model that judged the answers; 1 is right"),
    "recall_1": Word("recall at 1", "share of what is relevant that stands first"),
    "recall_5": Word("recall at 5", "share of what is relevant among the first five"),
    "recall_10": Word("recall at 10", "share of what is relevant among the first ten"),
    "image_to_text_recall_1": Word("image to text, recall at 1", "share of pictures to which one that belongs is first", share=True),
    "image_to_text_recall_5": Word("image to text, recall at 5", "share of pictures to which one that belongs is among the first 5", share=True),
    "image_to_text_recall_10": Word("image to text, recall at 10", "share of pictures to which one that belongs is among the first 10", share=True),
    "text_to_image_recall_1": Word("text to image, recall at 1", "share of texts to which one that belongs is first", share=True),
    "text_to_image_recall_5": Word("text to image, recall at 5", "share of texts to which one that belongs is among the first 5", share=True),
    "text_to_image_recall_10": Word("text to image, recall at 10", "share of texts to which one that belongs is among the first 10", share=True),
    "image_to_text_median_rank": Word("image to text, median rank", "of the first that belongs; 1 is best", None, 1),
    "image_to_text_map": Word("image to text, mean average precision", "how early all that belongs comes; 1 is all of it first"),
    "text_to_image_median_rank": Word("text to image, median rank", "of the first that belongs; 1 is best", None, 1),
    "text_to_image_map": Word("text to image, mean average precision", "how early all that belongs comes; 1 is all of it first"),
    **{f"{way.replace(' ', '_')}_choose_{size}": Word(f"{way}, one of {size}", f"chance that the right one is chosen among {size}; blindly {1 / size:.2f}") for way in ("molecule to text", "text to molecule") for size in (4, 10, 20)},
    **{f"{way.replace(' ', '_')}_recall_{k}": Word(f"{way}, recall at {k}", f"share of queries of which one that belongs is among the first {k}", share=True) for way in ("molecule to text", "text to molecule") for k in (1, 5, 10)},
    **{f"{way.replace(' ', '_')}_median_rank": Word(f"{way}, median rank", "of the first that belongs; 1 is best", None, 1) for way in ("molecule to text", "text to molecule")},
    **{f"{way.replace(' ', '_')}_map": Word(f"{way}, mean average precision", "how early all that belongs comes; 1 is all of it first") for way in ("molecule to text", "text to molecule")},
    "mean_recall": Word("mean recall", "of recall at 1, 5 and 10, both ways"),
    "map": Word("mean average precision", "how early all that is right comes; 1 is all of it first"),
    "precision_1": Word("precision at 1", "share of queries whose first candidate is right", share=False),
    "mrr_10": Word("mean reciprocal rank at 10", "as the mean reciprocal rank, 0 from rank 11 on"),
    "token_f1_squad_has_answer": Word("token F1 (SQuAD), has answer", f"{OVERLAP}, of questions with an answer"),
    "exact_match_squad_has_answer": Word("exact match (SQuAD), has answer", "of questions with an answer"),
    "token_f1_squad_no_answer": Word("token F1 (SQuAD), no answer", "share of questions without an answer that got none"),
    "exact_match_squad_no_answer": Word("exact match (SQuAD), no answer", "share of questions without an answer that got none"),
    "document_f1": Word("F1 by document", "mean precision and mean recall of documents' classes together"),
    "document_precision": Word("precision by document", "of each document's classes, averaged"),
    "document_recall": Word("recall by document", "of each document's classes, averaged"),
    "entity_f1": Word("entity F1", "entities that the answer names, against those of the accepted one"),
    "entity_precision": Word("entity precision", "share of the entities it names that the accepted answer names"),
    "entity_recall": Word("entity recall", "share of the accepted answer's entities that it names"),
    "mrr": Word("mean reciprocal rank", "1 when the first hit stands first, 1/2 when second"),
    "ndcg_10": Word("nDCG at 10", "how early what is relevant comes among the first ten; 1 is perfect"),
    "bits_per_byte": Word("bits per byte", "what a byte of text costs the model; lower is better", None, 0),
    "byte_perplexity": Word("perplexity by byte", "choices the model wavers between at each byte; 1 is best", None, 1),
    "word_perplexity": Word("perplexity by word", "choices the model wavers between at each word; 1 is best", None, 1),
    "dice": Word("Dice", "voxels shared, of those of both masks; 1 is the same mask"),
    "iou": Word("IoU", "voxels shared, of those of either mask; 1 is the same mask"),
    "nsd": Word("NSD (surface Dice)", "share of both surfaces within the tolerance of the other one"),
    "hd95": Word("HD95", "how far apart the surfaces are, but for the farthest 5 %, in mm (of pictures: pixels); 0 is best", None, 0),
    "lesion_f1": Word("lesion F1", "lesions found and none invented, case by case"),
    "lesion_dice": Word("lesion-wise Dice", "Dice of each lesion, a missed or false one counting as 0"),
    "lesion_hd95": Word("lesion-wise HD95", "HD95 of each lesion, a missed or false one counting as the farthest, in mm; 0 is best", None, 0),
    "lesion_sensitivity": Word("lesions found", "share of all lesions of all cases that were found"),
    "false_lesions": Word("false lesions a case", "parts of the given mask that are no lesion; 0 is best", None, 0),
    "ap_50_95": Word("mAP, IoU 0.50 to 0.95", "average precision of boxes, mean over ten limits of overlap"),
    "ap_50": Word("mAP, IoU 0.50", "average precision of boxes that share half with a true one"),
    "ap_75": Word("mAP, IoU 0.75", "average precision of boxes that share three quarters with a true one"),
    "ap_40": Word("mAP, IoU 0.40", "average precision of boxes that share two fifths with a true one"),
    "froc_luna16": Word("FROC (LUNA16)", "mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false ones a picture"),
    "froc_deeplesion": Word("FROC (DeepLesion)", "mean sensitivity at 1/2, 1, 2 and 4 false ones a picture"),
    **{f"sensitivity_at_{rate}_fp": Word(f"sensitivity at {rate} false", f"share of true boxes found at {rate} false ones a picture")
       for rate in ("0.125", "0.25", "0.5", "1", "2", "4", "8", "16")},
    **{f"localised_{above}": Word(f"localised at T(IoBB) {above}", f"share of true boxes that a given one lies on with over {above} of its area")
       for above in ("0.1", "0.25", "0.5", "0.75", "0.9")},
    **{f"false_boxes_{above}": Word(f"false boxes at T(IoBB) {above}", f"given boxes a picture that lie on no true one with over {above} of their area; 0 is best", None, 0)
       for above in ("0.1", "0.25", "0.5", "0.75", "0.9")},
}  # fmt: skip


def word(name: str) -> Word:
    """Return the words for a metric; a metric they do not know keeps its own name, with an open scale."""
    return WORDS.get(name, Word(name.replace("_", "-"), "", None, None))


DASHED = re.compile(r"(?<![\w-])[a-z0-9]+(?:-[a-z0-9]+)+(?![\w-])")  # macro-f1, but not the word accuracy


def renamed(said: str) -> str:
    """Return a sentence in which metrics are called as a page calls them."""
    known = {name.replace("_", "-"): one.label for name, one in WORDS.items()}
    names, colon, rest = said.partition(":")
    if names.startswith(NONE_OF) and colon:
        return f"{NONE_OF}{listed([known.get(one, one) for one in names.removeprefix(NONE_OF).split(', ')])}:{rest}"
    return DASHED.sub(lambda found: known.get(found[0], found[0]), said)


def number(value: float | None, signed: bool = False) -> str:
    """Return a number as tables show it: three decimals, whole from 1,000 on, "-" where there is none."""
    if value is None or value != value:
        return "-"
    sign = "+" if signed else ""
    return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}.3f}"


NO_INTERVAL = "no interval"  # of a value that has none; its method says why
NONE_OF = "No interval is given of "  # as ``score.sentences`` begins it


def span(one: Mapping[str, Any], of: str = "value", signed: bool = False) -> str:
    """Return the interval of a value in words; "-" where there is no value either. ``of``: its key (``gap`` has ``gap_low``)."""
    before = "" if of == "value" else f"{of}_"
    low, high = one.get(f"{before}low"), one.get(f"{before}high")
    if low is None or high is None:
        return "-" if one.get(of) is None else NO_INTERVAL
    return f"{number(low, signed)} to {number(high, signed)}"


def interval(one: Mapping[str, Any], signed: bool = False, digits: int = 3) -> str:
    """Return the interval of a value as a terminal's tables show it."""
    if one["low"] is None or one["high"] is None:
        return NO_INTERVAL
    sign = "+" if signed else ""
    low, high = (f"{one[key]:{sign},.{0 if abs(one[key]) >= 1000 else digits}f}" for key in ("low", "high"))
    return f"[{low}, {high}]"


def chance(p: float | None) -> str:
    """Return a p-value as tables show it."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def listed(names: Sequence[str]) -> str:
    """Return names as one text, whatever commas they hold themselves."""
    return ("; " if any("," in one for one in names) else ", ").join(names)


def broken(name: str) -> Markup:
    """Return a name that a narrow screen may break at its signs rather than within a word."""
    return Markup(re.sub(r"([:#@/_])", r"<wbr>\1", str(escape(name))))


def big(name: str, one: Mapping[str, Any]) -> str:
    """Return a headline's number: a share in per cent, else as it is."""
    return f"{100 * one['value']:.1f} %" if word(name).share else number(one["value"])


def big_span(name: str, one: Mapping[str, Any]) -> str:
    """Return a headline's interval: of a share in per cent, else as it is; or that there is none."""
    shares = word(name).share and one["low"] is not None
    return f"{100 * one['low']:.1f} to {100 * one['high']:.1f} %" if shares else span(one)


def sentence(name: str, one: Mapping[str, Any], row: str) -> str:
    """Say a headline for somebody who does not read intervals. ``row``: what one sample is called."""
    if one["low"] is None:
        return f"With {counted(one['n'], row)} looked at there is no interval, so it is not known how far this number can be off."
    level = f"{round(100 * one.get('level', 0.95))} % interval"
    if word(name).share:
        what = {
            "accuracy": "would get a right answer", "acc_norm": "would get a right answer", "sensitivity": "that are positive would be found",
            "specificity": "that are negative would be recognised", "exact_match": "would be answered word for word",
            "exact_match_squad": "would be answered word for word but for signs",
            "subset_accuracy": "would get every class right",
        }[name]  # fmt: skip
        low, value, high = (round(100 * one[k]) for k in ("low", "value", "high"))
        return f"Of 100 {plural(row)} like these, about {value} {what}. With {counted(one['n'], row)} looked at, anything from {low} to {high} is plausible ({level})."
    return f"With {counted(one['n'], row)} looked at, anything from {span(one)} is plausible ({level})."
