"""The tasks: what is asked of a model. Each is one declaration here, and nothing else lists them."""

from __future__ import annotations

from dataclasses import dataclass

from healthfm.records import (
    QA,
    Conversation,
    Document,
    Image,
    Molecule,
    MultipleChoice,
    Pair,
    Profile,
    Ranking,
    Record,
    Signal,
    Slide,
    Timeline,
    Video,
    Volume,
)
from healthfm.records import Sequence as Letters

TEXTS = (Document, QA, MultipleChoice, Conversation, Pair)
PICTURES = (Image, Volume, Video)
MEASURED = (Molecule, Letters, Signal, Profile)
YES_NO_MAYBE = ("yes", "no", "maybe")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. ``kind``: of its table of predictions (a key of ``scoring.KINDS``), ``noun``: what one of its samples is called.

    ``way``: how a model is asked (a key of ``runner.WAYS``), with ``rule``, a word that this way (or the kind of the table) knows, and the ``verb`` it needs of the
    model; without one the task is for predictions made elsewhere only. ``records``: those it takes.
    ``prompted``: a protocol of the dataset's card says how. ``slots``: what a prompt of the model's own card must have to be used.
    ``fitted``: on a second split; ``curve``: also on parts of it. ``classes``: where they are always the same; ``two``: there are two of
    them; ``letters``: they are a question's options, no classes that recur.
    """

    summary: str
    kind: str
    noun: str = "sample"
    way: str | None = None
    rule: str = ""
    verb: str | None = None
    records: tuple[type[Record], ...] = ()
    prompted: bool = False
    slots: frozenset[str] = frozenset()
    fitted: bool = False
    curve: bool = False
    classes: tuple[str, ...] = ()
    two: bool = False
    letters: bool = False


TASKS = {
    "multiple-choice": Task(
        summary="one of the question's options, by likelihood", kind="classes", noun="question", letters=True,
        way="scored question", verb="score", records=(MultipleChoice,), prompted=True,
    ),
    "multiple-choice-generated": Task(
        summary="one of the question's options, read in generated text", kind="classes", noun="question", letters=True,
        way="written choice", verb="generate", records=(MultipleChoice,), prompted=True, slots=frozenset({"question", "options"}),
    ),
    "yes-no-maybe": Task(
        summary="yes, no or maybe, by likelihood", kind="classes", noun="question", classes=YES_NO_MAYBE,
        way="scored question", verb="score", records=(MultipleChoice,), prompted=True,
    ),
    "yes-no-maybe-generated": Task(
        summary="yes, no or maybe, read in generated text", kind="classes", noun="question", classes=YES_NO_MAYBE,
        way="written choice", verb="generate", records=(MultipleChoice,), prompted=True, slots=frozenset({"question", "context"}),
    ),
    "closed-answer": Task(
        summary="one of the answers that all questions share, by likelihood", kind="classes", noun="question",
        way="scored question", verb="score", records=(MultipleChoice,), prompted=True,
    ),
    "closed-answer-generated": Task(
        summary="one of the answers that all questions share, read in generated text", kind="classes", noun="question",
        way="written choice", verb="generate", records=(MultipleChoice,), prompted=True,
    ),
    "free-text": Task(
        summary="a written answer, beside the accepted ones", kind="text", noun="question",
        way="written answer", verb="generate", records=(QA,), prompted=True,
    ),
    "text-classification": Task(
        summary="one of several classes, by the likelihood of their names", kind="classes",
        way="scored classes", verb="score", records=(Document,), prompted=True,
    ),
    "multi-label-classification": Task(
        summary="any of several classes, each asked yes or no, by likelihood", kind="labels",
        way="scored classes", verb="score", records=(Document,), prompted=True,
    ),
    "retrieval": Task(
        summary="a question's own text among all, by the cosine of embeddings; of pictures with texts each among all of the others", kind="ranking",
        way="retrieval", verb="embed", records=(QA, MultipleChoice, Document),
    ),
    "image-text-retrieval": Task(
        summary="the texts of a picture among all and the pictures of a text, by the cosine of embeddings in one space", kind="matches",
        noun="query", way="retrieval", verb="embed", records=(Document,),
    ),
    "molecule-text-retrieval": Task(
        summary="the text of a molecule among T and among all, and the molecule of a text, by the cosine of embeddings in one space", kind="matches",
        noun="query", way="told molecules", verb="embed", records=(Molecule,),
    ),
    "linear-probe": Task(
        summary="one of several classes, by logistic regression on frozen embeddings", kind="classes",
        way="probe", rule="linear", verb="embed", records=(*TEXTS, *PICTURES, *MEASURED), fitted=True, curve=True,
    ),
    "balanced-probe": Task(
        summary="one of several classes, by the same with rare classes weighing as much as others", kind="classes",
        way="probe", rule="balanced", verb="embed", records=(*TEXTS, *PICTURES, *MEASURED), fitted=True, curve=True,
    ),
    "few-shot": Task(
        summary="one of several classes, by the same fitted on --shots examples a class, drawn 20 times", kind="classes",
        way="probe", rule="few", verb="embed", records=(*TEXTS, *PICTURES, *MEASURED), fitted=True,
    ),
    "knn": Task(
        summary="one of several classes, by the nearest embeddings", kind="classes",
        way="probe", rule="nearest", verb="embed", records=(*TEXTS, *PICTURES, *MEASURED), fitted=True,
    ),
    "multi-label-probe": Task(
        summary="any of several classes, by one logistic regression each on frozen embeddings", kind="labels",
        way="probe", rule="several", verb="embed", records=(Document, *PICTURES, *MEASURED), fitted=True, curve=True,
    ),
    "regression-probe": Task(
        summary="a number, by ridge regression on frozen embeddings", kind="numbers",
        way="probe", rule="number", verb="embed", records=(*TEXTS, *PICTURES, *MEASURED), fitted=True, curve=True,
    ),
    "mil": Task(
        summary="one of several classes of a bag (a slide's tiles, a volume's slices, a film's frames, a patient's images), by attention over all of it",
        kind="classes", way="bags", verb="embed", records=(Slide, *PICTURES), fitted=True,
    ),
    "zero-shot": Task(
        summary="one of several classes of a picture, by the classes' names, by a model of pictures and texts; with what other words give",
        kind="classes", way="named classes", verb="classify", records=PICTURES,
    ),
    "multi-label-zero-shot": Task(
        summary="any of several classes of a picture, each by its name, by a model of pictures and texts; with what other words give",
        kind="labels", way="named classes", verb="classify", records=PICTURES,
    ),
    "clip-adapter": Task(
        summary="one of several classes of a picture, by its names and a small network fitted on --shots examples a class; beside zero-shot and a probe",
        kind="classes", way="few labels", rule="adapter", verb="classify", records=PICTURES, fitted=True,
    ),
    "prompt-tuning": Task(
        summary="the same with the words before the names learned from the examples, both networks standing still",
        kind="classes", way="few labels", rule="prompts", verb="classify", records=PICTURES, fitted=True,
    ),
    "perplexity": Task(summary="how likely whole texts are", kind="likelihood", way="whole text", verb="logits", records=TEXTS),
    "in-hospital-mortality": Task(
        summary="whether a stay ends in death, by what was known early in it", kind="classes", noun="stay", two=True,
        way="cohort", verb="embed", records=(Timeline,), fitted=True,
    ),
    "length-of-stay": Task(
        summary="whether a stay is a long one, by what was known early in it", kind="classes", noun="stay", two=True,
        way="cohort", verb="embed", records=(Timeline,), fitted=True,
    ),
    "readmission": Task(
        summary="whether a patient returns soon after a stay", kind="classes", noun="stay", two=True,
        way="cohort", verb="embed", records=(Timeline,), fitted=True,
    ),
    "phenotyping": Task(
        summary="which groups of diagnoses a stay will be coded with", kind="labels", noun="stay",
        way="cohort", verb="embed", records=(Timeline,), fitted=True,
    ),
    "named-entities": Task(
        summary="mentions of things of several types, listed in generated text", kind="spans", noun="text",
        way="listed mentions", verb="generate", records=(Document, Conversation), prompted=True,
    ),
    "token-classification": Task(
        summary="mentions of things of several types, by a token classifier's own head", kind="spans", noun="text",
        way="tagged words", verb="tag", records=(Document, Conversation),
    ),
    "relations": Task(
        summary="relations of things named in a text, listed in generated text", kind="relations", noun="text",
        way="listed relations", verb="generate", records=(Document,), prompted=True,
    ),
    "relation-classification": Task(
        summary="what the relation of two marked mentions is, by the likelihood of the types' names", kind="relations", noun="text",
        way="scored relations", verb="score", records=(Document,), prompted=True,
    ),
    "reading-comprehension": Task(
        summary="an answer in the words of a passage, or that it has none", kind="reading", noun="question",
        way="read answer", verb="generate", records=(QA,), prompted=True,
    ),
    "answer-sentences": Task(
        summary="which sentences of a passage answer a question", kind="sets", noun="question",
        way="read sentences", verb="generate", records=(QA,), prompted=True,
    ),
    "answer-selection": Task(
        summary="which of a question's candidates is right, by the cosine of embeddings", kind="candidates", noun="query",
        way="embedded candidates", verb="embed", records=(Ranking,),
    ),
    "answer-selection-scored": Task(
        summary="which of a question's candidates is right, by likelihood", kind="candidates", noun="query",
        way="likely candidates", verb="score", records=(Ranking,), prompted=True,
    ),
    "similarity": Task(
        summary="how like two texts are, by the cosine of embeddings", kind="similarity", noun="pair",
        way="embedded pairs", verb="embed", records=(Pair,),
    ),
    "inference": Task(
        summary="what one text is to another (follows, contradicts), by the likelihood of the classes' names", kind="classes", noun="pair",
        way="scored classes", verb="score", records=(Pair,), prompted=True,
    ),
    "dialogue-acts": Task(
        summary="what each turn of a consultation is for, by the likelihood of the classes' names", kind="classes", noun="turn",
        way="scored turns", verb="score", records=(Conversation,), prompted=True,
    ),
    "dialogue-findings": Task(
        summary="which findings a consultation's patient has, has not, or may have, listed in generated text", kind="sets", noun="conversation",
        way="listed findings", verb="generate", records=(Conversation,), prompted=True,
    ),
    "response-generation": Task(
        summary="what the doctor says next, beside what the doctor said", kind="text", noun="turn",
        way="written reply", verb="generate", records=(Conversation,), prompted=True,
    ),
    "term-normalisation": Task(summary="the terms of a vocabulary that a text means", kind="sets"),
    "tagged-entities": Task(summary="mentions as tags of tokens (IOB1, IOB2, IOE2, IOBES, BILOU)", kind="tags", noun="sentence"),
    "variant-effect": Task(summary="how variants of proteins order in their assays", kind="assays", noun="variant"),
    "perturbation-signature": Task(summary="what perturbations do to the expression of genes", kind="signatures", noun="signature"),
    "structure-prediction": Task(summary="where residues of chains lie in space", kind="structures", noun="chain"),
    "expression-regression": Task(summary="expression of genes over cell types", kind="expression", noun="gene"),
    "binary": Task(summary="one of two classes", kind="classes", two=True),
    "screening": Task(summary="whether somebody is to be referred, where few of the others may be (partial AUROC)", kind="classes", two=True, rule="screening"),
    "multi-class": Task(summary="one of several classes", kind="classes"),
    "multi-label": Task(summary="any of several classes", kind="labels"),
    "surgical-triplets": Task(summary="instrument,verb,target in each frame of operations, video by video", kind="labels", noun="frame", rule="triplets"),
    "ordinal": Task(summary="one of several classes in order", kind="ordinal"),
    "regression": Task(summary="a number", kind="numbers"),
    "segmentation": Task(summary="masks, label by label, against those of a set's records", kind="masks", noun="mask"),
    "detection": Task(summary="boxes with scores, by average precision as COCO's", kind="boxes", noun="picture", rule="average precision"),
    "lesion-detection": Task(summary="boxes with scores, by how many are found at so many false ones a picture (FROC)", kind="boxes", noun="picture", rule="free response"),
    "localisation": Task(summary="boxes of findings, by whether they lie on true ones (IoBB)", kind="boxes", noun="picture", rule="localisation"),
}  # fmt: skip
