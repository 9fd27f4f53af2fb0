"""The environments: one set of versions, and nothing imported that is not asked for."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from dynalign import provenance

ROOT = Path(__file__).parents[2]
PINS = dict(
    line.lower().split("==")
    for line in (ROOT / "envs/constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
#: Import names that differ from the package's.
PACKAGES = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "concept_erasure": "concept-erasure",
    "vl_convert": "vl-convert-python",
}


def pinned(name: str) -> dict[str, str]:
    environment = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    return dict(line.lower().split("==") for line in pip)


@pytest.mark.parametrize("name", ["language", "analysis"])
def test_conda_pins_are_those_of_the_constraints(name):
    for package, version in pinned(name).items():
        assert PINS[package] == version, package


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
    return {PACKAGES.get(name, name) for name in found - sys.stdlib_module_names - {"dynalign"}}


def commands() -> list[tuple[str, str]]:
    """Each rule's step and the environment that it names."""
    found = []
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"\n *rule\b", path.read_text(encoding="utf-8"))[1:]:
            step, environment = (re.search(r"python -m dynalign\.([\w.]+)", rule), re.search(r"envs/(\w+)\.yaml", rule))
            assert step, f"{path}: a rule without a command:{rule[:60]}"
            assert environment, f"{path}: a rule without an environment:{rule[:60]}"
            found.append((step[1], environment[1]))
    return sorted(set(found))


@pytest.mark.parametrize(("step", "environment"), commands())
def test_a_rules_environment_holds_what_its_step_imports(step, environment):
    assert imported(step) <= set(pinned(environment))
