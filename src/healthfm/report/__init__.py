"""A run folder to a page that opens from disk and asks nothing of the network."""
