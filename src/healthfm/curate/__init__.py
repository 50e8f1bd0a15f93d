"""Texts of a benchmark in a corpus: words, search, and the corpus as a stream of documents."""
