"""Tasks, scoring, metrics, statistics, contamination, and the runner that puts them on one road."""
