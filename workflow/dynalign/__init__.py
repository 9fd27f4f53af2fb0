"""How alignment between a language model and the human brain emerges during training.

One module per idea, one command per workflow rule (``python -m dynalign.<step> --help``). The package
does not know Snakemake; ``workflow/rules`` calls it.
"""

__version__ = "0.2.0"  # x-release-please-version
