"""The configuration as YAML, JSON schema and documentation, written from its one definition.

``python -m dynalign.config.writers --write`` produces ``config/config.yaml`` (the paper's study),
``workflow/schemas/config.schema.json`` and the table of keys in ``config/README.md``."""

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_origin

import yaml
from pydantic import BaseModel

from dynalign.cli import command, run
from dynalign.config.fields import Section
from dynalign.config.story import Trim
from dynalign.config.study import Study, section_of
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError

_HEAD = """\
# The paper's study. Written by `python -m dynalign.config.writers --write` from workflow/dynalign/config/,
# where types and checks stand; every key is explained in config/README.md. Change what you need; keys
# left out take the values below.
# yaml-language-server: $schema=../workflow/schemas/config.schema.json
"""


def default_yaml() -> str:
    """The paper's study as YAML, every key with its explanation."""
    return "\n".join([_HEAD, *yaml_lines(Study, dict(Study()))]) + "\n"


def _flow(value) -> str:
    """A value on one line of YAML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).removesuffix("\n...\n").strip()


def _is_named(field) -> bool:
    """Whether a key holds several sections of one kind, each with a name of the study's own."""
    return get_origin(field.annotation) is dict and section_of(field.annotation) is not None


def yaml_lines(
    section: type[Section],
    values: Mapping[str, Any],
    notes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    left_out: Container[str] = (),
    prefix: str = "",
) -> list[str]:
    """Lines of YAML for `values`, a mapping of keys of a section, each key below its explanation.

    `notes` are more comments by key (``story.tr``). A key in `left_out` is written as a comment, with all it holds.
    """
    lines: list[str] = []
    for key, field in section.model_fields.items():
        if key not in values:
            continue
        name, value = prefix + key, values[key]
        if not prefix and lines:
            lines.append("")
        lines += [f"# {comment}" for comment in (field.description, *notes.get(name, ()))]
        inner = section_of(field.annotation)
        if value and _is_named(field):
            entry = [f"{key}:", *(f"  {each}: {_flow(one)}" for each, one in value.items())]
        elif value and inner not in (None, Trim):
            entry = [f"{key}:", *(f"  {line}" for line in yaml_lines(inner, dict(value), notes, left_out, f"{name}."))]
        else:
            entry = [f"{key}: {_flow(value)}"]
        lines += [f"# {line}" for line in entry] if name in left_out else entry
    return lines


def keys_table() -> str:
    """Markdown tables of every key, its default and its explanation."""
    parts = []
    #: Each section by the key that it is explained under.
    sections: dict[type[Section], str] = {}
    for key, field in Study.model_fields.items():
        if inner := section_of(field.annotation):
            sections.setdefault(inner, key)

    def table(title: str, section: type[Section], prefix: str) -> None:
        rows = ["| key | default | meaning |", "|---|---|---|"]
        for key, field in section.model_fields.items():
            inner = section_of(field.annotation)
            if inner in (None, Trim) or prefix or sections[inner] != key:
                default = "needed" if field.is_required() else f"`{_flow(field.default)}`"
                rows.append(f"| `{prefix}{key}` | {default} | {field.description} |")
        parts.append(f"### {title}\n\n{(section.__doc__ or '').strip()}\n\n" + "\n".join(rows))
        for key, field in section.model_fields.items() if prefix else ():
            if (inner := section_of(field.annotation)) not in (None, Trim):
                table(f"`{prefix}{key}`", inner, f"{prefix}{key}.")

    table("Top level", Study, "")
    for inner, key in sections.items():
        name = f"{key}.<name>" if _is_named(Study.model_fields[key]) else key
        table(f"`{name}`", inner, f"{name}.")
    return "\n\n".join(parts) + "\n"


#: Where the table of keys stands in config/README.md.
_MARKS = ("<!-- keys: begin (written by python -m dynalign.config.writers --write) -->", "<!-- keys: end -->")


def generated_files(root: str | Path = ".") -> dict[Path, str]:
    """Files that this model produces, with their content."""
    readme = Path(root, "config/README.md")
    text = readme.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in _MARKS):
        raise InputError(f"{readme}: must hold the two lines {_MARKS[0]!r} and {_MARKS[1]!r} once")
    before, after = text.split(_MARKS[0])[0], text.split(_MARKS[1])[1]
    return {
        Path(root, "config/config.yaml"): default_yaml(),
        Path(root, "workflow/schemas/config.schema.json"): json.dumps(Study.model_json_schema(), indent=2) + "\n",
        readme: f"{before}{_MARKS[0]}\n\n{keys_table()}\n{_MARKS[1]}{after}",
    }


@command
def main(write: bool = False) -> None:
    """Write the files that this model produces: config.yaml, schema, table of keys."""
    for path, text in generated_files().items() if write else ():
        write_text(path, text)


if __name__ == "__main__":
    run(main)
