"""The facts: one TOML file a model or dataset, the schema they obey, the catalogue that finds them, and lineage."""
