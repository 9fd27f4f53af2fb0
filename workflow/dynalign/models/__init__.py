"""Language models: checkpoints, tokens, vectors of words."""
