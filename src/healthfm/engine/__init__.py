"""How work is run: append-only results that survive a kill, and resuming."""
