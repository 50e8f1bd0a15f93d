"""One module a family of architectures; ``checkpoint`` reads weights safely, ``model`` is what callers hold."""
