"""The kinds of tables of predictions: one module each, with the check of its columns and the metrics it is read into."""
