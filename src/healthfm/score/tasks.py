"""The tasks: what is asked of a model, each a short declaration."""

from __future__ import annotations

from dataclasses import dataclass

from healthfm.records import QA, Document, Image, MultipleChoice, Record, Slide, Video, Volume

TEXTS = (Document, QA, MultipleChoice)
PICTURES = (Image, Volume, Video)


@dataclass(frozen=True)
class Task:
    """A task: the ``records`` it takes, the ``verb`` it asks of a model, and the ``kind`` of its table of predictions.

    ``kind`` is a key of ``scoring.KINDS``. Without a ``verb`` it is for predictions made elsewhere only; a ``fitted`` one
    needs a second split to fit on.
    """

    summary: str
    kind: str
    verb: str | None = None
    records: tuple[type[Record], ...] = ()
    fitted: bool = False


TASKS = {
    "multiple-choice": Task("one of the question's options, by likelihood", "classes", "score", (MultipleChoice,)),
    "multiple-choice-generated": Task("one of the question's options, read in generated text", "classes", "generate", (MultipleChoice,)),
    "yes-no-maybe": Task("yes, no or maybe, by likelihood", "classes", "score", (MultipleChoice,)),
    "yes-no-maybe-generated": Task("yes, no or maybe, read in generated text", "classes", "generate", (MultipleChoice,)),
    "free-text": Task("a written answer, beside the accepted ones", "text", "generate", (QA,)),
    "text-classification": Task("one of several classes, by the likelihood of their names", "classes", "score", (Document,)),
    "multi-label-classification": Task("any of several classes, each asked yes or no, by likelihood", "labels", "score", (Document,)),
    "retrieval": Task("a question's own text among all, by the cosine of embeddings", "ranking", "embed", (QA, MultipleChoice)),
    "linear-probe": Task(
        "one of several classes, by logistic regression on frozen embeddings", "classes", "embed", (*TEXTS, *PICTURES), fitted=True
    ),
    "balanced-probe": Task(
        "one of several classes, by the same with rare classes weighing as much as others", "classes", "embed", (*TEXTS, *PICTURES), fitted=True
    ),
    "few-shot": Task(
        "one of several classes, by the same fitted on --shots examples a class, drawn 20 times", "classes", "embed", (*TEXTS, *PICTURES), fitted=True
    ),
    "knn": Task("one of several classes, by the nearest embeddings", "classes", "embed", (*TEXTS, *PICTURES), fitted=True),
    "multi-label-probe": Task(
        "any of several classes, by one logistic regression each on frozen embeddings", "labels", "embed", (Document, *PICTURES), fitted=True
    ),
    "mil": Task(
        "one of several classes of a bag (a slide's tiles, a volume's slices, a film's frames, a patient's images), by attention over all of it",
        "classes", "embed", (Slide, *PICTURES), fitted=True,
    ),
    "perplexity": Task("how likely whole texts are", "likelihood", "logits", TEXTS),
    "binary": Task("one of two classes", "classes"),
    "multi-class": Task("one of several classes", "classes"),
    "multi-label": Task("any of several classes", "labels"),
    "ordinal": Task("one of several classes in order", "ordinal"),
    "regression": Task("a number", "numbers"),
}  # fmt: skip
