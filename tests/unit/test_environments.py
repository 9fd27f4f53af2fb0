"""The environment: one set of versions, and nothing imported that is not asked for."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dynalign import __version__, provenance

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = {canonicalize_name(one.name): one for one in map(Requirement, PROJECT["dependencies"])}
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "envs/constraints.txt").read_text(), re.MULTILINE)
}
#: Import names that differ from the package's.
PACKAGES = {"sklearn": "scikit-learn", "yaml": "pyyaml", "vl_convert": "vl-convert-python"}


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_the_tested_version_of_each_package_is_one_that_is_asked_for(name):
    assert DEPENDENCIES[name].specifier.contains(PINS[name])


def test_conda_installs_what_pip_does():
    environment = yaml.safe_load((ROOT / "envs/dynalign.yaml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    paths = [(ROOT / "envs" / line.split(" ", 1)[1]).resolve() for line in pip]
    assert paths == [ROOT / "envs/constraints.txt", ROOT]


def test_the_version_stands_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert PROJECT["version"] == __version__ == citation["version"] == changelog[1]


def imported(step: str) -> set[str]:
    """Third-party packages that a step imports: with its modules, and late, in the functions that it uses."""
    reachable = provenance.reachable(step)
    sources = [*reachable.values()]
    for module in {module for module, _ in reachable}:
        tree = ast.parse(provenance.module_file(module).read_text(encoding="utf-8"))
        sources += [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = set()
    for node in ast.walk(ast.parse("\n".join(sources))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return {canonicalize_name(PACKAGES.get(name, name)) for name in found - sys.stdlib_module_names - {"dynalign"}}


def steps() -> list[str]:
    """The step that each rule calls."""
    found = set()
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"\n *rule\b", path.read_text(encoding="utf-8"))[1:]:
            step = re.search(r"python -m dynalign\.([\w.]+)", rule)
            assert step, f"{path}: a rule without a command:{rule[:60]}"
            # A package is called by its `__main__`.
            package = (ROOT / "workflow/dynalign" / step[1].replace(".", "/")).is_dir()
            found.add(f"{step[1]}.__main__" if package else step[1])
    return sorted(found)


@pytest.mark.parametrize("step", steps())
def test_the_package_asks_for_what_a_step_imports(step):
    assert imported(step) <= DEPENDENCIES.keys()
