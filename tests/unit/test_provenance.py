"""The digest changes exactly with the code that a step uses."""

import re
import shutil

import pytest

from dynalign import provenance

SOURCES = {
    "__init__": '"""Package."""\n',
    "step": (
        "from dynalign.tools import used\nfrom dynalign import other\n\n\ndef main(argv=None):\n"
        '    """Doc."""\n    from dynalign.late import lazily\n    return used(1) + other.shared() + lazily()\n\n\n'
        "def unrelated():\n    return 0\n"
    ),
    "tools": (
        "LIMIT = 3\n\n\ndef used(x):\n    return helper(x) + LIMIT\n\n\n"
        "def helper(x):\n    return x\n\n\ndef spare():\n    return 9\n"
    ),
    "other": "def shared():\n    return 1\n\n\ndef alone():\n    return 2\n",
    "late": "def lazily():\n    return 5\n",
}


@pytest.fixture
def package(tmp_path):
    def write(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, source in {**SOURCES, **changes}.items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")
        return folder

    return write


def changed(package, name, old, new):
    assert old in SOURCES[name]
    edited = package(**{name: SOURCES[name].replace(old, new)})
    return provenance.digest("step", folder=edited) != provenance.digest("step", folder=package())


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("step", "used(1)", "used(2)"),
        ("tools", "helper(x) + LIMIT", "helper(x) - LIMIT"),
        ("tools", "return x\n", "return -x\n"),
        ("tools", "LIMIT = 3", "LIMIT = 4"),
        ("other", "return 1", "return -1"),
        ("late", "return 5", "return 6"),
    ],
)
def test_an_edit_to_used_code_changes_the_digest(package, name, old, new):
    assert changed(package, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("step", '"""Doc."""', '"""Another text."""'),
        ("step", "def main(argv=None):", "# why\ndef main(argv = None):"),
        ("step", "return 0", "return 7"),
        ("tools", "return 9", "return 8"),
        ("other", "return 2", "return 3"),
    ],
)
def test_an_edit_elsewhere_does_not(package, name, old, new):
    assert not changed(package, name, old, new)


def test_help_texts_do_not_count(package):
    first = package(
        tools=SOURCES["tools"] + "X = Field(3, description='a')\n",
        step=SOURCES["step"] + "from dynalign.tools import X\nY = X\n",
    )
    source = SOURCES["step"].replace("return used(1)", "return X + used(1)").replace("import used", "import X, used")
    first = package(step=source, tools=SOURCES["tools"] + "X = Field(3, description='a')\n")
    second = package(step=source, tools=SOURCES["tools"] + "X = Field(3, description='b')\n")
    third = package(step=source, tools=SOURCES["tools"] + "X = Field(4, description='b')\n")
    assert provenance.digest("step", folder=first) == provenance.digest("step", folder=second)
    assert provenance.digest("step", folder=first) != provenance.digest("step", folder=third)


def test_every_step_of_the_package_is_followed_beyond_itself():
    for step in (
        "stimulus.timing",
        "models.representation",
        "models.training",
        "removal.fit",
        "removal.probing",
        "encoding.encode",
        "statistics.effects",
        "figures.draw",
    ):
        modules = {module for module, _ in provenance.reachable(step)}
        assert {step, "io.errors", "cli"} <= modules


@pytest.mark.parametrize(
    ("module", "old", "new", "users"),
    [
        (
            "folds",
            "np.round(np.linspace(",
            "np.rint(np.linspace(",
            {
                *("removal.fit", "removal.probing", "encoding.encode"),
                *(
                    "statistics.effects",
                    "statistics.group",
                    "statistics.shares",
                    "statistics.contrasts",
                    "statistics.ceiling",
                    "statistics.models",
                    "statistics.regions",
                ),
                "statistics.maps",
            },
        ),
        ("encoding.ridge", "TIE = 1e-6", "TIE = 2e-6", {"encoding.encode", "statistics.ceiling"}),
        ("removal.logistic", "tol: float = 1e-5", "tol: float = 1e-6", {"removal.probing"}),
        ("stimulus.timing", '"Mt."', '"Sgt."', {"stimulus.timing"}),
        ("figures.style", '"figure.titlesize": 12', '"figure.titlesize": 13', {"figures.draw", "figures.brain_images"}),
        ("provenance", "[:12]", "[:11]", {"page.write"}),
    ],
)
def test_an_edit_changes_exactly_the_steps_that_use_it(tmp_path, module, old, new, users):
    package = tmp_path / "dynalign"
    shutil.copytree(provenance.FOLDER, package)
    path = provenance.module_file(module, package)
    source = path.read_text(encoding="utf-8")
    assert source.count(old) == 1
    path.write_text(source.replace(old, new), encoding="utf-8")
    steps = [
        ".".join(p.relative_to(package).with_suffix("").parts)
        for p in package.rglob("*.py")
        # What a check passes does not change with its code: no rule asks for its digest.
        if p.parent.name != "check" and re.search(r"^(def main\(|main = )", p.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {s for s in steps if provenance.digest(s, folder=package) != provenance.digest(s)} == users


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="no function 'main' in a module 'nothing'"):
        provenance.digest("nothing")


def test_a_sub_commands_digest_is_its_own():
    reached = {name: set(provenance.reachable("statistics.emergence", name)) for name in ("steps", "correlation")}
    assert ("statistics.emergence", "spearman") in reached["correlation"] - reached["steps"]
    assert ("statistics.emergence", "cleared") in reached["steps"] - reached["correlation"]


def anew(folder):
    """The digest of a step of a package, as another process would ask for it."""
    for cached in (provenance._module, provenance._definition, provenance.digest):
        cached.cache_clear()
    digests = provenance.Digests(folder.parent / "kept.json", folder)
    found = digests("step")
    digests.save()
    return found


def test_digests_are_kept_for_the_same_sources_only(package, monkeypatch):
    folder = package()
    first = anew(folder)
    assert first == provenance.digest("step", folder=folder)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "reachable", lambda *of: pytest.fail("the sources are read again"))
        assert anew(folder) == first
    kept = folder.parent / "kept.json"
    text = kept.read_text(encoding="utf-8")
    (folder / "other.py").write_text("def shared():\n    return 2\n", encoding="utf-8")
    second = anew(folder)
    assert second != first
    # Of other sources, cut short, or what another program wrote there.
    for wrong in (text, text[: len(text) // 2], "[]", '{"state": null, "digests": {}}'):
        kept.write_text(wrong, encoding="utf-8")
        assert anew(folder) == second


def test_a_folder_that_cannot_be_written_to_keeps_no_digests(package):
    folder = package()
    (folder.parent / "kept.json").mkdir()
    assert anew(folder) == provenance.digest("step", folder=folder)
