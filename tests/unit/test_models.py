"""Several models in one study: the configuration, tables put together, the page that leads on."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests import page_study
from tests.helpers import flags

from dynalign.config import preflight
from dynalign.config.study import load
from dynalign.figures import style
from dynalign.io.errors import InputError
from dynalign.page import write as page_write
from dynalign.statistics import group
from dynalign.tables import collect, datapackage, schema
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

TRAINED = {
    "training": {"steps": 64, "depth": 2},
    "model": {"source": "trained", "depth": 2, "layers": [0, 2], "steps": [0, 64]},
}


def test_each_model_has_the_common_keys_and_its_own():
    study = load(
        {
            "study": "mine",
            "model": {"steps": [0, 1000], "context_tokens": 20},
            "models": {
                "seed1": {"source": "pythia-70m-seed1"},
                "large": {"source": "pythia-160m", "steps": [0, 512], "layers": [12]},
                "1.4b": {"source": "pythia-1.4b", "context_tokens": 30},
            },
        }
    )
    chosen = {name: (one.source, one.steps, one.depth, one.layers[-1]) for name, one in study.models.items()}
    assert chosen == {
        "seed1": ("EleutherAI/pythia-70m-seed1", (0, 1000), 6, 6),
        "large": ("EleutherAI/pythia-160m", (0, 512), 12, 12),
        "1.4b": ("EleutherAI/pythia-1.4b", (0, 1000), 24, 24),
    }
    assert [one.model.context_tokens for one in study.by_model] == [20, 20, 30]
    for name, one in study.models.items():
        alone = study.of(name)
        assert alone.model == one
        assert alone.checkpoints == (*(f"step-{step}" for step in one.steps), "random")
        assert alone.results == study.results == "results/mine"
        assert alone.model_results == f"results/mine/models/{name}"
        # What the workflow passes on is read back by the steps' commands.
        assert load(json.loads(alone.model_dump_json())) == alone
        assert alone.of(name) == alone
    assert load(study.model_dump(mode="json")) == study


def test_without_models_a_study_is_its_own():
    study = load({})
    assert study.of("") is study
    assert study.by_model == (study,)
    assert study.model_results == study.results


def test_training_runs_differ_by_their_seed():
    study = load(TRAINED | {"seed": 5, "models": {"a": {}, "b": {"seed": 6}}})
    assert [one.training_seed for one in study.by_model] == [5, 6]
    assert load(TRAINED | {"seed": 5}).training_seed == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # A key that all share is named once, where it stands.
        (
            {"model": {"stepz": [1]}, "models": {"a": {}, "b": {"context_tokens": 9}}},
            r"cannot be used:\n  model\.stepz: unknown key \(value \[1\]\); did you mean 'steps'\?[^\n]*$",
        ),
        ({"models": {"a": {"depht": 6}}}, r"cannot be used:\n  models\.a\.depht: unknown key .* 'depth'\?[^\n]*$"),
        ({"models": {"a": {}, "b": {"layers": [99]}}}, r"models\.b: layers: unknown layer 99; allowed are 0 to 12"),
        ({"models": {"a": {"source": "pythia-70m-seed1", "steps": [7]}}}, r"models\.a: steps: .* publishes no step 7"),
        ({"models": {"a": {}, "b": {}}}, r"models: 'b' is the same as 'a'; give a key that differs"),
        (TRAINED | {"models": {"a": {"seed": 0}, "b": {}}}, r"models: 'b' is the same as 'a'"),
        (TRAINED | {"models": {"a": {}, "b": {"steps": [0, 63]}}}, r"models\.b\.steps: training saves no step 63"),
        (TRAINED | {"models": {"a": {}, "b": {"depth": 3}}}, r"models\.b\.depth is 3, but training\.depth 2"),
        (
            TRAINED | {"models": {"a": {}, "b": {"source": "x/y"}}},
            r"models\.b\.source: 'trained' and the section `training` go together",
        ),
        ({"model": {"seed": 1}}, r"model\.seed: seeds the section `training`, which this study has not"),
        ({"models": {"a/b": {}}}, r"'a/b' names files"),
        ({"models": {"a": None}}, r"models\.a: Input should be a valid dictionary"),
        ({"models": ["a"]}, r"models: Input should be a valid dictionary"),
    ],
)
def test_mistakes_are_named_with_their_model(values, message):
    with pytest.raises(InputError, match=message):
        load(values)


def test_a_missing_folder_is_named_with_its_model(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "there/step0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "there/step0" / name).touch()
    models = {name: {"source": f"{tmp_path}/{name}", "steps": [0]} for name in ("there", "gone")}
    missing = [text for text in preflight.missing_files(load({"models": models})) if "source" in text]
    assert missing
    assert all(text.startswith("models.gone.source: no such file") for text in missing)


def effects(rng, subjects=("F", "M")) -> pd.DataFrame:
    """``removal_effects.tsv`` of a model: one cell, of each subject."""
    p = rng.uniform(0.001, 0.2, len(subjects))
    table = pd.DataFrame({"checkpoint": "step-8", "step": 8, "layer": 0, "removal": "leace-crossfit", "p": p})
    table = table.assign(property="tense", subject=subjects)
    return collect.adjust(table, 0.05).reindex(columns=list(schema.TABLES["removal_effects"].columns))


def test_tables_of_models_are_put_together_and_p_adjusted_over_all(tmp_path):
    rng = np.random.default_rng(3)
    models = ("10", "b")
    parts = {name: effects(rng) for name in models}
    groups, cells = [], []
    for name, part in parts.items():
        cells.append(tmp_path / f"models/{name}/tables/removal_effects.tsv")
        groups.append(cells[-1].with_name("removal_effects_group.tsv"))
        cells[-1].parent.mkdir(parents=True)
        write_table(part, cells[-1])
        columns = list(schema.TABLES["removal_effects_group"].columns)
        write_table(part.iloc[:1].assign(n_significant=9).reindex(columns=columns), groups[-1])
    output = tmp_path / "tables/removal_effects.tsv"
    output.parent.mkdir()
    collect.main(flags(tables=cells, models=models, fdr=0.05, output=output))
    table = read_table(output, kind="removal_effects")
    assert table.columns[0] == "model"
    # A name that looks like a number stays a name.
    assert table["model"].tolist() == ["10", "10", "b", "b"]
    together = stats.false_discovery_control([p for part in parts.values() for p in part["p"]])
    np.testing.assert_allclose(table["p_fdr"], together, rtol=1e-6)
    np.testing.assert_array_equal(table["significant"], together < 0.05)
    assert datapackage.resource(output)["schema"]["primaryKey"][0] == "model"
    # Significant subjects are counted by the p that stands there.
    whole = tmp_path / "tables/removal_effects_group.tsv"
    group.main(["collect", *flags(tables=groups, models=models, effects=output, fdr=0.05, output=whole)])
    counted = read_table(whole, kind="removal_effects_group")
    assert counted["n_significant"].tolist() == [(together[:2] < 0.05).sum(), (together[2:] < 0.05).sum()]


def test_two_rows_of_one_model_for_a_cell_are_refused(tmp_path):
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables/removal_effects.tsv"
    table = effects(np.random.default_rng(4))
    write_table(pd.concat([table.assign(model="a"), table.assign(model="b")]), path)
    assert len(read_table(path, kind="removal_effects")) == 4
    write_table(pd.concat([table.assign(model="a"), table.assign(model="a")]), path)
    with pytest.raises(InputError, match="two rows for model a, checkpoint step-8"):
        read_table(path, kind="removal_effects")


def test_a_table_that_all_models_share_has_no_model():
    assert {name for name, table in schema.TABLES.items() if table.shared} == {
        *("labels", "class_counts", "label_correlations"),
        # Drawn from these.
        *(f"figure-{name}" for name in ("02-sentence-classes", "03-word-classes")),
        *(f"figure-{name}" for name in ("09-sentence-distributions", "10-word-distributions")),
    }
    with pytest.raises(ValueError, match="'model' is unknown"):
        schema.TABLES["labels"].in_order(["word_index", "word", "sentence", "model"])


def test_the_page_of_the_study_names_its_models_and_leads_to_their_pages(tmp_path):
    models = {"a": {}, "b": {"steps": [0, 64], "layers": [12]}, "c": {"steps": list(range(20))}}
    values = page_study.configuration(models=models)
    study = load(values)
    frames = {name: page_study.tables(study.of(name).model_dump(mode="json"), k) for k, name in enumerate(models)}
    paths = []
    for kind in ("perplexity", "alignment"):
        parts = []
        for name, found in frames.items():
            parts.append(tmp_path / f"results/made/models/{name}/tables/{kind}.tsv")
            parts[-1].parent.mkdir(parents=True, exist_ok=True)
            write_table(found[kind].reindex(columns=list(schema.TABLES[kind].columns)), parts[-1])
        paths.append(tmp_path / f"results/made/tables/{kind}.tsv")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        collect.main(flags(tables=parts, models=list(models), output=paths[-1]))
    page = tmp_path / "results/made/index.html"
    command = flags(configuration=study.model_dump_json(), tables=paths, output=page)
    page_write.main([*command, "--overview"])
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row"><a href="(.*?)">(.*?)</a></th>(.*?)</tr>', text)
    assert [row[:2] for row in rows] == [(f"models/{name}/index.html", name) for name in models]
    for (_, name, cells), one in zip(rows, study.by_model, strict=True):
        source, depth, seed, steps, perplexity, peak, step = re.findall("<td>(.*?)</td>", cells)
        # Where a machine keeps its files is no result.
        assert (source, depth, seed) == ("mine", "12", "")
        last = frames[name]["perplexity"].set_index("step")["perplexity"][max(one.model.steps)]
        assert perplexity == f"{last:,.1f}"
        original = frames[name]["alignment"].query("removal == 'none' and step == step")
        best = original.groupby(["step", "subject"])["mean_r"].max().groupby("step").mean()
        assert peak == f"{best.max():.3f}"
        assert step == style.step_label(best.idxmax())
        assert steps.startswith(f"{len(one.model.steps)}: 0")
    assert "/somewhere/of" not in text
    assert 'id="explorer"' not in text
    # The page of a model says whose it is and leads back.
    own = tmp_path / "results/made/models/b/index.html"
    tables = [tmp_path / f"results/made/models/b/tables/{kind}.tsv" for kind in ("perplexity", "alignment")]
    page_write.main(flags(configuration=study.of("b").model_dump_json(), tables=tables, output=own))
    text = own.read_text(encoding="utf-8")
    assert '<a href="../../index.html">all models</a>' in text
    assert "<title>made, b: how" in text
    assert 'id="explorer"' in text
    assert 'id="models"' not in text
