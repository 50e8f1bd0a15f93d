"""Whole-slide images: levels and pixels, which files are slides, tissue, tiles."""
