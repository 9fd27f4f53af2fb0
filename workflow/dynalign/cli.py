"""What the steps' commands share: parameters from a function's signature, one-line errors, progress in the log."""

import argparse
import functools
import gc
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dynalign.io.errors import InputError


def command(function: Callable[..., None]) -> Callable[[Sequence[str] | None], None]:
    """Make a step's function a command, which takes a list of text (default: ``sys.argv[1:]``).

    ``layer: int`` is a required ``--layer 3``; a default makes an option optional; ``list[str]`` takes several values,
    a ``Literal`` one of its own; a boolean is a flag; a section of the configuration is JSON. The docstring is help.

    Examples
    --------
    >>> @command
    ... def main(words: str, seed: int = 0) -> None:
    ...     print(words, seed)
    >>> main(["--words", "words.tsv"])
    words.tsv 0
    """

    @functools.wraps(function)
    def call(argv: Sequence[str] | None = None) -> None:
        function(**_arguments(function, argv))

    return call


def commands(*functions: Callable[..., None]) -> Callable[[Sequence[str] | None], None]:
    """Several functions as sub-commands of their names (``_`` becomes ``-``), each as in :func:`command`."""

    def call(argv: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(prog=_program(functions[0]))
        chosen = parser.add_subparsers(dest="command", required=True)
        by_name = {function.__name__.strip("_").replace("_", "-"): function for function in functions}
        for name, function in by_name.items():
            chosen.add_parser(name, add_help=False, help=(function.__doc__ or "").partition("\n")[0])
        argv = sys.argv[1:] if argv is None else argv
        function = by_name[parser.parse_known_args(argv[:1])[0].command]
        function(**_arguments(function, argv[1:]))

    return call


def _program(function: Callable) -> str:
    """How a step is called; as the main module it does not bear its own name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None) if function.__module__ == "__main__" else None
    return f"python -m {(spec.name if spec else function.__module__).removesuffix('.__main__')}"


def _arguments(function: Callable, argv: Sequence[str] | None) -> dict[str, Any]:
    """The values that a command line gives to a function's parameters."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(_program(function), description=inspect.getdoc(function), formatter_class=form)
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        required = parameter.default is parameter.empty
        settings: dict[str, Any] = {"required": True} if required else {"default": parameter.default}
        if type(None) in get_args(kind):
            kind = next(part for part in get_args(kind) if part is not type(None))
        if kind is bool:
            settings["action"] = "store_true"
        elif get_origin(kind) in (list, tuple):
            settings |= {"type": get_args(kind)[0], "nargs": "+" if required else "*"}
        elif get_origin(kind) is Literal:
            settings["choices"] = get_args(kind)
        elif hasattr(kind, "model_validate"):
            about = f"section of the configuration ({kind.__name__}), as JSON"
            settings |= {"type": _options(kind), "metavar": "JSON", "help": about}
        else:
            settings["type"] = kind
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    return vars(parser.parse_args(argv))


def _options(section: Any) -> Callable[[str], object]:
    """An argparse type that reads JSON into a configuration section and checks it."""

    def parse(text: str):
        from pydantic import ValidationError

        try:
            return section.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise argparse.ArgumentTypeError(f"{where}: {first['msg']} (got {first['input']!r})") from None

    return parse


def run(main: Callable[..., None]) -> None:
    """Run a step's `main`; bad input ends it with one line and status 1, a bug with its traceback."""
    # What libraries make when they are imported lasts to the end. Looking it through for garbage, again and again and
    # once more at exit, takes a quarter of a short job.
    gc.set_threshold(100_000)
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    finally:
        gc.freeze()


def choose_device(gpus: int, section: str = "model") -> str:
    """The device, ``cpu`` or ``cuda``, of a job that was given `gpus` GPUs by a `section` of the configuration.

    InputError if torch finds no GPU.
    """
    if not gpus:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            f"--gpus {gpus}: torch {torch.__version__} finds no GPU here; set {section}.device: cpu, or install "
            "a torch build for this machine's GPU"
        )
    return "cuda"


def note(message: str) -> None:
    """Write one line of progress to the log (standard error)."""
    print(time.strftime("[%H:%M:%S]"), message, file=sys.stderr, flush=True)


def progress(items: Iterable, label: str, total: int | None = None, every: float = 5.0) -> Iterator:
    """Yield `items`, noting how many are done and the time left about every `every` seconds."""
    total = len(items) if total is None else total  # type: ignore[arg-type]
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= every and done:
            left = (now - start) / done * (total - done)
            note(f"{label}: {done}/{total}, {left:.0f} s left")
            last = now
        yield item
    note(f"{label}: {total}/{total} in {time.monotonic() - start:.1f} s")
