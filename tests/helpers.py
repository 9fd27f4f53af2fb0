"""What several tests share."""


def flags(**values) -> list[str]:
    """Command-line flags from keywords: ``flags(output_dir="x")`` → ``["--output-dir", "x"]``."""
    return [text for key, value in values.items() for text in (f"--{key.replace('_', '-')}", str(value))]
