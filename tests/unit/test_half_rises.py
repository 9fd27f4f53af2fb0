"""Half-rises of what is known word by word, against loops and planted truth."""

import numpy as np
import pandas as pd
import pytest

from dynalign.config.statistics import Statistics
from dynalign.io.arrays import write_arrays
from dynalign.io.errors import InputError
from dynalign.statistics import block_tests, contrasts, half_rises, words
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Two runs of 60 TRs, of which 50 are kept, in blocks of ten; three words to a TR.
SETTINGS, GAP = Statistics(block=10), 2
FOLD = np.repeat(np.arange(4, dtype=np.int16), 25)
STEPS = (0, 10, 100, 1000, 10000)
NAMES = [f"step-{step}" for step in STEPS]


def story(folder, runs=2):
    kept = np.tile((np.arange(60) >= 6) & (np.arange(60) < 56), runs)
    run = np.repeat(np.arange(1, runs + 1), 60)
    trs = pd.DataFrame({"tr": np.arange(60 * runs), "run": run, "time": 2.0 * np.arange(60 * runs), "kept": kept * 1})
    heard = pd.DataFrame({"word_index": np.arange(180 * runs), "word": "w", "sentence": 0})
    heard = heard.assign(tr=np.repeat(np.arange(60 * runs), 3), onset=0.5 * np.arange(180 * runs), dropped=0)
    heard["run"] = run[heard["tr"]]
    write_table(trs, folder / "trs.tsv")
    write_table(heard, folder / "words.tsv")
    return heard, trs


def in_blocks(folder, rows=None, fold=FOLD):
    return words.WordBlocks(folder / "words.tsv", folder / "trs.tsv", fold, SETTINGS.block, rows)


def test_words_lie_in_the_block_of_their_tr_or_of_the_nearest_that_is_kept(tmp_path):
    heard, trs = story(tmp_path)
    found = in_blocks(tmp_path)
    kept = trs.index[trs["kept"] == 1]
    of_row = block_tests.blocks_of_rows(FOLD, SETTINGS.block)
    assert found.n_blocks == of_row.max() + 1 == 8
    for word in heard.itertuples():
        inside = kept[trs.loc[kept, "run"] == word.run]
        nearest = min(inside, key=lambda tr, of=word.tr: (abs(tr - of), tr))
        assert found.block[word.word_index] == of_row[list(kept).index(nearest)]
    # Only the first run is shared: words of the other have no block.
    alone = in_blocks(tmp_path, np.arange(50), FOLD[:50])
    assert {block for word, block in alone.block.items() if word >= 180} == {-1}
    with pytest.raises(InputError, match=r"trs\.tsv: 100 TRs are kept, but time courses have 50; encode again"):
        in_blocks(tmp_path, None, FOLD[:50])


def test_means_over_blocks_weigh_by_words_and_add_up_to_the_mean_over_words(tmp_path):
    story(tmp_path)
    rng = np.random.default_rng(0)
    index, blocks = np.arange(33, 360), in_blocks(tmp_path)
    values = rng.standard_normal((2, len(index)))
    values[:, 5] = np.nan
    curve = blocks.curve(values, index, 0.05)
    np.testing.assert_allclose(curve.blocks[0] @ curve.sample.weights, np.nanmean(values, axis=1))
    third = [k for k, word in enumerate(index) if blocks.block[word] == 2]
    np.testing.assert_allclose(curve.blocks[0, :, 2], values[:, third].mean(axis=1))
    assert curve.sample.share == 0
    # A fold of four is tested by the words of the three others: n / n_train = 4/3 more variance.
    corrected = blocks.curve(values, index, 0.05, n_folds=4).sample
    assert 8 * corrected.share == pytest.approx(4 / 3)
    assert (corrected.test(curve.blocks[0].T)["error"] / curve.sample.test(curve.blocks[0].T)["error"])[0] == (
        pytest.approx((7 / 3) ** 0.5)
    )


@pytest.fixture
def study(tmp_path):
    """Alignment that is half up at step 100; perplexity earlier; one property earlier, one later, one never."""
    rng = np.random.default_rng(1)
    heard, _ = story(tmp_path)
    rise = {"alignment": [0, 0.1, 0.5, 0.9, 1], "early": [0, 0.9, 1, 1, 1], "late": [0, 0, 0.1, 0.5, 1]}
    index, text = heard["word_index"].to_numpy()[33:], rng.standard_normal(len(heard) - 33)
    for k, name in enumerate(NAMES):
        for layer in (0, 3):
            for subject in "FM":
                course = 3 * rise["alignment"][k] + rng.standard_normal(len(FOLD))
                at = tmp_path / f"encoding/{name}/{subject}/layer-{layer}/none.original.npz"
                write_arrays(at, {"timecourse": course, "fold": FOLD})
            chances = [0.5 + 0.4 * rise["early"][k], 0.5 + 0.4 * rise["late"][k], 0.5]
            right = (rng.random((3, len(index))) < np.array(chances)[:, None]).astype(np.int8)
            right[0, ::7] = -1
            about = {"property": np.array(["pos", "tense", "coin"]), "word_index": index, "n_folds": np.array(4)}
            write_arrays(tmp_path / f"probing/{name}/layer-{layer}.npz", about | {"right": right})
        bits = 14 - 8 * rise["early"][k] + text + 0.1 * rng.standard_normal(len(index))
        table = pd.DataFrame({"word_index": index, "surprisal": bits})
        write_table(table, tmp_path / f"representation/{name}.surprisal.tsv")
    return tmp_path


def run(folder):
    contrasts.main(
        [
            *("--folder", str(folder / "encoding"), "--steps", *map(str, STEPS), "--layers", "0", "3"),
            *("--subjects", "F", "M", "--gap", str(GAP), "--options", '{"block": 10}'),
            *("--trs", str(folder / "trs.tsv"), "--words", str(folder / "words.tsv")),
            *("--representation", str(folder / "representation"), "--probing", str(folder / "probing")),
            *("--output", str(folder / "contrasts.tsv"), "--half-rises", str(folder / "half_rises.tsv")),
        ]
    )
    return read_table(folder / "half_rises.tsv")


def test_what_rises_before_alignment_is_found(study):
    table = run(study).set_index(["quantity", "property", "subject", "layer"])
    assert table.index.is_unique
    # Alignment per subject and their mean, perplexity once, three properties, each per layer and over layers.
    assert len(table) == 3 * 3 + 1 + 3 * 3
    bounds = [f"half_rise_ratio{end}" for end in ("_low", "", "_high")]
    for key in (("perplexity", "", "", ""), ("probing", "pos", "", "mean"), ("probing", "pos", "", "3")):
        low, ratio, high = table.loc[key, bounds]
        assert low < ratio < high < 1, key
        layer = key[3] or "mean"
        whole = table.loc[("alignment", "original", "mean", layer), "half_rise_step"]
        assert ratio == pytest.approx((1 + table.loc[key, "half_rise_step"]) / (1 + whole))
    low, ratio, high = table.loc[("probing", "tense", "", "mean"), bounds]
    assert 1 < low < ratio < high
    assert table.loc[("probing", "coin", "", "mean")].isna().all()
    # Perplexity falls by 7.2 of 8 bits to step 10, half of it by the middle of log(step + 1).
    assert table.loc[("perplexity", "", "", ""), "half_rise_step"] == pytest.approx(11 ** (4 / 7.2) - 1, rel=0.05)


def test_blocks_are_drawn_alike_for_words_and_time_courses(study):
    """What a block of the story does to both is no difference between them."""
    rng = np.random.default_rng(2)
    sample = block_tests.sample_of(FOLD, SETTINGS, GAP)
    plain = sample._replace(share=0.0)
    blocks = np.array([0.0, 1, 5, 9, 10])[:, None] + 3 * rng.standard_normal((1, 5, 8))
    one, other = (half_rises.risen(np.log1p(STEPS), half_rises.Curve(blocks, how), 0) for how in (plain, plain))
    np.testing.assert_array_equal(one, other)
    rows = half_rises.half_rise_rows(STEPS, {("perplexity", ""): half_rises.Curve(blocks, plain)}, 0, one)
    (row,) = rows
    assert [row[f"half_rise_ratio{end}"] for end in ("", "_low", "_high")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("file", "what"), [("probing/step-10/layer-3.npz", "properties"), ("representation/step-10.surprisal.tsv", "words")]
)
def test_checkpoints_that_do_not_fit_are_named(study, file, what):
    if file.endswith("npz"):
        about = {"property": np.array(["pos"]), "word_index": np.arange(9), "n_folds": np.array(4)}
        write_arrays(study / file, about | {"right": np.ones((1, 9), np.int8)})
    else:
        write_table(pd.DataFrame({"word_index": [40], "surprisal": [3.0]}), study / file)
    with pytest.raises(InputError, match=rf"{file.split('/')[-1]}: other words(, {what})?.* than"):
        run(study)
