"""Records for other programs; ``write.WRITERS`` lists the formats."""
