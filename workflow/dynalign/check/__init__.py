"""What a study holds and what is wrong with it, told before hours are spent: ``python -m dynalign.check``."""
