"""The forward model: haemodynamics, timing, planted drivers, noise."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.stats import gamma
from tests.helpers import flags

from dynalign.config.embedded import Simulation
from dynalign.config.story import Story, Trim
from dynalign.datasets import simulation
from dynalign.io.errors import InputError
from dynalign.stimulus.timing import Timing, tables
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

OPTIONS = Simulation(properties=("tense", "sentence_length"), shape=(6, 5, 4))


def test_the_haemodynamic_response_is_the_difference_of_two_gamma_densities():
    times = np.arange(0, 32, 0.1)
    expected = gamma.pdf(times, 6) - gamma.pdf(times, 16) / 6
    np.testing.assert_allclose(simulation.double_gamma(times), expected / expected.sum(), atol=1e-12)
    assert times[simulation.double_gamma(times).argmax()] == pytest.approx(5.0, abs=0.2)


def test_words_follow_each_other_with_rests_and_pauses():
    text = "One two.\n\nThree.\n---\nFour five six.\n"
    table, trs = simulation.time_words(text, Simulation(rest_s=(20, 10), paragraph_pause_s=1), tr=2.0)
    assert table["onset"].tolist() == [20.0, 20.5, 22.0, 20.0, 20.5, 21.0]
    assert table["run"].tolist() == [1, 1, 1, 2, 2, 2]
    assert trs == [17, 16]


def test_a_run_that_ends_with_a_tr_takes_no_further_one():
    """12 words of 0.1 s and rests of 0.6 s are 2.4 s, in floats a little more."""
    for tr, trs in ((1.2, [2]), (0.8, [3]), (0.1, [24]), (0.7, [4])):
        text, options = " ".join(["a"] * 12), Simulation(word_s=0.1, rest_s=(0.6, 0.6), paragraph_pause_s=0.3)
        assert simulation.time_words(text, options, tr)[1] == trs


def test_words_halfway_between_two_steps_are_all_rounded_alike():
    """Words 0.25 s apart begin at half a step of 0.1 s: 203 is rounded up from 202.5, however that came out."""
    onsets = 20 + 0.25 * np.arange(200)
    assert simulation._steps(onsets).tolist() == [200 + (5 * k + 1) // 2 for k in range(200)]
    assert simulation._steps(onsets + 4e-9).tolist() == simulation._steps(onsets - 4e-9).tolist()


def test_a_story_with_a_byte_order_mark_has_none_in_its_words(tmp_path):
    (tmp_path / "story.txt").write_text("One two.\n", encoding="utf-8-sig")
    options = Simulation(text=str(tmp_path / "story.txt"), rest_s=(2, 2))
    section = Story(layout="table", download=None, words="w.tsv", tr=1.0, trs=[5])
    sections = {"story_options": section.model_dump_json(), "options": options.model_dump_json()}
    simulation.main(["words", *flags(output=tmp_path / "w.tsv", **sections)])
    assert read_table(tmp_path / "w.tsv")["word"].tolist() == ["One", "two."]


def test_convolution_agrees_with_the_naive_sum_and_stays_in_its_run():
    trs = pd.DataFrame({"run": np.repeat([1, 2], 25), "time": 2.0 * np.arange(50)})
    onsets = np.array([5.0, 11.5, 40.0, 47.0, 70.0])
    runs = np.array([1, 1, 1, 1, 2])
    drivers = np.array([[1.0], [-2.0], [0.5], [4.0], [1.5]])
    courses = simulation.convolve_words(drivers, onsets, runs, 0.5, trs)[:, 0]
    kernel = simulation.double_gamma(np.arange(0, 32, 0.1))
    naive = np.zeros(50)
    for row in range(50):
        for onset, run, driver in zip(onsets, runs, drivers[:, 0], strict=True):
            for part in range(5):
                lag = round((trs["time"][row] - onset) / 0.1) - part
                if run == trs["run"][row] and 0 <= lag < len(kernel):
                    naive[row] += driver * kernel[lag]
    np.testing.assert_allclose(courses, naive, atol=1e-12)
    # The word at 47 s of run 1 would still be felt at 54 s, which is run 2.
    assert courses[25] == 0


def test_words_of_like_use_are_near_each_other():
    rng = np.random.default_rng(0)
    animals, foods = ["cat", "dog", "hen", "goat"], ["bread", "soup", "milk", "cake"]
    sentences = [
        f"the {rng.choice(animals)} ran and slept . we ate warm {rng.choice(foods)} at noon ." for _ in range(400)
    ]
    vectors = simulation.distributional_dimensions(" ".join(sentences), [*animals, *foods, "unseen"], 4)
    units = vectors[:8] / np.linalg.norm(vectors[:8], axis=1, keepdims=True)
    similarity = units @ units.T
    assert similarity[:4, :4].min() > similarity[:4, 4:].max() + 0.5
    assert (vectors[8] == 0).all()


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(1)
    vocabulary = [f"w{i}" for i in range(60)]
    text = " ".join(rng.choice(vocabulary, 4000))
    words = [str(word) for word in rng.choice(vocabulary, 600)]
    words[9::10] = [f"{word}." for word in words[9::10]]
    timing = Timing(words, 20 + 0.5 * np.arange(600), 2.0 * np.arange(170), np.ones(170, dtype=int))
    table, trs = tables(timing, Story(trim=Trim(start=0, end=0)))
    sentence = np.repeat(np.arange(60), 10)
    labels = pd.DataFrame({"word_index": np.arange(600)})
    for name in ("tense", "sentence_length", "tree_depth"):
        labels[name] = rng.integers(0, 2, 60)[sentence]
    return table, trs, labels, text


def subject(study, seed, options=OPTIONS):
    courses = simulation.driver_courses(*study, options)
    return simulation.simulate_subject(courses, study[1]["run"].to_numpy(), options, np.random.default_rng(seed))


def test_property_voxels_follow_their_label_and_no_other(study):
    words, trs, labels, _ = study
    bold, mask, truth = subject(study, 0, OPTIONS.model_copy(update={"noise": 1e-6}))
    assert mask.sum() == len(truth) == bold.shape[1]
    cosines = np.cos(np.pi * np.arange(0, 4)[None, :] * (np.arange(170)[:, None] + 0.5) / 170)
    clean = bold - cosines @ np.linalg.lstsq(cosines, bold, rcond=None)[0]
    drivers = {}
    for name in ("tense", "sentence_length", "tree_depth"):
        others = [labels[other].to_numpy(float) for other in labels if other not in ("word_index", name)]
        design = np.stack([np.ones(600), *others], axis=1)
        values = labels[name].to_numpy(float)
        drivers[name] = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    courses = simulation.convolve_words(
        np.stack(list(drivers.values()), 1), words["onset"].to_numpy(), words["run"].to_numpy(), 0.5, trs
    )
    courses -= cosines @ np.linalg.lstsq(cosines, courses, rcond=None)[0]
    for region in ("tense", "sentence_length"):
        voxels = clean[:, truth["region"] == region]
        own = np.corrcoef(courses[:, list(drivers).index(region)], voxels.T)[0, 1:]
        other = np.corrcoef(courses[:, 2], voxels.T)[0, 1:]
        assert own.min() > 0.99
        assert np.abs(other).max() < 0.6
    assert set(truth.loc[truth["gain"] == 0, "region"]) == {"noise"}


def test_voxels_follow_what_only_the_brain_follows(study):
    """`brain_only` takes its voxels from the noise: the other regions stay where they were."""
    words, trs, labels, _ = study
    options = OPTIONS.model_copy(update={"noise": 1e-6, "brain_only": "tree_depth"})
    bold, _, truth = subject(study, 0, options)
    plain = subject(study, 0)[2]
    driven = (truth["region"] == "tree_depth").to_numpy()
    assert (plain.loc[driven, "region"] == "noise").all()
    assert truth.loc[~driven, "region"].equals(plain.loc[~driven, "region"])
    others = np.stack([np.ones(600), *(labels[name].to_numpy(float) for name in ("tense", "sentence_length"))], axis=1)
    values = labels["tree_depth"].to_numpy(float)
    values = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    course = simulation.convolve_words(values[:, None], words["onset"].to_numpy(), words["run"].to_numpy(), 0.5, trs)
    cosines = np.cos(np.pi * np.arange(0, 4)[None, :] * (np.arange(170)[:, None] + 0.5) / 170)
    clean, course = (y - cosines @ np.linalg.lstsq(cosines, y, rcond=None)[0] for y in (bold[:, driven], course))
    assert np.corrcoef(course.T, clean.T)[0, 1:].min() > 0.99


def test_noise_is_autocorrelated_and_shared_by_neighbours():
    mask = simulation.brain_mask((8, 8, 8))
    noise = simulation.smooth_noise(np.random.default_rng(0), 2000, mask)
    lag_one = np.mean([np.corrcoef(series[:-1], series[1:])[0, 1] for series in noise.T[:50]])
    assert lag_one == pytest.approx(0.4, abs=0.03)
    where = np.argwhere(mask)
    correlations = np.corrcoef(noise.T)
    distances = np.abs(where[:, None] - where[None]).sum(-1)
    assert correlations[distances == 1].mean() > 0.3
    assert abs(correlations[distances > 8].mean()) < 0.05


def test_a_subject_depends_on_its_seed_alone(study):
    first, again, other = (subject(study, seed)[0] for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert np.corrcoef(first[:, 0], other[:, 0])[0, 1] < 0.99


def test_the_command_writes_images_mask_and_truth(study, tmp_path):
    words, trs, labels, text = study
    write_table(words, tmp_path / "words.tsv")
    write_table(trs, tmp_path / "trs.tsv")
    write_table(labels, tmp_path / "labels.tsv")
    (tmp_path / "text.txt").write_text(text)
    simulation.main(
        [
            "subject",
            *flags(subject="F", options=OPTIONS.model_dump_json(), words=tmp_path / "words.tsv"),
            *flags(trs=tmp_path / "trs.tsv", labels=tmp_path / "labels.tsv"),
            *flags(texts=tmp_path / "text.txt", truth=tmp_path / "truth.tsv"),
            *flags(images=f"{tmp_path}/{{subject}}_{{run}}.nii.gz", mask=f"{tmp_path}/{{subject}}_mask.nii.gz"),
        ]
    )
    image, mask = nibabel.load(tmp_path / "F_1.nii.gz"), nibabel.load(tmp_path / "F_mask.nii.gz")
    assert image.shape == (6, 5, 4, 170)
    assert image.header.get_zooms()[3] == 2.0
    truth = read_table(tmp_path / "truth.tsv", ["i", "j", "k", "region", "driver", "gain"])
    assert len(truth) == np.asarray(mask.dataobj).sum()
    made = flags(image=tmp_path / "F_rois.nii.gz", labels=tmp_path / "F_rois.tsv")
    made += flags(truth=tmp_path / "truth.tsv", mask=tmp_path / "F_mask.nii.gz")
    simulation.main(["rois", *made])
    labels = np.asarray(nibabel.load(tmp_path / "F_rois.nii.gz").dataobj)
    names = read_table(tmp_path / "F_rois.tsv").set_index("index")["name"]
    assert set(names) == set(truth["region"])
    for row in truth.itertuples():
        assert names[labels[row.i, row.j, row.k]] == row.region
    assert (labels > 0).sum() == len(truth)
    first = truth.iloc[0]
    assert np.ptp(np.asarray(image.dataobj)[int(first.i), int(first.j), int(first.k)]) > 0


def test_a_wrong_number_of_trs_is_told_with_the_right_one(tmp_path):
    (tmp_path / "s.txt").write_text("One two.\n---\nThree.\n")
    wrong = Story(layout="table", words="w", tr=2.0, trs=(5, 5), download=None)
    with pytest.raises(InputError, match=r"takes \[16, 16\] TRs"):
        simulation.main(
            [
                "words",
                *flags(options=f'{{"text": "{tmp_path}/s.txt"}}', output=tmp_path / "w.tsv"),
                *flags(story_options=wrong.model_dump_json()),
            ]
        )
    assert not (tmp_path / "w.tsv").exists()
