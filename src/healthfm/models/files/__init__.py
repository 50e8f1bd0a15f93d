"""Published files to networks: checkpoints, tokenizers, configurations, and whose tensors they are. Nothing of them runs code."""
