"""The configuration: the paper's study as default, clear refusals, generated files in step."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.slurm.conftest import TINY, TINY_ON_GPUS

from dynalign.config import preflight, suites, writers
from dynalign.config.model import Model, is_local
from dynalign.config.study import Study, load
from dynalign.io.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_default_is_the_papers_study():
    study = load({})
    assert study.model.source == "EleutherAI/pythia-160m"
    assert study.checkpoints[-1] == "random"
    assert len(study.checkpoints) * len(study.model.layers) * len(study.properties) == 504
    papers = [arm for arm in study.arms if arm[0] in ("none", "ridge-in-sample")]
    assert len(study.checkpoints) * len(study.model.layers) * len(papers) * len(study.subjects) == 1680
    assert study.encoding.alphas == tuple(10.0**k for k in range(-6, 11))
    assert study.removal.alphas == tuple(10.0**k for k in range(-5, 6))
    assert list(study.properties)[:3] == ["sentence_length", "tree_depth", "top_constituents"]


def test_the_written_files_are_in_step_with_the_model():
    for path, text in writers.generated_files(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m dynalign.config.writers --write"


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml", "seeds.yaml", "published-code.yaml", "rehearsal.yaml"])
def test_the_shipped_studies_are_valid(name):
    load(yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")))


def test_the_studies_of_tests_that_run_elsewhere_are_valid():
    """`make test` does not run those on SLURM."""
    for study in (TINY, TINY_ON_GPUS):
        load(study)


def test_the_written_yaml_reads_back_as_the_default():
    assert load(yaml.safe_load(writers.default_yaml())) == Study()


def test_the_schema_accepts_the_shipped_studies_and_refuses_a_misspelt_key():
    import jsonschema

    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8"))
    for name in ("config.yaml", "demo.yaml", "seeds.yaml", "published-code.yaml"):
        jsonschema.validate(yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"encodng": {}}, schema)


def test_the_published_code_is_reproduced_as_method_says():
    study = load(yaml.safe_load((ROOT / "config/published-code.yaml").read_text(encoding="utf-8")))
    assert study.encoding.delays == (-4, -3, -2, -1)
    assert study.encoding.pca_components == 10
    assert study.encoding.test_scaling == "own"
    assert study.properties["sentence_length"].codes == (0, 1, 3)
    assert np.isclose(study.encoding.alphas[-1], 1e9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encodng": {}}, r"encodng: unknown key .*did you mean 'encoding'.*allowed here: study"),
        ({"encoding": {"alphaz": [1]}}, r"encoding\.alphaz: unknown key \(value \[1\]\); did you mean 'alphas'"),
        ({"model": {"layers": [0, 13]}}, r"unknown layer 13; allowed are 0 to 12"),
        ({"subjects": ["F", "F"]}, r"subjects: 'F' stands twice"),
        ({"model": {"steps": [1, 1]}}, r"model\.steps: 1 stands twice"),
        ({"subjects": ["../F"]}, r"'\.\./F' names files"),
        ({"study": "a/b"}, r"study: 'a/b' names files"),
        ({"encoding": {"folds": "stories"}}, r"encoding\.folds: 'stories' goes with a table of recordings"),
        ({"encoding": {"folds": 1}}, r"encoding\.folds.*greater than or equal to 2 \(got 1\)"),
        ({"encoding": {"alphas": [0]}}, r"encoding\.alphas\.0: .*greater than 0 \(got 0\)"),
        ({"encoding": {"alphas": [10, 1]}}, r"encoding\.alphas: must rise, got \[10\.0, 1\.0\]"),
        ({"properties": {"x": {"classes": ["a"]}}}, r"properties\.x: no raw value has that name"),
        ({"properties": {"tense": {}}}, r"exactly one of thresholds, classes, random; got none"),
        ({"properties": {"tense": {"clases": ["a"]}}}, r"properties\.tense\.clases: unknown key.*'classes'"),
        ({"properties": {"tense": {"classes": ["a"], "codes": [1]}}}, r"codes must name 2 different integers"),
        ({"properties": {"original": {"random": 2}}}, r"'original' names the representation"),
        ({"figures": {"properties": ["tens"]}}, r"figures\.properties: unknown 'tens'; allowed: sentence_length"),
        ({"model": {"source": "trained"}}, r"'trained' and the section `training` go together"),
        ({"story": {"layout": "table", "download": None}}, r"layout 'table' needs the key 'words'"),
        ({"removal": {"methods": ["ridg"]}}, r"removal\.methods\.0: .*'leace-crossfit'.*\(got 'ridg'\)"),
        ({"removal": {"methods": ["leace-tr"]}}, r"methods: the paper's removal .* add 'ridge-in-sample'"),
        ({"model": {"revision": "main"}}, r"revision: 'main' would be the checkpoint of step 0 and of another"),
        (
            {"model": {"revision": {0: "a", 1: "b", 2: "a"}, "steps": [0, 1, 2]}},
            r"revision: 'a' would be the checkpoint of step 0",
        ),
        ({"model": {"revision": "{seed}-{step}"}}, r"'\{seed\}-\{step\}' is no pattern \(KeyError: 'seed'\)"),
        ({"model": {"revision": {0: "main"}, "steps": [0, 9]}}, r"revision: names no revision for step 9"),
        ({"model": {"steps": "pythia"}}, r"model\.steps: no such suite; .*one of: all, pythia-all \(got 'pythia'\)"),
        ({"model": {"source": "pythia-160m", "steps": [0, 999]}}, r"no step 999; near it are 512 and 1000, .*are 154"),
        ({"model": {"source": "smollm3-3b"}}, r"steps: needed for smollm3-3b; .*`all` \(118\)"),
        ({"model": {"source": "olmo-2-1b", "steps": "all"}}, r"which steps allenai/OLMo-2-0425-1B has is not known"),
        ({"model": {"source": "gpt2", "steps": "all"}}, r"`all` are those of a suite, and 'gpt2' is none"),
        ({"model": {"source": "pythia-14m", "layers": [8]}}, r"layers: unknown layer 8; allowed are 0 to 6"),
        ({"model": {"commits": {1: 40 * "0"}}}, r"commits: 1 is none of model\.steps"),
        ({"model": {"commits": {0: "main"}}}, r"commits\.0: .*should match pattern"),
        (
            {"baselines": ["controls"], "encoding": {"pca_components": 10}},
            r"`controls` has 5 dimensions, encoding\.pca_components asks for 10",
        ),
        (
            {"features": {"loud": {"table": "a.tsv", "columns": ["x"]}}, "baselines": ["loud"]}
            | {"encoding": {"pca_components": 10}},
            r"`loud` has 1 dimensions, encoding\.pca_components asks for 10",
        ),
        (
            {"baselines": ["loud"]},
            r"baselines: unknown 'loud'; allowed: random, random_types, controls and names of the section",
        ),
        ({"shares": {"nuisance": ["loud"]}}, r"shares\.nuisance: unknown 'loud'; allowed: word_rate, .*word_types, su"),
        ({"shares": {"ratios": [1, 0.1]}}, r"shares\.ratios: must rise"),
        ({"properties": {"nuisance": {"random": 2}}}, r"properties: 'nuisance' names nuisance features"),
        ({"features": {"loud": {}}}, r"features\.loud\.table: Field required"),
        (
            {"features": {"loud": {"table": "a.tsv", "colums": ["x"]}}},
            r"features\.loud\.colums: .*did you mean 'columns'",
        ),
        *(
            ({"features": {name: {"table": "a.tsv"} for name in names}}, rf"features: .*'{names[0]}' .*choose another")
            for names in (["tense"], ["controls"], ["length"], ["surprisal"], ["step-1"], ["word"], ["a", "a_b"])
        ),
        ({"rois": {}}, r"rois: needs exactly one of arrays, image; got none"),
        ({"rois": {"arrays": "{subject}.npy", "names": ["a"]}}, r"arrays: '\{subject\}\.npy' lacks \{roi\}"),
        ({"rois": {"arrays": "{subject}/{roi}.npy"}}, r"arrays: needs `names`"),
        ({"rois": {"image": "{subject}.nii"}}, r"image and labels go together"),
        (
            {"rois": {"image": "{subject}.nii", "labels": "labels.tsv"}},
            r"rois\.image: goes with NIfTI images; give rois\.arrays",
        ),
        (
            {"subjects": ["F"], "noise_ceiling": {"compute": True}},
            r"noise_ceiling\.compute: .* two subjects or more; subjects has one \(F\)",
        ),
        ({"noise_ceiling": {"threshold": 1}}, r"noise_ceiling\.threshold: .*less than 1 \(got 1\)"),
        ({"brain": {"voxels": "language.npy"}}, r"voxels: 'language\.npy' lacks \{subject\}"),
        ({"brain": {"voxels": "{subject}\n.npy"}}, r"brain\.voxels: .* is a path"),
        ({"brain": {"images": "{run}.nii"}}, r"images: '\{run\}\.nii' lacks \{subject\}"),
        *(
            (
                {"brain": {"images": f"{subject}_{run}.nii"}},
                r"brain\.images: .*may hold \{subject\}, \{run\} and \{hemi\}; \{run:02d\}",
            )
            for subject, run in (
                ("{subject:02d}", "{run}"),
                ("{subject}", "{run!r}"),
                ("{subject}", "{run:2d}"),
                ("{subject}", "{run:x}"),
                ("{subject}{roi}", "{run}"),
                ("{subject}{", "{run}"),
                ("{subject}", "{run.real}"),
            )
        ),
        ({"brain": {"mask": "{subject}_{run}.nii"}}, r"brain\.mask: .*may hold \{subject\} and \{hemi\}; subjects"),
        (
            {"rois": {"arrays": "{subject}/{roi:02d}.npy", "names": ["a"]}},
            r"rois\.arrays: .*may hold \{subject\} and \{roi\}",
        ),
        (
            {"story": {"folder": "~nobody-of-this-name/x"}},
            r"story\.folder: '~nobody-of-this-name/x': '~' is a home fold",
        ),
    ],
)
def test_mistakes_are_refused_with_key_value_and_what_is_allowed(values, message):
    with pytest.raises(InputError, match=message):
        load(values)


def decimals(values, place=()):
    """Places of the floats in nested dictionaries and lists."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place] * isinstance(values, float) + [at for key, value in inner for at in decimals(value, (*place, key))]


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
def test_numbers_that_are_not_finite_are_refused_in_every_field(number):
    study = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))
    values = load(study).model_dump()
    places = decimals(json.loads(json.dumps(values)))
    assert {("story", "tr"), ("simulation", "noise"), ("brain", "high_pass_s"), ("statistics", "alpha")} < set(places)
    assert {place[:2] for place in places} > {("properties", "sentence_length"), ("encoding", "alphas")}
    for *path, last in places:
        wrong = part = json.loads(json.dumps(values))
        for key in path:
            part = part[key]
        part[last] = yaml.safe_load(number)
        with pytest.raises(InputError) as refused:
            load(wrong)
        key = ".".join(map(str, [*path, last]))
        assert f"\n  {key}: Input should be a finite number (got {part[last]})" in str(refused.value)


def test_a_suite_stands_for_the_steps_that_are_published():
    """Biderman et al. (2023), section 2.1: 0, the powers of two to 512, then 143 thousands: 154 in all."""
    study = load({"model": {"steps": "pythia-all"}})
    steps = study.model.steps
    assert len(steps) == 154
    assert steps[:13] == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000)
    assert steps[-2:] == (142000, 143000)
    assert set(Model().steps) <= set(steps)
    assert len(study.checkpoints) == 155
    # What the workflow passes on is read back by the steps' commands.
    assert load(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("model", "source", "depth", "n_steps", "revision"),
    [
        # As the model cards say; of OLMo 2, whose names hold tokens, as its branches are called.
        ({"source": "pythia-70m-seed3"}, "EleutherAI/pythia-70m-seed3", 6, 7, (143000, "step143000")),
        ({"source": "pythia-1b", "steps": "all"}, "EleutherAI/pythia-1b", 16, 154, (512, "step512")),
        ({"source": "pythia-12b-deduped", "steps": [0]}, "EleutherAI/pythia-12b-deduped", 36, 1, (0, "step0")),
        (
            {"source": "olmo-2-7b", "steps": [150, 2000, 928646]},
            "allenai/OLMo-2-1124-7B",
            32,
            3,
            {150: "stage1-step150-tokens1B", 2000: "stage1-step2000-tokens9B", 928646: "stage1-step928646-tokens3896B"},
        ),
        (
            {"source": "olmo-2-1b", "steps": [0, 10000, 1907359]},
            "allenai/OLMo-2-0425-1B",
            16,
            3,
            {
                0: "stage1-step0-tokens0B",
                10000: "stage1-step10000-tokens21B",
                1907359: "stage1-step1907359-tokens4001B",
            },
        ),
        (
            {"source": "olmo-2-13b", "steps": [1000, 596057]},
            "allenai/OLMo-2-1124-13B",
            40,
            2,
            {1000: "stage1-step1000-tokens9B", 596057: "stage1-step596057-tokens5001B"},
        ),
        ({"source": "olmo-3-7b", "steps": [1413814]}, "allenai/Olmo-3-1025-7B", 32, 1, (1413814, "stage1-step1413814")),
        (
            {"source": "smollm3-3b", "steps": [40000, 3440000, 4200000, 4720000]},
            "HuggingFaceTB/SmolLM3-3B-checkpoints",
            36,
            4,
            {
                40000: "stage1-step-40000",
                3440000: "stage1-step-3440000",
                4200000: "stage2-step-4200000",
                4720000: "stage3-step-4720000",
            },
        ),
    ],
    ids=lambda value: value.get("source") if isinstance(value, dict) else None,
)
def test_the_name_of_a_suite_sets_what_it_stands_for(model, source, depth, n_steps, revision):
    study = load({"model": model})
    assert (study.model.source, study.model.depth, len(study.model.steps)) == (source, depth, n_steps)
    assert study.model.layers == tuple(range(0, depth + 1, 2))
    for step, name in [revision] if isinstance(revision, tuple) else revision.items():
        assert study.model.revision_of(step) == name
    # Keys of one's own go before; a folder of that name is the model.
    assert load({"model": model | {"layers": [1], "revision": "x{step}"}}).model.layers == (1,)
    assert load(study.model_dump(mode="json")) == study


def test_a_folder_with_the_name_of_a_suite_is_the_model(tmp_path, monkeypatch):
    (tmp_path / "pythia-14m").mkdir()
    monkeypatch.chdir(tmp_path)
    model = Model(source="pythia-14m")
    assert (model.source, model.depth) == ("pythia-14m", 12)


def test_the_table_of_suites():
    """Ten sizes of Pythia and their deduplicated twins, 45 seeds and six of one kind; what is published of SmolLM3."""
    found = suites.suites()
    assert sum(name.startswith("pythia") for name in found) == 2 * 10 + 45 + 6
    assert {one.steps for name, one in found.items() if "pythia" in name} == {Model(steps="pythia-all").steps}
    # 143,000 steps are 300 billion tokens.
    assert {143000 * one.tokens_per_step for name, one in found.items() if "pythia" in name} == {299_892_736_000}
    assert len({one.source for one in found.values()}) == len(found)
    smol = found["smollm3-3b"]
    assert [len(steps) for _, steps in smol.stages] == [86, 19, 13]
    assert round(40000 * smol.tokens_per_step / 1e9, 1) == 94.4
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert "config/suites.tsv" in packed["dynalign"]


@pytest.mark.parametrize(
    ("model", "step", "revision"),
    [
        ({"source": "EleutherAI/pythia-70m-seed3"}, 512, "step512"),
        ({"source": "stanford-crfm/alias-gpt2-small-x21", "revision": "checkpoint-{step}"}, 400, "checkpoint-400"),
        ({"revision": "ckpt/{step:07d}"}, 400, "ckpt/0000400"),
        (
            {
                "source": "allenai/OLMo-1B-hf",
                "revision": {20000: "step20000-tokens84B", 40000: "step40000-tokens168B"},
                "steps": [20000, 40000],
            },
            40000,
            "step40000-tokens168B",
        ),
        ({"source": "openai-community/gpt2", "revision": "main", "steps": [0]}, 0, "main"),
    ],
    ids=["PolyPythia", "GPT-2", "padded", "OLMo", "final"],
)
def test_revision_names_of_other_suites(model, step, revision):
    study = load({"model": {"steps": [0, 400, 512]} | model})
    assert study.model.revision_of(step) == revision
    assert load(study.model_dump(mode="json")) == study


def test_controls_and_own_features_have_no_layers():
    study = load({"features": {"loud": {"table": "a.tsv"}}, "baselines": ["random_types", "controls", "loud"]})
    assert study.layers_of("controls") == study.layers_of("loud") == (0,)
    assert study.layers_of("random_types") == study.layers_of("step-0") == study.model.layers


def test_what_shares_are_computed_for():
    properties = tuple(load({}).properties)
    assert load({}).shared_with == (*properties, "nuisance")
    assert load({"shares": {"nuisance": []}}).shared_with == properties
    assert load({"shares": {"compute": False}}).shared_with == ()
    own = {"features": {"loud": {"table": "a.tsv"}}, "shares": {"nuisance": ["loud", "surprisal", "length"]}}
    study = load(own)
    assert study.shares.nuisance == ("loud", "surprisal", "length")
    assert load(study.model_dump(mode="json")) == study


def test_ratios_of_penalties_stand_on_the_grid_of_penalties():
    """Else a joint model has a finer grid than its parts, and gains by it: .93 of null shares were rejected."""
    with pytest.raises(
        InputError, match=r"shares\.ratios: 3\.16228 lies between .* a factor of 10; .*\[0\.1, 1\.0, 10\.0\]"
    ):
        load({"shares": {"ratios": [0.1, 1, 10**0.5, 10]}})
    half = [10 ** (k / 2) for k in range(-4, 9)]
    assert load({"shares": {"ratios": [0.1, 1, 10**0.5, 10]}, "encoding": {"alphas": half}}).shares.compute
    load({"shares": {"ratios": [0.3, 1], "compute": False}})
    with pytest.raises(InputError, match=r"encoding\.alphas: shares of variance need two penalties"):
        load({"encoding": {"alphas": [1]}})


def test_the_readmes_nuisance_features_are_valid():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8").split("## Nuisance features")[1]
    study = load(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]))
    assert list(study.features) == ["concreteness", "loudness", "motion"]
    assert study.checkpoints[-1] == "loudness"


def test_training_must_save_the_steps_that_are_studied():
    training = {"steps": 64, "depth": 2}
    model = {"source": "trained", "depth": 2, "layers": [0, 2], "steps": [0, 48]}
    with pytest.raises(InputError, match=r"saves no step 48; it saves \[0, 1, 2, 4, 8, 16, 32, 64\]"):
        load({"training": training, "model": model})
    assert load({"training": training, "model": model | {"steps": [0, 64]}}).checkpoints[1] == "step-64"


def arrays_study(folder, subjects, **changes):
    for name in ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri", "data_subject_A", "data_subject_B"):
        (folder / f"{name}.npy").touch()
    return load(
        {"subjects": subjects, "story": {"folder": str(folder), "download": None}, "annotation": {"download": True}}
        | changes
    )


def test_subjects_without_files_are_refused_with_those_that_have(tmp_path):
    preflight.check_files(arrays_study(tmp_path, ["A", "B"]))
    with pytest.raises(InputError, match=r"subjects: 'C' has no file .*data_subject_C\.npy; there are: A, B"):
        preflight.check_files(arrays_study(tmp_path, ["A", "C"]))
    with pytest.raises(InputError, match=r"unknown 'X'; the Harry Potter data has F, H, I"):
        preflight.check_files(load({"subjects": ["X"]}))


def test_missing_files_are_named_with_their_key(tmp_path):
    study = arrays_study(tmp_path, ["A"], annotation={"file": str(tmp_path / "parse.conllu")})
    with pytest.raises(InputError, match=r"annotation\.file: no such file .*parse\.conllu"):
        preflight.check_files(study)
    own = arrays_study(tmp_path, ["A"], features={"loud": {"table": str(tmp_path / "loud.tsv")}})
    with pytest.raises(InputError, match=r"features\.loud\.table: no such file .*loud\.tsv"):
        preflight.check_files(own)
    local = arrays_study(tmp_path, ["A"], model={"source": f"{tmp_path}", "steps": [0]})
    with pytest.raises(InputError, match=r"model\.source: no such file .*step0/config\.json"):
        preflight.check_files(local)
    # A folder of its own holds all of the tokenizer's files; without one, those of the first step are read.
    (tmp_path / "step0").mkdir()
    for name in ("config.json", "tokenizer.json"):
        with pytest.raises(InputError, match=rf"model\.source: no such file .*step0/{name}"):
            preflight.check_files(local)
        (tmp_path / "step0" / name).write_text("{}")
    preflight.check_files(local)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"model\.source: no such file .*tokenizer/config\.json; copy that of a checkp"
    ):
        preflight.check_files(local)
    (tmp_path / "tokenizer/tokenizer.json").rename(tmp_path / "tokenizer/config.json")
    with pytest.raises(
        InputError, match=r"no such file .*tokenizer/tokenizer\.json; a fast tokenizer.*save_pretrained"
    ):
        preflight.check_files(local)
    (tmp_path / "time_fmri.npy").unlink()
    with pytest.raises(InputError, match=r"story\.folder: no such file .*time_fmri\.npy"):
        preflight.check_files(load({"subjects": ["A"], "story": {"folder": str(tmp_path), "download": None}}))


def test_missing_regions_and_voxels_are_named_with_their_subject(tmp_path):
    (tmp_path / "A-left.npy").touch()
    rois = {"arrays": f"{tmp_path}/{{subject}}-{{roi}}.npy", "names": ["left", "right"]}
    with pytest.raises(InputError, match=r"rois\.arrays: no such file .*A-right\.npy \(subject 'A'\)"):
        preflight.check_files(arrays_study(tmp_path, ["A"], rois=rois))
    rois["names"] = ["left"]
    preflight.check_files(arrays_study(tmp_path, ["A"], rois=rois))
    voxels = arrays_study(tmp_path, ["A"], brain={"voxels": f"{tmp_path}/{{subject}}-kept.npy"})
    with pytest.raises(InputError, match=r"brain\.voxels: no such file .*A-kept\.npy"):
        preflight.check_files(voxels)


def test_a_table_study_names_the_image_that_is_missing(tmp_path):
    (tmp_path / "words.tsv").touch()
    (tmp_path / "S_mask.nii").touch()
    (tmp_path / "S_1.nii").touch()
    values = {
        "subjects": ["S"],
        "story": {"layout": "table", "download": None, "words": f"{tmp_path}/words.tsv", "tr": 2, "trs": [5, 5]},
        "brain": {"images": f"{tmp_path}/{{subject}}_{{run}}.nii", "mask": f"{tmp_path}/{{subject}}_mask.nii"},
    }
    with pytest.raises(InputError, match=r"brain\.images: no such file .*S_2\.nii \(subject 'S', run 2\)"):
        preflight.check_files(load(values))
    (tmp_path / "S_02.nii").touch()
    values["brain"]["images"] = f"{tmp_path}/{{subject}}_{{run:02d}}.nii"
    with pytest.raises(InputError, match=r"brain\.images: no such file .*S_01\.nii \(subject 'S', run 1\)"):
        preflight.check_files(load(values))
    (tmp_path / "S_01.nii").touch()
    values["annotation"] = {"download": True}
    preflight.check_files(load(values))
    values["story"]["words"] = f"{tmp_path}/{{run:02d}}.TextGrid"
    (tmp_path / "01.TextGrid").touch()
    with pytest.raises(InputError, match=r"story\.words: no such file .*02\.TextGrid \(run 2\)"):
        preflight.check_files(load(values))


def test_a_mask_may_be_all_subjects_and_a_single_run_needs_no_number():
    story = {"layout": "table", "download": None, "words": "words.tsv", "tr": 2}
    values = {"subjects": ["A", "B"], "brain": {"images": "{subject}.nii", "mask": "mask.nii"}}
    assert load(values | {"story": story | {"trs": [9]}}).brain.image("B", 1) == "B.nii"
    with pytest.raises(InputError, match=r"brain\.images: '\{subject\}\.nii' lacks \{run\}"):
        load(values | {"story": story | {"trs": [9, 9]}})


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("brain", {"mask": "results/demo/data/mask.nii.gz"}, r"brain\.mask: '.*' lacks \{subject\}"),
        ("rois", {"labels": "results/demo/data/rois.tsv"}, r"rois\.labels: '.*' lacks \{subject\}"),
        ("story", {"words": "results/demo/data/w{run}.tsv"}, r"words takes no \{run\}: .results/demo/data/w\{run"),
    ],
)
def test_simulated_subjects_have_files_of_their_own(part, change, message):
    study = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=message):
        load(study | {part: study[part] | change})


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("s-{subject}_{run}", "s-A_7"),
        ("{run:02d}/{subject}", "07/A"),
        ("{subject}{run:03}", "A007"),
        ("{subject}{run:d}", "A7"),
    ],
)
def test_runs_may_be_padded_with_zeros(pattern, name):
    study = load({"brain": {"images": pattern}})
    assert study.brain.image("A", 7) == name
    # What rules ask for: the subject stays a wildcard.
    assert study.brain.image("{subject}", 7) == name.replace("A", "{subject}")


def test_home_folders_are_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    table = {"layout": "table", "download": None, "tr": 2, "trs": [5]}
    given = {
        "story": table | {"folder": "~/a", "words": "~/a"},
        "brain": {"images": "~/{subject}{run}", "mask": "~/{subject}"},
        "rois": {"image": "~/{subject}", "labels": "~/a"},
        "annotation": {"models": "~/a", "file": "~/a"},
        "properties": {"mine": {"table": "~/a", "thresholds": [1]}},
        "figures": {"properties": ["mine"]},
        "features": {"loud": {"table": "~/a"}},
        "model": {"source": "~/a"},
    }
    trained = {"source": "trained", "depth": 2, "layers": [0], "steps": [0]}
    more = {
        "brain": {"voxels": "~/{subject}"},
        "rois": {"arrays": "~/{subject}{roi}", "names": ["a"]},
        "model": trained,
        "training": {"texts": ["~/a"], "grammar": "~/a", "depth": 2},
    }
    for values in (given, more):
        text = load(values).model_dump_json(exclude_defaults=True)
        assert "~" not in text
        assert text.count("/home/me/") == str(values).count("~/")
    source = load(given).model.source
    assert source == "/home/me/a"
    assert is_local(source)
