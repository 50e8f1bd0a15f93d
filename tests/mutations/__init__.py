"""Small wrong changes, each of which a test must notice."""
