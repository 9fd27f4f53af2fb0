"""What several tests share."""


def flags(**values) -> list[str]:
    """Command-line flags from keywords: ``flags(output_dir="x")`` → ``["--output-dir", "x"]``; lists give several."""
    found = []
    for key, value in values.items():
        found += [f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return found
