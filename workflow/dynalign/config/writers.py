"""The configuration as YAML, JSON schema and documentation, written from its one definition.

``python -m dynalign.config.writers --write`` produces ``config/config.yaml`` (the paper's study),
``workflow/schemas/config.schema.json`` and the table of keys in ``config/README.md``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pydantic import BaseModel

from dynalign.cli import run
from dynalign.config.fields import Section
from dynalign.config.preflight import check_files
from dynalign.config.properties import Property
from dynalign.config.story import Trim
from dynalign.config.study import Study, load, section_of
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError


def default_yaml(values: dict | None = None) -> str:
    """The configuration as YAML, every key with its explanation.

    Parameters
    ----------
    values : dict, optional
        A configuration; default: the paper's study.
    """
    study = Study() if values is None else load(values)
    lines = [
        "# The paper's study. Written by `python -m dynalign.config.writers --write` from workflow/dynalign/config/,",
        "# where types and checks stand; every key is explained in config/README.md. Change what you need; keys",
        "# left out take the values below.",
        "# yaml-language-server: $schema=../workflow/schemas/config.schema.json",
        "",
    ]
    lines += _yaml_lines(study, indent=0)
    return "\n".join(lines) + "\n"


def _flow(value) -> str:
    """A value on one line of YAML."""
    import yaml

    if isinstance(value, BaseModel):
        value = {key: item for key, item in value.model_dump(mode="json").items() if item is not None}
    if isinstance(value, tuple):
        value = list(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).removesuffix("\n...\n").strip()


def _yaml_lines(section: BaseModel, indent: int) -> list[str]:
    pad = "  " * indent
    lines = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if indent == 0 and lines:
            lines.append("")
        lines.append(f"{pad}# {field.description}")
        if isinstance(value, Section) and not isinstance(value, Trim):
            lines += [f"{pad}{key}:", *_yaml_lines(value, indent + 1)]
        elif key == "properties" and isinstance(value, dict):
            lines += [f"{pad}{key}:", *(f"{pad}  {name}: {_flow(entry)}" for name, entry in value.items())]
        else:
            lines.append(f"{pad}{key}: {_flow(value)}")
    return lines


def json_schema() -> str:
    """JSON schema of the configuration, for editors."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def keys_table() -> str:
    """Markdown tables of every key, its default and its explanation."""
    parts = []

    def table(title: str, section: type[Section], prefix: str) -> None:
        rows = ["| key | default | meaning |", "|---|---|---|"]
        for key, field in section.model_fields.items():
            inner = section_of(field.annotation)
            if inner is not None and inner is not Trim:
                continue
            default = field.get_default(call_default_factory=True)
            # The nine properties would fill the page: config.yaml shows them.
            paper = key == "properties" and section is Study
            shown = "the paper's nine, as in config.yaml" if paper else f"`{_flow(default)}`"
            rows.append(f"| `{prefix}{key}` | {shown} | {field.description} |".replace("\n", " "))
        parts.append(f"### {title}\n\n{(section.__doc__ or '').strip()}\n\n" + "\n".join(rows))

    table("Top level", Study, "")
    for key, field in Study.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            table(f"`{key}`", inner, f"{key}.")
    table("`properties.<name>`", Property, "properties.<name>.")
    return "\n\n".join(parts) + "\n"


#: Where the table of keys stands in config/README.md.
_MARKS = ("<!-- keys: begin (written by python -m dynalign.config.writers --write) -->", "<!-- keys: end -->")


def generated_files(root: str | Path = ".") -> dict[Path, str]:
    """Files that this model produces, with their content."""
    root = Path(root)
    readme = root / "config/README.md"
    text = readme.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in _MARKS):
        raise InputError(f"{readme}: must hold the two lines {_MARKS[0]!r} and {_MARKS[1]!r} once")
    before, after = text.split(_MARKS[0])[0], text.split(_MARKS[1])[1]
    return {
        root / "config/config.yaml": default_yaml(),
        root / "workflow/schemas/config.schema.json": json_schema(),
        readme: f"{before}{_MARKS[0]}\n\n{keys_table()}\n{_MARKS[1]}{after}",
    }


def main(argv: list[str] | None = None) -> None:
    """Command: check a configuration file, or write the files that this model produces."""
    parser = argparse.ArgumentParser(prog="dynalign.config.writers", description=main.__doc__)
    parser.add_argument("--check", metavar="FILE", help="check a configuration file")
    parser.add_argument("--write", action="store_true", help="write config.yaml, the schema and the table of keys")
    args = parser.parse_args(argv)
    if args.write:
        for path, text in generated_files().items():
            write_text(path, text)
    if args.check:
        import yaml

        try:
            values = yaml.safe_load(Path(args.check).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{args.check}: not YAML: {' '.join(str(error).split())}") from None
        study = load(values)
        check_files(study)
        print(
            f"{args.check}: study {study.study!r}, {len(study.checkpoints)} checkpoints, {len(study.subjects)} subjects"
        )


if __name__ == "__main__":
    run(main)
