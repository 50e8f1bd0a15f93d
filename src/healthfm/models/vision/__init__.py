"""Models of pictures: one module a family of architectures, and what they share: pixels, transforms, heads."""
