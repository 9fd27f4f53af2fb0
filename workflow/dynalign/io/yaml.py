"""YAML in which no key stands twice: YAML's own readers take the last one, without a word."""

import json
import os

import yaml

from dynalign.io.errors import InputError, located
from dynalign.io.text import read_text


def read_yaml(path: str | os.PathLike):
    """Read YAML or JSON; an `InputError` says that it is neither, or which key stands twice, and in which lines."""
    text = read_text(path)
    with located(str(path)):
        try:
            return json.loads(text, object_pairs_hook=_once)
        except ValueError:  # as Snakemake does: no JSON, so YAML
            pass
        try:
            # Of the nodes as written, before what `<<` merges stands among a section's own keys.
            _check(yaml.compose(text, Loader=yaml.CSafeLoader), (), set())
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"not YAML: {' '.join(str(error).split())}") from None


def _once(pairs: list[tuple]) -> dict:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"the key {twice[0]!r} stands twice in one section; keep one")
    return dict(pairs)


def _check(node: yaml.Node | None, place: tuple, checked: set[int]) -> None:
    """Refuse a key that stands twice in a section of the node; `place`: the keys that lead to it."""
    if id(node) in checked:  # an alias
        return
    checked.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _check(item, (*place, number), checked)
    elif isinstance(node, yaml.MappingNode):
        lines: dict = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if (key := (name.tag, str(name.value))) in lines:
                where = ".".join(map(str, (*place, name.value)))
                raise InputError(f"the key {where!r} stands twice, in lines {lines[key]} and {line}; keep one")
            lines[key] = line
            _check(value, (*place, name.value), checked)
