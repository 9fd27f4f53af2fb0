"""Nothing that is read is run, nothing that the configuration says leaves its place."""

import ast
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from dynalign.config.study import load
from dynalign.encoding import scores
from dynalign.figures import paper_tables
from dynalign.io import arrays
from dynalign.io.errors import InputError
from dynalign.io.yaml import read_yaml
from dynalign.models import representation, tokens
from dynalign.removal import data, erasers
from dynalign.stimulus import conllu, timing
from dynalign.tables import reader

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/dynalign"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Reads pickled text with names of its own in place of those in the file.
UNPICKLES = PACKAGE / "datasets/unpickle_text.py"

#: Calls that can run what a file holds, or hand text to a shell.
DANGEROUS = {
    "eval", "exec", "compile", "__import__", "system", "popen", "Popen", "check_output", "check_call", "getoutput",
    "Unpickler", "loads_pickle", "full_load", "unsafe_load", "read_pickle", "get_loader",
}  # fmt: skip
#: Those of them that are harmless as methods: re.compile, model.eval.
BUILTINS = {"eval", "exec", "compile"}
#: What may be imported of a dangerous module, and why.
IMPORTS = {
    "pickle": {"UnpicklingError"},  # to name what torch's weights-only loader refused
    "marshal": set(),
    "shelve": set(),
    "joblib": set(),
    "dill": set(),
    "cloudpickle": set(),
    "subprocess": set(),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_can_run_what_it_reads(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dangerous = {alias.name.split(".")[0] for alias in node.names} & set(IMPORTS)
            assert dangerous <= ({"pickle"} if path == UNPICKLES else set()), ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in IMPORTS:
            assert {alias.name for alias in node.names} <= IMPORTS[node.module], ast.unparse(node)
        elif isinstance(node, ast.Call):
            text = ast.unparse(node)
            attribute = isinstance(node.func, ast.Attribute)
            name = node.func.attr if attribute else getattr(node.func, "id", "")
            owner = ast.unparse(node.func.value) if attribute else ""
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert name not in DANGEROUS or (name in BUILTINS and attribute), text
            assert given.get("shell", "False") == "False", text
            if owner in ("np", "numpy") and name == "load":
                assert given.get("allow_pickle") == "False", text
            if owner.startswith("np") and name in ("save", "savez", "savez_compressed", "write_array"):
                assert given.get("allow_pickle") == "False", text
            if owner == "torch" and name == "load":
                assert given.get("weights_only") == "True", text
            if owner == "yaml":
                assert name in ("safe_load", "safe_dump") or given.get("Loader") == "yaml.CSafeLoader", text
            if name == "from_pretrained" and owner.startswith("Auto"):
                assert given.get("trust_remote_code") == "False", text
                assert given.get("local_files_only") == "True", text
            assert given.get("trust_remote_code", "False") == "False", text


class Trap:
    """What a pickle runs when it is read: it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def sprung(tmp_path):
    """A file that a trap makes; it must not be there in the end."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists()


def test_a_pickle_in_place_of_any_input_is_refused_and_not_run(tmp_path, sprung):
    trap = pickle.dumps(Trap(sprung))
    raw = tmp_path / "raw"
    raw.write_bytes(trap)
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    archive = tmp_path / "archive.npz"
    np.savez(archive, **{name: np.array([Trap(sprung)], dtype=object) for name in ("ids", "r", "ridge.tense.slope")})
    for name in ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri"):
        (tmp_path / f"{name}.npy").write_bytes(objects.read_bytes())
    readers = [
        lambda path: arrays.read_array(path),
        lambda path: arrays.read_arrays(path),
        lambda path: reader.read_table(path, ["word"]),
        lambda path: arrays.read_record(path, tokens.Tokens),
        lambda path: scores.read_scores(path),
        lambda path: erasers.read_erasers(path),
        lambda path: data.read_vectors(path, 0),
        lambda path: conllu.read_sentences(path),
    ]
    for path in (raw, objects, archive):
        for number, read in enumerate(readers):
            with pytest.raises(InputError, match=re.escape(str(path))):
                pytest.fail(f"reader {number} took {path.name}: {read(path)!r}")
    with pytest.raises(InputError, match=r"words_fmri\.npy.*never unpickles"):
        timing.read_arrays_layout(tmp_path)


def test_a_model_that_brings_code_or_a_pickle_is_refused_and_not_run(tmp_path, sprung):
    folder = tmp_path / "model"
    folder.mkdir()
    code = f"open({str(sprung)!r}, 'w')\n"
    (folder / "evil.py").write_text(code)
    auto = {name: f"evil.{name}" for name in ("AutoConfig", "AutoModelForCausalLM")}
    auto["AutoTokenizer"] = ["evil.Slow", "evil.Fast"]
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", "auto_map": auto}))
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(sprung)))
    for read in (
        lambda: tokens.load_tokenizer(folder),
        lambda: tokens.model_shape(folder, 1),
        lambda: representation.load_model(folder),
    ):
        with pytest.raises(InputError, match=r"transformers \S*\s?can (load|read)"):
            read()
    config_only = {"model_type": "gpt_neox", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps(config_only | {"vocab_size": 10, "intermediate_size": 8}))
    for name, kind in (("model.safetensors", "safetensors"), ("pytorch_model.bin", "pytorch")):
        (folder / name).write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=2))
        with pytest.raises(InputError, match="transformers can load"):
            representation.load_model(folder, weights=kind)


def test_a_configuration_that_would_build_objects_is_refused(tmp_path, sprung):
    hostile = f"!!python/object/apply:builtins.open [{str(sprung)!r}, 'w']"
    (tmp_path / "study.yaml").write_text(f"study: {hostile}\n")
    with pytest.raises(InputError, match=r"study\.yaml.*not YAML"):
        read_yaml(tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text("study: a\nseed: 1\nstudy: b\n")
    with pytest.raises(InputError, match=r"study\.yaml: the key 'study' stands twice, in lines 1 and 3; keep one"):
        read_yaml(tmp_path / "study.yaml")


OUTSIDE = ["../x", "..", ".", "/etc/passwd", "a/b", "-rf", "--output", "", "a b", "a;b", "$(touch x)", "`x`", "a'b"]
OUTSIDE += ['a"b', "a\nb", "{subject}", "*", "~", "a\\b", "x\0y", "x" * 65]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    "place",
    [
        lambda name: {"study": name},
        lambda name: {"subjects": [name]},
        lambda name: {"properties": {name: {"random": 2}}},
        lambda name: {"annotation": {"package": name}},
        lambda name: {"annotation": {"processors": [name]}},
    ],
    ids=["study", "subject", "property", "package", "processor"],
)
def test_names_stay_names(name, place):
    with pytest.raises(InputError, match="names files"):
        load({"figures": {"properties": []}} | place(name))


REVISIONS = ["..", "../x", "a/../b", "/etc", "a//b", "-rf", "a/-b", "", "a b", "$(x)", "a/", "x\n"]


@pytest.mark.parametrize("name", REVISIONS)
def test_revisions_stay_in_the_models_folder(name):
    with pytest.raises(InputError, match="is no revision"):
        load({"model": {"steps": [0], "revision": {0: name}}})


@pytest.mark.parametrize("pattern", ["{step.real}", "{step:>999999999}", "{step!r}", "{step:{step}}", "../{step}"])
def test_patterns_of_revisions_hold_the_step_alone(pattern):
    with pytest.raises(InputError, match="revision: "):
        load({"model": {"steps": [0], "revision": pattern}})


PATHS = [
    lambda path: {"story": {"folder": path}},
    lambda path: {"story": {"words": path}},
    lambda path: {"annotation": {"models": path}},
    lambda path: {"annotation": {"file": path}},
    lambda path: {"brain": {"images": "{subject}{run}" + path, "mask": None}},
    lambda path: {"brain": {"confounds": {"files": "{subject}" + path, "columns": ["a"]}}},
    lambda path: {"brain": {"mask": path + "{subject}"}},
    lambda path: {"properties": {"tense": {"table": path, "classes": ["a"]}}},
    lambda path: {"model": {"source": path}},
]


@pytest.mark.parametrize("place", PATHS)
@pytest.mark.parametrize("path", ["a{array}b", "a}b", "a\nb", "a\tb", "\0"])
def test_paths_hold_nothing_that_snakemake_or_a_shell_reads(place, path):
    with pytest.raises(
        InputError,
        match=r"it may not be empty, begin with '-', or hold braces or control|: this path may hold \{(subject|run)\}",
    ):
        load({"figures": {"properties": []}} | place(path))


@pytest.mark.parametrize("path", ["", "-rf", "--output"])
def test_paths_are_no_options(path):
    for place in PATHS[:4]:
        with pytest.raises(InputError, match="is a path"):
            load(place(path))


def test_what_a_simulation_writes_stays_in_its_study():
    study = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))
    load(study)
    for section, key, path in (
        ("story", "words", "words.tsv"),
        ("story", "words", "results/other/words.tsv"),
        ("story", "words", "results/demo/../../words.tsv"),
        ("brain", "images", "/tmp/{subject}_{run}.nii.gz"),
        ("brain", "mask", "results/demo/../{subject}.nii.gz"),
    ):
        changed = study | {section: study[section] | {key: path}}
        with pytest.raises(InputError, match=rf"writes {section}\.{key}, which must be in results/demo/"):
            load(changed)


#: Placeholders of rules that stand unquoted: numbers, names of this repository, or values that their type in the
#: configuration confines to letters, digits, '-', '_', '.', '+'.
UNQUOTED = {
    "threads", "resources.gpu",
    "wildcards.layer", "wildcards.ckpt", "wildcards.baseline", "wildcards.array",
    "params.seed", "params.step", "params.layers", "params.context", "params.depth", "params.characters",
    "params.level", "params.block", "params.block_voxels", "params.gap", "params.others",
    "params.study",  # a name
    "params.weights", "params.removal", "params.bos",  # one of a few words
    "params.commit",  # 40 hexadecimal digits
    "params.name", "params.names", "params.entry",  # a figure; step-<n>; a sub-command
    "params.malloc", "params.space",  # a constant; one of two options
}  # fmt: skip


def test_every_value_in_a_shell_command_is_quoted_or_cannot_need_it():
    found = 0
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for command in re.findall(r"\n +shell:\n((?: +[rf]*\".*\"\n)+)", path.read_text(encoding="utf-8") + "\n"):
            assert not re.search(r"^ +[rf]+\"", command, re.MULTILINE), f"{path.name}: {command}"
            for name in re.findall(r"\{([^{}]+)\}", command):
                found += 1
                assert name.endswith(":q") or re.sub(r"\[.*\]", "", name) in UNQUOTED, f"{path.name}: {{{name}}}"
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert rules.count("shell:\n") > 20
    assert found > 4 * rules.count("shell:\n")
    assert not re.search(r"^ +(run|script|notebook|wrapper):", rules, re.MULTILINE)


def test_tables_for_browsers_escape_what_they_are_given():
    import pandas as pd

    hostile = "<script>alert(1)</script>"
    pairs = [(a, b) for a in (hostile, "tense") for b in ("tense", hostile)]
    rows = [{"property_a": a, "property_b": b, "r": 0.5, "p": 0.01, "asterisk": 0} for a, b in pairs]
    table = pd.DataFrame(rows)
    html = paper_tables.correlations_body(table)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    probing = {
        "part": "last step", "checkpoint": hostile, "step": 1, "layer": 0, "removal": hostile, "property": hostile,
        "crossfit_position": "inside", "removed": 1, "removed_paper": 1, "chance": 0.5,
    }  # fmt: skip
    probing |= {name: 0.5 for name in paper_tables.PROBING_COLUMNS if name not in probing}
    html = paper_tables.probing_body(pd.DataFrame([probing, probing | {"part": "last layer"}]))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 4
