"""Models that read pictures and texts together: what each family pairs, and how classes are told by their names."""
