"""Masks and boxes of the user's own, made elsewhere, held against a dataset's records: files in, a table of predictions out."""
