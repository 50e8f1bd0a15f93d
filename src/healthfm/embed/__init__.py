"""Embeddings: any pictures, slides or texts to vectors, once, resumable at any moment, shared by all that need them."""
