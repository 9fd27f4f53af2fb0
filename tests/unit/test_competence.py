"""Scores on tasks: tables of the user's, published evaluations, correlations with alignment."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.figure_study import study

from dynalign.config.study import Study
from dynalign.io.errors import InputError
from dynalign.models import competence
from dynalign.statistics import competence as related
from dynalign.statistics import emergence
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

NAMES = ["EleutherAI/pythia-160m", "pythia-160m"]
STEPS = (0, 1000, 143000)


def write(path, *lines):
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


GOOD = [("pythia-160m", 0, "sciq", 0.25), ("pythia-160m", 1000, "sciq", 0.4), ("pythia-70m", 0, "sciq", 0.2)]
HEADER = ("model", "step", "task", "score")


def test_a_table_is_cut_to_the_model_and_its_checkpoints(tmp_path):
    assert competence.names_of(Study()) == NAMES
    assert competence.names_of(Study(model={"source": "pythia-70m-seed3"}))[-1] == "pythia-70m-seed3"
    path = write(tmp_path / "scores.tsv", HEADER, *GOOD, ("EleutherAI/pythia-160m", 7, "sciq", 0.3))
    table = competence.read_competence(path, NAMES, STEPS)
    assert table.to_numpy().tolist() == [[0, "sciq", 0.25], [1000, "sciq", 0.4]]
    # Of one model, without the column; separated by commas.
    path = tmp_path / "scores.csv"
    path.write_text("step,task,score\n1000,18,0.5\n", encoding="utf-8")
    assert competence.read_competence(path, NAMES, STEPS).to_numpy().tolist() == [[1000, "18", 0.5]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER[:-1], *(row[:-1] for row in GOOD)], "lacks column 'score'; it has model, step, task"),
        ([HEADER, ("gpt2", 0, "sciq", 1)], "no row of model .* or 'pythia-160m'; column `model` has gpt2: call it"),
        ([HEADER, *GOOD, ("pythia-160m", 0, "sciq", 0.3)], "two scores of task 'sciq' at step 0; there must be one"),
        ([HEADER, ("pythia-160m", 5, "sciq", 0.3)], "no score at any step of model.steps; it has steps 5"),
        ([HEADER, ("pythia-160m", 0.5, "sciq", 0.3)], "row 0: step is 0.5; training steps are 0, 1, 2"),
        (
            [HEADER, *GOOD, ("pythia-160m", 143000, "sciq", "high")],
            "row 3: score is 'high', but each row needs a number",
        ),
        ([HEADER, *GOOD, ("pythia-160m", "last", "sciq", 1)], "row 3: step is 'last', but each row needs a number"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, lines, message):
    with pytest.raises(InputError, match=rf"scores\.tsv: {message}"):
        competence.read_competence(write(tmp_path / "scores.tsv", *lines), NAMES, STEPS)


@pytest.fixture
def published(tmp_path):
    """Files as the published ones are laid out: two models, few steps, other kinds of evaluation beside them."""
    root = tmp_path / "evals/pythia-v1"
    for model, size in (("pythia-160m", "160m"), ("pythia-1.4b-deduped", "1.4b-deduped")):
        for step in (0, 512, 143000):
            results = {
                "sciq": {"acc": 0.2 + step / 1e6, "acc_stderr": 0.01, "acc_norm": 0.3},
                "lambada_openai": {"ppl": 9.5, "acc": float("nan") if step == 0 else 0.1},
                "crows_pairs_french": {"likelihood_difference": 4.6, "pct_stereotype": 0.5},
            }
            file = root / model / "zero-shot" / f"{size}_step{step}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"results": results, "versions": {"sciq": 0}}), encoding="utf-8")
        (root / model / "five-shot").mkdir()
        (root / model / "five-shot" / f"{size}-5shot_step0.json").write_text("{}", encoding="utf-8")
    return root


def made(folder, output, *more):
    competence.main(["--folder", str(folder), "--output", str(output), *more])
    return read_table(output)


def test_published_evaluations_become_the_table(published, tmp_path):
    table = made(published, tmp_path / "scores.tsv")
    assert list(table.columns) == ["model", "step", "task", "score"]
    key = table.set_index(["model", "step", "task"])["score"]
    assert key.index.is_unique
    # Two models at three steps, two tasks with an accuracy, but for that which is none.
    assert len(key) == 2 * (3 * 2 - 1)
    assert key["pythia-160m", 143000, "sciq"] == pytest.approx(0.343)
    assert set(table["task"]) == {"sciq", "lambada_openai"}
    one = made(published / "pythia-160m", tmp_path / "one.tsv", "--metric", "acc_norm", "--tasks", "sciq")
    assert set(one["model"]) == {"pythia-160m"}
    assert set(one["score"]) == {0.3}
    assert len(made(published / "pythia-160m/zero-shot", tmp_path / "alone.tsv")) == 5
    assert competence.read_competence(tmp_path / "scores.tsv", NAMES, STEPS)["step"].tolist() == [0, 143000, 143000]


def test_files_that_are_no_evaluations_are_named(published, tmp_path):
    for more, message in (
        (("--metric", "f1"), "holds no 'f1' in files zero-shot"),
        (("--tasks", "sciq", "piqa"), "no file has 'acc' of task 'piqa'"),
    ):
        with pytest.raises(InputError, match=message):
            made(published, tmp_path / "scores.tsv", *more)
    with pytest.raises(InputError, match="holds no 'acc' in files zero-shot"):
        made(tmp_path / "nowhere", tmp_path / "scores.tsv")
    path = published / "pythia-160m/zero-shot/160m_step0.json"
    for content in ("{", "[]", '{"results": 3}', '{"results": {"sciq": 4}}'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"160m_step0\.json: no file of evaluations"):
            made(published, tmp_path / "scores.tsv")
    path.rename(path.with_name("160m.json"))
    with pytest.raises(InputError, match=r"160m\.json: no step in the file's name"):
        made(published, tmp_path / "scores.tsv")


def test_scores_are_related_to_alignment_as_perplexity_is(tmp_path):
    tables = study()
    write_table(tables["alignment"], tmp_path / "tables/alignment.tsv")
    rng = np.random.default_rng(0)
    steps = tables["perplexity"]["step"].tolist()
    rows = [
        (step, task, value) for task in ("a", "b") for step, value in zip(steps, rng.random(len(steps)), strict=True)
    ]
    # Steps that are no checkpoints of the study, a task at one checkpoint alone, and of another order.
    path = write(tmp_path / "given.tsv", ("step", "task", "score"), *rows[::-1], (5, "a", 0.1), (steps[0], "c", 1.0))
    related.main(
        [
            *("--alignment", str(tmp_path / "tables/alignment.tsv"), "--competence", str(path), "--models", *NAMES),
            *("--scores", str(tmp_path / "tables/competence.tsv")),
            *("--output", str(tmp_path / "tables/competence_alignment.tsv")),
        ]
    )
    scores = read_table(tmp_path / "tables/competence.tsv", kind="competence")
    assert scores["checkpoint"].tolist() == [f"step-{step}" for step in scores["step"]]
    assert len(scores) == 2 * len(steps) + 1
    table = read_table(tmp_path / "tables/competence_alignment.tsv", kind="competence_alignment")
    assert set(table["task"]) == {"a", "b"}
    alignment = read_table(tmp_path / "tables/alignment.tsv", kind="alignment")
    for task, subject, layer in (("a", "mean", "mean"), ("b", "F", "2")):
        (row,) = table[(table["task"] == task) & (table["subject"] == subject) & (table["layer"] == layer)].itertuples()
        curve = emergence.at_layer(alignment, "mean" if layer == "mean" else int(layer))
        curve = curve[(curve["subject"] == subject) & curve["step"].notna()].sort_values("step")["mean_r"].to_numpy()
        own = scores[scores["task"] == task].sort_values("step")["score"].to_numpy()
        assert row.rho == pytest.approx(stats.spearmanr(own, curve).statistic)
        assert row.rho_of_changes == pytest.approx(stats.spearmanr(np.diff(own), np.diff(curve)).statistic)
        assert row.ci_low <= row.rho <= row.ci_high
    # The same function gives the table of perplexity.
    bits = pd.Series(np.exp(own), index=[f"step-{step}" for step in steps])
    one = emergence.correlations(alignment, bits, np.log(bits), 0.05, 0)
    perplexity = pd.DataFrame({"checkpoint": bits.index, "step": steps, "perplexity": bits.to_numpy()})
    pd.testing.assert_frame_equal(pd.DataFrame(one), emergence.correlation_table(alignment, perplexity, 0.05, 0))
