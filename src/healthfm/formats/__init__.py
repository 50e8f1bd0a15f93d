"""One module a file format: bytes to rows or arrays. Nothing here knows a dataset."""
