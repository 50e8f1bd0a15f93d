"""Tables of predictions: tasks, kinds, metrics, statistics, comparison, sentences. No model, no torch."""
