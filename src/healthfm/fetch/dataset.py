"""``fetch_dataset``: a dataset's official files, on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.errors import FetchError
from healthfm.fetch.plan import Plan, of_dataset, steps
from healthfm.fetch.run import fetch
from healthfm.home import home


def fetch_dataset(
    name: str, root: Path | str | None = None, dry_run: bool = False, progress: Callable[[int, int], Any] = lambda done, total: None
) -> Plan:  # fmt: skip
    """Download the official files of an open dataset (``slug[:variant]``), and return what was to be had: ``items``, ``licences``, ``folder``.

    ``root``: the folder they go to (default ``HEALTHFM_HOME/datasets/SLUG``, where ``open_dataset`` looks). ``dry_run``: only say what would come.
    Raises ``FetchError``: the set is not open, or its card names no address (the message has the owners' steps), or a file cannot be had.
    """
    card, variant, folder = wanted(name, root)
    plan = of_dataset(card, variant, folder)
    if plan is None:
        raise FetchError(f"{name}: nothing is fetched. {' '.join(' '.join(steps(card, variant)).split())}")
    if not dry_run:
        fetch(plan.items, plan.folder, progress=progress)
    return plan


def wanted(name: str, root: Path | str | None = None) -> tuple[DatasetCard, str | None, Path]:
    """Return the card that a name means, its variant, and the folder that its files go to."""
    card = catalog.card(name, "dataset")
    assert isinstance(card, DatasetCard)
    variant = catalog.split_name(name)[1] or card.default_variant
    return card, variant, Path(root).expanduser() if root is not None else home() / "datasets" / card.slug
