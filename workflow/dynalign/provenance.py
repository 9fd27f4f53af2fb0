"""A digest of the code that a step uses, so that an edit reruns exactly the rules that use what changed.

Starting from a step's module (``encoding.encode``, say), definitions are followed by name through the package:
functions, classes, constants, and what they refer to in turn, in whichever module it stands (late imports
included). The digest is over their normalised source, so that docstrings, help texts, comments, layout, time
stamps and unused code do not count. It needs no import of the code it reads.
"""

import ast
import hashlib
import os
import sys
from functools import cache
from pathlib import Path

from dynalign.io.kept import Kept

PACKAGE = "dynalign"
FOLDER = Path(__file__).parent


class _Module:
    """Top-level definitions of one module and what its names refer to."""

    def __init__(self, tree: ast.Module, folder: Path):
        self.definitions: dict[str, list[ast.AST]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.always: list[ast.AST] = []
        for inner in ast.walk(tree):
            _strip(inner)
            self.imports.update(_package_imports(inner, folder))
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.definitions.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                    self.definitions.setdefault(name.id, []).append(node)
            elif not (isinstance(node, (ast.Import, ast.ImportFrom)) or _is_docstring(node) or _is_main_guard(node)):
                self.always.append(node)


def _strip(node: ast.AST) -> None:
    """Take the docstring and the help texts out of a node."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and _is_docstring(body[0]):
        body[:] = body[1:] or [ast.Pass()]
    if isinstance(node, ast.Call):
        node.keywords = [word for word in node.keywords if word.arg not in ("description", "help")]


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_main_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.dump(node.test)


def module_file(name: str, folder: Path = FOLDER) -> Path:
    """File of a module, ``removal.ridge`` say; "" is the package itself."""
    path = folder.joinpath(*filter(None, name.split(".")))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _package_imports(node: ast.AST, folder: Path) -> dict[str, tuple[str, str | None]]:
    """Local name → (module of the package, name in it or None for the module itself)."""
    found: dict[str, tuple[str, str | None]] = {}
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        package, _, module = node.module.partition(".")
        for alias in node.names if package == PACKAGE else ():
            inside = f"{module}.{alias.name}" if module else alias.name
            is_module = module_file(inside, folder).is_file()
            found[alias.asname or alias.name] = (inside, None) if is_module else (module, alias.name)
    return found


@cache
def _module(folder: Path, name: str) -> _Module | None:
    path = module_file(name, folder)
    return _Module(ast.parse(path.read_text(encoding="utf-8")), folder) if path.is_file() else None


def _references(node: ast.AST, module: _Module):
    """Pairs (module name or None for this module, name or None for everything) that a definition refers to."""
    attributes_of = set()
    inside = list(ast.walk(node))
    for inner in inside:
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            target = module.imports.get(inner.value.id)
            if target and target[1] is None:
                attributes_of.add(id(inner.value))
                yield target[0], inner.attr
    for inner in inside:
        if isinstance(inner, ast.Name) and id(inner) not in attributes_of:
            if inner.id in module.imports:
                yield module.imports[inner.id]
            elif inner.id in module.definitions:
                yield None, inner.id
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner.value in module.definitions:
            # A postponed annotation or a name looked up by text.
            yield None, inner.value


@cache
def _definition(folder: Path, where: str, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Normalised source of a definition, and what it refers to as (module, name); "" for unnamed statements.

    Kept, because steps share most of what they reach.
    """
    module = _module(folder, where)
    nodes = module.definitions[name] if name else module.always
    references = ((other or where, inner or "*") for node in nodes for other, inner in _references(node, module))
    return "".join(map(ast.unparse, nodes)), tuple(dict.fromkeys(references))


def reachable(step: str, entry: str = "main", folder: Path = FOLDER) -> dict[tuple[str, str], str]:
    """Everything that the function `entry` of a module may use inside the package; a `ValueError` if it has none.

    ``(module, name)`` → normalised source; the name "" stands for a module's unnamed statements.
    """
    start = _module(folder, step)
    if start is None or entry not in start.definitions:
        raise ValueError(f"{folder}: no function {entry!r} in a module {step!r}")
    found: dict[tuple[str, str], str] = {}
    waiting = [(step, entry)]
    while waiting:
        where, name = waiting.pop()
        module = _module(folder, where)
        if module is None or (where, name) in found:
            continue
        if (where, "") not in found:
            found[where, ""], references = _definition(folder, where, "")
            waiting += references
        if name == "*":
            waiting += [(where, other) for other in module.definitions]
            continue
        if name not in module.definitions:
            # Imported from there, though defined elsewhere.
            if name in module.imports:
                other, inner = module.imports[name]
                waiting.append((other, inner or "*"))
            continue
        found[where, name], references = _definition(folder, where, name)
        waiting += references
    return found


@cache
def digest(step: str, entry: str = "main", folder: Path = FOLDER) -> str:
    """Short digest of the code that a step's command uses (12 hexadecimal digits)."""
    parts = sorted(reachable(step, entry, folder).items())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


class Digests:
    """:func:`digest`, kept in a file: every plan asks for all of them, and reading the package takes a second.

    They count only for the very same sources and the same Python.
    """

    def __init__(self, kept: str | os.PathLike, folder: Path = FOLDER):
        self._kept, self._folder = Kept(kept), folder
        self.save = self._kept.save
        state = hashlib.sha256(sys.version.encode())
        for path in sorted(folder.rglob("*.py")):
            state.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
        self._state = [state.hexdigest()]

    def __call__(self, step: str, entry: str = "main") -> str:
        """The digest of a step's code."""
        return self._kept(f"{step}:{entry}", self._state, lambda: digest(step, entry, self._folder))
