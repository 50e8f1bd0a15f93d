"""``behaviour``: does a language model act as if it had read the data? Two probes of its likelihoods, each with its doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from healthfm.curate.corpus import open_corpus, text_of
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.contamination import min_k, option_order
from healthfm.models.model import Model
from healthfm.records import MultipleChoice

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Behaviour:
    """What two probes of a model's likelihoods say. Plain data.

    ``min_k``: the mean score with interval, and, where there are reference texts, theirs and the ``auroc`` between. ``order``: how
    often the printed order of options was the likeliest, with interval, what chance gives and ``p``; None for other records.
    ``says``: both in sentences, each with its caution.
    """

    model: str
    dataset: str
    split: str | None
    n: int
    seed: int
    min_k: dict[str, Any] | None
    order: dict[str, Any] | None
    says: tuple[str, ...]

    def asdict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary."""
        return asdict(self)


def behaviour(
    model: Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, split: str | None = None, limit: int | None = None,
    reference: str | Path | Dataset | None = None, reference_root: Path | str | None = None, seed: int = 0, progress: Progress | None = None,
) -> Behaviour:  # fmt: skip
    """Probe a loaded language model with a dataset's texts.

    ``limit`` draws a seeded sample of records, and as many reference texts. ``reference``: texts of the same kind that the model
    cannot have read (a dataset, or a file or folder as ``contamination`` searches). Min-K%++ needs the verb ``logits``, the order of
    options ``score``; what a model cannot do is left out, and said. Raises ``CapabilityError`` where it can do neither.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    opened = opened if split is None else opened[split]
    every = list(opened)
    records = [every[i] for i in protocols.sample(len(every), limit, seed)]
    readable = "logits" in model.capabilities and hasattr(model, "encode")
    choices = (
        [record for record in records if isinstance(record, MultipleChoice)] if "score" in model.capabilities else []
    )
    if not readable and not choices:
        raise CapabilityError(
            f"{model.name} gives no likelihoods to probe {opened.name} by; it can {', '.join(sorted(model.capabilities))}"
        )
    others = (
        _reference_texts(reference, reference_root, limit or len(records), seed)
        if reference is not None and readable
        else []
    )
    total = (len(records) + len(others) if readable else 0) + len(choices)
    step = _Step(progress, total)
    likely = min_k.probe(model, [text_of(r) for r in records], others, seed, step) if readable else None
    order = option_order.probe(model, choices, seed, step) if choices else None
    return Behaviour(
        model=model.name, dataset=opened.name, split=opened.split, n=len(records), seed=seed, min_k=likely, order=order,
        says=(*min_k.says(likely), *option_order.says(order)),
    )  # fmt: skip


class _Step:
    """Counts work done, for a progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _reference_texts(place: str | Path | Dataset, root: Path | str | None, count: int, seed: int) -> list[str]:
    if isinstance(place, Path) and not (place / "dataset.toml").is_file():
        texts = [text for _, start, text in open_corpus(place) if start == 0 and text.strip()]
    else:
        texts = [text_of(r) for r in (place if isinstance(place, Dataset) else open_dataset(place, root))]
    if len(texts) < 2:
        raise RunError("the reference holds fewer than two texts")
    return [texts[i] for i in protocols.sample(len(texts), count, seed)]
