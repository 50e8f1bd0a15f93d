"""Official layouts to records: one module a family of layouts, one short generator a dataset."""
