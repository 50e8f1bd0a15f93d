"""Language models: one module a family of architectures, and what they share: text, prompts, generation, likelihoods."""
