"""Hospital databases to timelines: which column is what stands in ``layouts/``, and nothing else knows a database."""
