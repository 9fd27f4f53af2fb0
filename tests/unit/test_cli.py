"""Parameters of a step's function as options of its command."""

import subprocess
import sys
from typing import Literal

import pytest

from dynalign import cli
from dynalign.config.encoding import Encoding


@cli.command
def step(
    words: str,
    layer: int,
    names: list[str],
    steps: list[int] = (),
    quick: bool = False,
    kind: Literal["a", "b"] = "a",
    other: str | None = None,
    options: Encoding = Encoding(),
) -> None:
    """Keep what was given."""
    given.update(locals())


def _first(number: int) -> None:
    """First line.

    More.
    """
    given["number"] = number


def second_one(text: str = "none") -> None:
    """Keep a text."""
    given["text"] = text


given = {}


def test_parameters_are_options():
    step(["--words", "w.tsv", "--layer", "3", "--names", "a", "b"])
    assert given == {
        "words": "w.tsv",
        "layer": 3,
        "names": ["a", "b"],
        "steps": (),
        "quick": False,
        "kind": "a",
        "other": None,
        "options": Encoding(),
    }
    more = ["--steps", "1", "2", "--quick", "--other", "x", "--options", '{"gap": 2}']
    step(["--words", "w", "--layer", "0", "--names", "c", *more])
    assert (given["steps"], given["quick"], given["other"], given["options"].gap) == ([1, 2], True, "x", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --words, --layer, --names"),
        (["--layer", "x"], "invalid int value: 'x'"),
        (["--kind", "c"], "invalid choice: 'c'"),
        (["--options", '{"gaps": 2}'], "gaps: Extra inputs are not permitted"),
        (["--options", "gap"], "not JSON"),
    ],
)
def test_a_wrong_option_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        step(arguments)
    assert message in capsys.readouterr().err


def test_functions_are_sub_commands(capsys):
    main = cli.commands(_first, second_one)
    main(["first", "--number", "4"])
    main(["second-one", "--text", "x"])
    assert (given["number"], given["text"]) == (4, "x")
    for arguments, message in ((["third"], "invalid choice: 'third'"), (["first", "--text", "x"], "--number")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "First line." in shown
    assert "More." not in shown
    with pytest.raises(SystemExit):
        main(["first", "--help"])
    assert "More." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dynalign.removal.fit", "dynalign.init"])
def test_the_help_names_the_command(name):
    command = [sys.executable, "-m", name, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"usage: python -m {name} ")
