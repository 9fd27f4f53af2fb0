"""Both removal methods through the commands: labels + vectors → maps → probes → encoding of every arm."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from tests.helpers import flags

from dynalign.config.encoding import Encoding
from dynalign.config.removal import Probing, Removal
from dynalign.encoding import encode
from dynalign.encoding.scores import read_scores
from dynalign.io.arrays import write_array
from dynalign.removal import fit, probing
from dynalign.statistics.effects import voxel_scores
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

ENCODING = Encoding(delays=(1,), alphas=(1.0, 100.0, 1e4), folds=3, inner_folds=3, gap=1)
PROBING = Probing(C=(0.01, 1.0), permutations=20, inner_folds=3)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Words whose kind, one of five, moves their vectors; four voxels follow the kind, four other dimensions."""
    folder, rng = tmp_path_factory.mktemp("methods"), np.random.default_rng(0)
    n, hidden, n_trs = 900, 16, 300
    tr = np.arange(n) // 3
    kind, coin = rng.choice(5, n, p=[0.3, 0.25, 0.2, 0.15, 0.1]), rng.integers(0, 2, n)
    means = 3 * rng.standard_normal((5, hidden))
    means[:, :4] = 0
    X = rng.standard_normal((n, hidden)) + means[kind]
    words = pd.DataFrame({"word_index": np.arange(n), "word": "w" + pd.Series(np.arange(n) % 90).astype(str)})
    words = words.assign(sentence=np.arange(n) // 9, tr=tr, run=1)
    write_table(words.assign(kind=kind, coin=coin), folder / "labels.tsv")
    write_table(words.assign(onset=2.0 * tr + 0.1, dropped=0), folder / "words.tsv")
    trs = pd.DataFrame({"tr": np.arange(n_trs), "run": 1, "time": 2.0 * np.arange(n_trs), "kept": 1})
    write_table(trs, folder / "trs.tsv")
    save_file({"word_index": np.arange(n), "layer-3": X.astype(np.float32)}, folder / "step-8.safetensors")

    def heard(per_word):
        """What the words of the TR before gave, with noise."""
        signal = np.roll(per_word.reshape(n_trs, 3, -1).mean(axis=1), 1, axis=0)
        return signal / signal.std(axis=0) + 0.5 * rng.standard_normal(signal.shape)

    effects = rng.standard_normal((5, 4))
    responses = np.hstack([heard(effects[kind]), heard(X[:, :4])])
    write_array(folder / "F.npy", responses.astype(np.float32))
    return folder


def run_chain(folder, coding):
    """The three commands; the probing table and the mean score of the two groups of voxels in each arm."""
    output = folder / coding
    options = Removal(methods=("ridge-in-sample", "leace-in-sample"), coding=coding, controls=False)
    shared = flags(representation=folder / "step-8.safetensors", labels=folder / "labels.tsv")
    shared += flags(properties=["kind", "coin"])
    fit.main(shared + flags(layer=3, options=options.model_dump_json(), output=output / "maps.npz"))
    shared += flags(erasers=output / "maps.npz")
    probing.main(
        shared
        + flags(layer=3, options=PROBING.model_dump_json(), removal_options=options.model_dump_json())
        + flags(checkpoint="step-8", step=8, output=output / "probing.tsv")
    )
    encode.main(
        shared
        + flags(layers=3, words=folder / "words.tsv", trs=folder / "trs.tsv", responses=folder / "F.npy")
        + flags(options=ENCODING.model_dump_json(), removal_options=options.model_dump_json())
        + flags(output_dir=output / "F")
    )
    r = {path.stem: voxel_scores(read_scores(path)) for path in sorted((output / "F/layer-3").iterdir())}
    probes = read_table(output / "probing.tsv").set_index(["removal", "property"])
    return probes, {arm: (scores[:4].mean(), scores[4:].mean()) for arm, scores in r.items()}


def test_exact_removals_take_a_five_class_property_out_of_probes_and_voxels(inputs):
    probes, r = run_chain(inputs, "onehot")
    assert list(r) == [
        *("leace-in-sample.coin", "leace-in-sample.kind", "none.original"),
        *("ridge-in-sample.coin", "ridge-in-sample.kind"),
    ]
    assert min(r["none.original"]) > 0.6
    for method in ("ridge", "leace"):
        row = probes.loc[f"{method}-in-sample", "kind"]
        assert row["accuracy_before"] > 0.95
        assert (row["removed"], row["crossfit_position"]) == (1, "inside")
        of_kind, of_others = r[f"{method}-in-sample.kind"]
        assert of_kind < 0.15
        assert of_others > r["none.original"][1] - 0.05
    # Removing what is not there: shrunk to nothing by ridge's penalty, one chance direction of 16 by LEACE.
    np.testing.assert_allclose(r["ridge-in-sample.coin"], r["none.original"], atol=0.01)
    np.testing.assert_allclose(r["leace-in-sample.coin"], r["none.original"], atol=0.12)


def test_integer_codes_leave_it_in_both(inputs):
    probes, r = run_chain(inputs, "ordinal")
    row = probes.loc["ridge-in-sample", "kind"]
    assert row["accuracy_after_crossfit"] > 0.9
    assert (row["removed"], row["crossfit_position"]) == (0, "above")
    assert r["ridge-in-sample.kind"][0] > 0.3
    assert r["leace-in-sample.kind"][0] < 0.15
