"""How well vectors of cells keep their kinds apart and mix their batches: scIB's metrics, by the package scib-metrics where it is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import RunError
from healthfm.records import Profile, Record

MOST = 20_000  # cells, of which the first are taken
FEWEST = 100  # cells below which its ninety neighbours are nearly all there are


def present() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("scib_metrics") is not None


def scib(vectors: npt.NDArray[Any], labels: Sequence[str], batches: Sequence[str]) -> dict[str, Any]:
    """Return scIB's metrics of vectors [n, d] by name, unscaled, with the aggregates and the package's version.

    Principal components before the integration are not compared, for the counts are not asked. Raises ``RunError``: the package is not installed, or there
    are too few cells, kinds or batches.
    """
    if not present():
        raise RunError("scIB's metrics need the package scib-metrics (pip install scib-metrics)")
    if len(vectors) < FEWEST or len(set(labels)) < 2 or len(set(batches)) < 2:
        raise RunError(f"scIB's metrics need {FEWEST} cells of two kinds and two batches at least")
    benchmark: Any = importlib.import_module("scib_metrics.benchmark")
    anndata: Any = importlib.import_module("anndata")
    pandas: Any = importlib.import_module("pandas")
    wide = np.asarray(vectors[:MOST], np.float32)
    held = anndata.AnnData(wide if wide.shape[1] > 2 else np.hstack([wide, np.zeros((len(wide), 3), np.float32)]))
    for name, values in (("label", labels), ("batch", batches)):
        held.obs[name] = pandas.Categorical(list(values[:MOST]))
    held.obsm["vectors"] = wide
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = benchmark.Benchmarker(
            held, batch_key="batch", label_key="label", embedding_obsm_keys=["vectors"], n_jobs=1, progress_bar=False,
            bio_conservation_metrics=benchmark.BioConservation(), batch_correction_metrics=benchmark.BatchCorrection(pcr_comparison=False),
        )  # fmt: skip
        made.benchmark()
        found = made.get_results(min_max_scale=False).loc["vectors"]
    return {
        **{str(name): float(value) for name, value in found.items()},
        "version": importlib.metadata.version("scib-metrics"),
        "cells": len(wide),
    }


def of_cells(vectors: npt.NDArray[Any], records: Sequence[Record], labels: Sequence[Any]) -> dict[str, Any]:
    """Return scIB's metrics of cells of which every batch (their site) and class is known, as ``integration``; nothing where they cannot be had."""
    batches = [str(one.site) for one in records if one.site is not None]
    if not present() or len(batches) < len(records) or not all(isinstance(one, Profile) for one in records):
        return {}
    try:
        return {"integration": scib(vectors, labels, batches)} if isinstance(labels[0], str) else {}
    except RunError:  # too few of them
        return {}
