"""Metrics as formulas on arrays: no table, no model, no interval. One module for each kind of prediction."""

from healthfm.score.metrics.single_label import accuracy, confusion, macro_f1

__all__ = ["accuracy", "confusion", "macro_f1"]
