"""The table of shares against sums by hand."""

import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags, made_partition

from dynalign.config.statistics import Statistics
from dynalign.encoding.scores import PARTS, SHARES
from dynalign.io.arrays import write_record
from dynalign.io.errors import InputError
from dynalign.statistics import shares
from dynalign.statistics.block_tests import block_test, part_test, voxel_test
from dynalign.statistics.effects import scores_path
from dynalign.tables.reader import read_table

SMALL, GAP = Statistics(block=5), 2
FOLD = np.repeat(np.arange(5), 20).astype(np.int16)
FEATURES = ("tense", "nuisance")
#: The fourth voxel has no score.
VOXELS, INVALID = 12, 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Partitions of two subjects by (subject, space) with their block means; the tables of each and of their mean."""
    folder = tmp_path_factory.mktemp("shares")
    rng, made, tables = np.random.default_rng(0), {}, {}
    for subject in ("F", "M"):
        for space in FEATURES:
            made[subject, space] = made_partition(rng, FOLD, VOXELS, INVALID, SMALL.block)
            cell = {"checkpoint": "step-8", "layer": 2, "subject": subject, "removal": SHARES, "property": space}
            scores_path(folder, cell).parent.mkdir(parents=True, exist_ok=True)
            write_record(scores_path(folder, cell), made[subject, space][0])
    for name, subjects in {"F": ["F"], "M": ["M"], "mean": ["F", "M"]}.items():
        options = flags(checkpoint="step-8", step=8, subjects=subjects, folder=folder, layers=2, features=FEATURES)
        more = flags(gap=GAP, options=SMALL.model_dump_json(), output=folder / f"{name}.tsv")
        shares.main([*options, *more])
        tables[name] = read_table(folder / f"{name}.tsv").set_index(["features", "part"])
    return made, tables


@pytest.mark.parametrize("space", FEATURES)
def test_each_part_is_tested_over_blocks_and_counted_over_voxels(study, space):
    made, tables = study
    for name, subjects in {"F": ["F"], "M": ["M"], "mean": ["F", "M"]}.items():
        for k, part in enumerate(PARTS):
            row = tables[name].loc[(space, part.replace("features", "nuisance" if space == "nuisance" else "property"))]
            assert row["subject"] == name
            assert row["n_voxels"] == len(subjects) * (VOXELS - 1)
            for array, columns in (
                ("timecourse", {"mean": "share", "ci_low": "share_low", "ci_high": "share_high", "p": "p"}),
                ("r_timecourse", {"mean": "mean_r", "ci_low": "ci_low", "ci_high": "ci_high"}),
            ):
                course = np.mean([getattr(made[one, space][0], array)[k] for one in subjects], axis=0)
                test = block_test(course, FOLD, SMALL, GAP)
                for key, column in columns.items():
                    assert row[column] == pytest.approx(test[key], rel=1e-6), column
            r2 = [np.delete(made[one, space][0].r2[k], INVALID).mean() for one in subjects]
            assert row["r2"] == pytest.approx(np.mean(r2), rel=1e-6)
            found = [voxel_test(made[one, space][1][k], FOLD, SMALL, GAP) for one in subjects]
            above = [np.sum((test["q"] < 0.05) & (test["mean"] > 0)) / (VOXELS - 1) for test in found]
            assert row["share_significant"] == pytest.approx(np.mean(above))


def test_the_parts_add_up_to_the_joint_model(study):
    for table in study[1].values():
        for space in FEATURES:
            parts = table.loc[space]
            for column in ("share", "r2", "mean_r"):
                assert parts.drop("joint")[column].sum() == pytest.approx(parts.loc["joint", column], rel=1e-6)
    own = [name for name in study[1]["F"].index.get_level_values("part") if name.startswith("unique_")]
    assert own == ["unique_model", "unique_property", "unique_model", "unique_nuisance"]


def test_the_means_row_is_no_mean_of_the_subjects_tests(study):
    """The subjects' mean time course is tested: its share is their mean, its interval is not."""
    tables = study[1]
    both = pd.concat([tables["F"], tables["M"]]).groupby(level=[0, 1]).mean(numeric_only=True)
    for part in tables["mean"].index:
        assert tables["mean"].loc[part, "share"] == pytest.approx(both.loc[part, "share"], rel=1e-6)
        assert tables["mean"].loc[part, "share_low"] > both.loc[part, "share_low"]


def test_a_voxels_test_from_its_scatter_is_that_of_its_blocks(study):
    partition, means = study[0]["F", "tense"]
    for k, part in enumerate(PARTS):
        found, expected = part_test(partition, part, SMALL, GAP), voxel_test(means[k], FOLD, SMALL, GAP)
        for name in ("mean", "p", "q"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
            assert np.isnan(found[name][INVALID])
    with pytest.raises(InputError, match=r"scores in 20 blocks, but statistics\.block: 10 makes 10; encode again"):
        part_test(partition, "joint", Statistics(block=10), GAP)


def test_partitions_of_other_folds_are_refused(tmp_path):
    rng = np.random.default_rng(2)
    for subject, fold in (("F", FOLD), ("M", FOLD[:-1])):
        cell = {"checkpoint": "random", "layer": 0, "subject": subject, "removal": SHARES, "property": "tense"}
        scores_path(tmp_path, cell).parent.mkdir(parents=True)
        write_record(scores_path(tmp_path, cell), made_partition(rng, fold, VOXELS, INVALID, SMALL.block)[0])
    options = flags(checkpoint="random", subjects=("F", "M"), folder=tmp_path, layers=0, features="tense", gap=GAP)
    with pytest.raises(InputError, match=r"M/layer-0/shares\.tense\.npz: other rows or folds than .*encode both again"):
        shares.main([*options, *flags(options=SMALL.model_dump_json(), output=tmp_path / "x.tsv")])
