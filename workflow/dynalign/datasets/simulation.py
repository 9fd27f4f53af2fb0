"""The embedded study's subjects: a documented forward model from the story to 4-D images.

For voxel v of region g at time t (s from the run's start)::

    bold_v(t) = 1000 + 10 · [ gain_v · z( Σ_w d_g(w) ∫ h(t − s) ds ) + noise_v(t) ] + drift_v(t)

where w runs over the words, the integral over the word's time on the screen, h is the double-gamma haemodynamic
response, z standardises over the story, and d_g(w) is what drives the region:

``meaning``
    one of the leading distributional dimensions of the word (singular vectors of the positive pointwise mutual
    information between words within two words of each other in the model's *training text*). A model has to learn
    them from that text: untrained embeddings tell words apart but do not bring words of like use together, so what
    a regression finds on some words does not carry over to others. Alignment there rises with training for this reason.
``<property>`` (two of them)
    the part of a property's class code that the other properties' codes do not explain, so that removing that property,
    and no other, must hurt there. Sentence-level properties serve this best: a word-level label comes back after its
    removal, because the words beside a word, which a TR and its delays average in, still tell it (in this study,
    removing ``smallest_constituent`` leaves alignment as it was).
``rate_and_length``
    1 per word for half of the voxels (word rate), the word's letters for the others, less what the time courses of
    the labels explain (short sentences bring more pauses).
``<brain_only>`` (where the configuration names one)
    a property that the text does not tell, so that no model can hold it: the same residual of its codes. Removing it
    takes nothing from the vectors, so an effect there is an artefact of the removal (METHOD section 5).
``noise``
    nothing.

Noise is autocorrelated in time (AR(1), ρ = 0.4) and shared in part by neighbours; drift is a sum of slow cosines.
The planted truth (region, driver and gain of every voxel) is written beside the images.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from dynalign.cli import commands, note, run
from dynalign.config.embedded import Simulation
from dynalign.config.properties import paper_properties
from dynalign.config.story import Story
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError
from dynalign.io.images import write_image
from dynalign.io.shipped import shipped
from dynalign.io.text import read_text
from dynalign.stimulus.timing import read_trs, read_words
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Shares of the brain's voxels, in this order along the left–right axis.
#: ``brain_only`` is noise where the configuration names none.
REGION_SHARES = {
    **{"meaning": 0.24, "property_1": 0.16, "property_2": 0.16},
    **{"rate_and_length": 0.14, "brain_only": 0.15, "noise": 0.15},
}

#: Drivers of the meaning region: leading distributional dimensions, one per voxel in turn.
MEANING = tuple(f"meaning-{dimension}" for dimension in range(6))
_STEP_S = 0.1
_AR = 0.4
_BASELINE, _SCALE, _DRIFT = 1000.0, 10.0, 15.0


def double_gamma(times: np.ndarray) -> np.ndarray:
    """Canonical haemodynamic response at `times` in s: peak near 5 s, undershoot near 15 s, ratio 6; its sum is 1.

    Friston et al. (1998).
    """

    def density(shape: float) -> np.ndarray:
        return positive ** (shape - 1) * np.exp(-positive) / math.gamma(shape)

    positive = np.clip(times, 0, None)
    response = density(6.0) - density(16.0) / 6.0
    return response / response.sum()


def time_words(text: str, simulation: Simulation, tr: float):
    """Lay a story out in time: rest, words of equal length, a pause at each paragraph, rest.

    The text's runs are separated by lines ``---``, its paragraphs by empty lines; `tr` in s. Gives a data frame of
    ``onset`` (s from the run's start), ``run``, ``word``, and the number of measurements of each run.
    """
    import pandas as pd

    rows, trs = [], []
    before, after = simulation.rest_s
    for number, part in enumerate((part for part in text.split("\n---\n") if part.strip()), start=1):
        now = before
        for paragraph in part.strip().split("\n\n"):
            for word in paragraph.split():
                # The first onset is the end of the rest; "strictly before" then puts it in the TR that ends there.
                rows.append({"onset": round(now, 3), "run": number, "word": word})
                now += simulation.word_s
            now += simulation.paragraph_pause_s
        # A run that ends with a TR takes no further one, however its seconds were rounded.
        trs.append(math.ceil((now - simulation.paragraph_pause_s + after) / tr - 1e-3))
    return pd.DataFrame(rows), trs


def normal_form(word: str) -> str:
    """A word's type: lower case, without punctuation at its ends."""
    return word.strip("\"'.,!?;:()[]").lower()


def distributional_dimensions(text: str, types: list[str], k: int) -> np.ndarray:
    """Leading `k` distributional dimensions of word types, learnt from a text: an array of shape (n_types, k).

    Left singular vectors, scaled by their singular values, of the positive pointwise mutual information of words at
    most two apart (Levy & Goldberg 2014), rows scaled to unit length first. Types are in :func:`normal_form`; one that
    occurs fewer than 3 times in the text is placed at 0. InputError if the text has too few types.
    """
    from collections import Counter

    tokens = [normal_form(word) for word in text.split()]
    counts = Counter(token for token in tokens if token)
    vocabulary = {word: row for row, word in enumerate(sorted(w for w, n in counts.items() if n >= 3))}
    if len(vocabulary) <= k:
        raise InputError(f"the training text has {len(vocabulary)} frequent word types; {k} dimensions need more")
    ids = np.array([vocabulary.get(token, -1) for token in tokens])
    n = len(vocabulary)
    # The last row and column are those of rarer types.
    joint = np.zeros((n + 1, n + 1))
    for distance in (1, 2):
        np.add.at(joint, (ids[:-distance], ids[distance:]), 1)
    joint = (joint + joint.T)[:n, :n]
    expected = np.outer(joint.sum(axis=1), joint.sum(axis=0)) / joint.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(joint > 0, np.clip(np.log(joint / expected), 0, None), 0.0)
    information /= np.maximum(np.linalg.norm(information, axis=1, keepdims=True), 1e-12)
    # Full, not randomised: its result does not depend on a seed.
    left, singular, _ = np.linalg.svd(information - information.mean(axis=0), full_matrices=False)
    # A singular vector's sign is arbitrary; fix it so that bytes do not depend on the LAPACK at hand.
    signs = np.sign(left[np.abs(left[:, :k]).argmax(axis=0), np.arange(k)])
    vectors = left[:, :k] * singular[:k] * signs
    found = np.array([vocabulary.get(word, -1) for word in types])
    return np.where(found[:, None] >= 0, vectors[found], 0.0)


def _steps(seconds) -> np.ndarray:
    """Times in whole steps of the simulation; a half is rounded up, however its decimals were rounded."""
    return np.floor(np.asarray(seconds) / _STEP_S + 0.5 + 1e-3).astype(int)


def convolve_words(drivers: np.ndarray, onsets: np.ndarray, word_runs: np.ndarray, word_s: float, trs) -> np.ndarray:
    """Haemodynamic time course of word-level drivers, sampled at the TRs' starts; never across runs.

    Drivers of shape (n_words, n_drivers), the words' onsets (s) and runs, shape (n_words,), and the seconds that a word
    lasts give courses of shape (n_trs, n_drivers) at ``story/trs.tsv``.
    """
    kernel = double_gamma(np.arange(0, 32, _STEP_S))
    courses = np.zeros((len(trs), drivers.shape[1]))
    times, runs = trs["time"].to_numpy(), trs["run"].to_numpy()
    for name in dict.fromkeys(runs.tolist()):
        rows, words = np.flatnonzero(runs == name), word_runs == name
        start = times[rows[0]]
        n = int(np.ceil((times[rows[-1]] - start) / _STEP_S)) + 1
        stimulus = np.zeros((n + len(kernel), drivers.shape[1]))
        first = _steps(onsets[words] - start)
        for offset in range(max(1, int(_steps(word_s)))):
            inside = first + offset < n
            np.add.at(stimulus, first[inside] + offset, drivers[words][inside])
        samples = _steps(times[rows] - start)
        courses[rows] = np.apply_along_axis(np.convolve, 0, stimulus, kernel)[samples]
    return courses


def unexplained(values: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Residual of `values`, shape (n,), after least squares on `others`, of the same shape, and an intercept."""
    design = np.stack([*others, np.ones(len(values))], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def brain_mask(shape: tuple[int, int, int]) -> np.ndarray:
    """An ellipsoid that fills the grid, as a brain mask (boolean, 3-D)."""
    axes = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) <= 1.0


def plant(mask: np.ndarray, simulation: Simulation, rng: np.random.Generator):
    """What drives each voxel: regions are slabs along the first (left–right) axis with :data:`REGION_SHARES`.

    One row per voxel in the C order of the mask (boolean, 3-D): i, j, k, region, driver (the region's in turn), gain.
    """
    import pandas as pd

    names = dict(zip(("property_1", "property_2"), simulation.properties, strict=True))
    names["brain_only"] = simulation.brain_only or "noise"
    drivers = {"meaning": MEANING, "rate_and_length": ("rate", "length"), "noise": ("none",)}
    truth = pd.DataFrame(np.argwhere(mask), columns=["i", "j", "k"])
    order = np.argsort(truth["i"].to_numpy(), kind="stable")
    edges = np.round(np.cumsum([0, *REGION_SHARES.values()]) * len(order)).astype(int)
    truth["region"] = truth["driver"] = ""
    for part, first, last in zip(REGION_SHARES, edges[:-1], edges[1:], strict=True):
        region = names.get(part, part)
        voxels = np.sort(order[first:last])
        truth.loc[voxels, "region"] = region
        truth.loc[voxels, "driver"] = np.resize(drivers.get(region, (region,)), len(voxels))
    truth["gain"] = np.where(truth["driver"] == "none", 0.0, rng.uniform(0.7, 1.3, len(truth)))
    return truth


def smooth_noise(rng: np.random.Generator, n: int, mask: np.ndarray) -> np.ndarray:
    """Unit-variance AR(1) noise, shape (n, n_voxels), half of its variance shared with neighbouring voxels."""
    from scipy.ndimage import gaussian_filter
    from scipy.signal import lfilter

    white = rng.standard_normal((n, *mask.shape))
    shared = gaussian_filter(white, sigma=(0, 1, 1, 1), mode="wrap")[:, mask]
    mixed = shared / shared.std() + rng.standard_normal((n, int(mask.sum())))
    noise = lfilter([1.0], [1.0, -_AR], mixed, axis=0)
    return noise / noise.std(axis=0)


def driver_courses(words, trs, labels, text: str, simulation: Simulation):
    """Time course of each driver, standardised over the story: one row per TR, one column per driver; "none" is 0.

    From ``story/words.tsv``, ``story/trs.tsv``, ``tables/labels.tsv`` and the model's training text. InputError if a
    property of the simulation is not in the study, or the text is too short.
    """
    import pandas as pd

    planted = [*simulation.properties, *filter(None, [simulation.brain_only])]
    for name in planted:
        if name not in labels.columns:
            raise InputError(f"simulation: {name!r} is no property of the study")
    seen = words[words["dropped"] == 0]
    types = [normal_form(word) for word in seen["word"]]
    # What is taken out of a driver is put into its voxels with the other sign: not so the coin.
    properties = [name for name, one in paper_properties().items() if one.random is None and name in labels.columns]
    codes = {name: labels[name].to_numpy(dtype=float) for name in dict.fromkeys([*properties, *planted])}
    meaning = distributional_dimensions(text, types, len(MEANING))
    drivers = {name: unexplained(values, list(codes.values())) for name, values in zip(MEANING, meaning.T, strict=True)}
    for name in planted:
        drivers[name] = unexplained(codes[name], [values for other, values in codes.items() if other != name])
    drivers["length"] = np.array([len(word) for word in types], dtype=float)
    # Centred over words, so that only the rate driver carries the rate.
    drivers = {name: values - values.mean() for name, values in drivers.items()} | {"rate": np.ones(len(seen))}

    def convolved(values: dict[str, np.ndarray]) -> np.ndarray:
        onsets, runs = seen["onset"].to_numpy(), seen["run"].to_numpy()
        return convolve_words(np.stack(list(values.values()), axis=1), onsets, runs, simulation.word_s, trs)

    courses, labelled = pd.DataFrame(convolved(drivers), columns=list(drivers)), convolved(codes)
    for name in ("rate", "length"):
        courses[name] = unexplained(courses[name].to_numpy(), list(labelled.T))
    return ((courses - courses.mean()) / courses.std(ddof=0)).assign(none=0.0)


def simulate_subject(courses, runs: np.ndarray, simulation: Simulation, rng: np.random.Generator) -> tuple:
    """Images of one subject, from :func:`driver_courses` and each TR's run, shape (n_trs,).

    Gives responses (float32, n_trs × n_voxels), mask (boolean, 3-D) and the truth of :func:`plant`.
    """
    mask = brain_mask(simulation.shape)
    truth = plant(mask, simulation, rng)
    signal = courses[truth["driver"]].to_numpy() * truth["gain"].to_numpy()
    bold = np.empty(signal.shape, dtype=np.float32)
    for name in dict.fromkeys(runs.tolist()):
        rows = np.flatnonzero(runs == name)
        cosines = np.cos(np.pi * np.arange(1, 4)[None, :] * (np.arange(len(rows))[:, None] + 0.5) / len(rows))
        drift = cosines @ rng.standard_normal((3, len(truth)))
        noise = simulation.noise * smooth_noise(rng, len(rows), mask)
        bold[rows] = _BASELINE + _SCALE * (signal[rows] + noise) + _DRIFT * drift
    return bold, mask, truth


def words(output: str, story_options: Story, options: Simulation = Simulation()) -> None:
    """Lay the story out in time: sections `story` and `simulation` as JSON → table of words."""
    table, trs = time_words(read_text(shipped(options.text)), options, story_options.tr)
    if list(story_options.trs) != trs:
        raise InputError(f"story.trs is {list(story_options.trs)}, but {options.text} takes {trs} TRs; set it to that")
    write_table(table, output)


def subject(
    subject: str,
    words: str,
    trs: str,
    labels: str,
    texts: list[str],
    images: str,
    mask: str,
    truth: str,
    seed: int = 0,
    options: Simulation = Simulation(),
) -> None:
    """Simulate one reader's images, and write the planted truth.

    From ``story/words.tsv``, ``story/trs.tsv``, ``tables/labels.tsv``, the model's training text, the study's seed and
    the section `simulation` as JSON. `images` is a path with {subject} and {run}, `mask` one with {subject}; `truth`, a
    table to write, has one row per voxel, and the parameters go beside it (.json).
    """
    timing = read_trs(trs)
    text = "\n".join(map(read_text, texts))
    # The seed knows the subject by name, so that a subject's data does not depend on who else is studied.
    rng = np.random.default_rng([seed, *subject.encode()])
    courses = driver_courses(read_words(words), timing, read_table(labels, ["word_index"]), text, options)
    bold, brain, voxels = simulate_subject(courses, timing["run"].to_numpy(), options, rng)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-2.0 * (n - 1) for n in brain.shape]
    tr = float(np.median(np.diff(timing["time"])))
    for name, rows in timing.groupby("run", sort=False).indices.items():
        volumes = np.zeros((*brain.shape, len(rows)), dtype=np.float32)
        volumes[brain] = bold[rows].T
        write_image(images.format(subject=subject, run=name), volumes, affine, tr)
    write_image(mask.format(subject=subject), brain.astype(np.uint8), affine)
    counts = voxels["region"].value_counts(sort=False).to_dict()
    note(f"subject {subject}: {len(voxels)} voxels: {json.dumps(counts)}")
    source = "see python -m dynalign.datasets.simulation (module documentation)"
    parameters = {"forward_model": source, "subject": subject, "seed": seed, "ar1": _AR, "voxels": counts}
    parameters["options"] = options.model_dump(mode="json")
    write_text(Path(truth).with_suffix(".json"), json.dumps(parameters, indent=2) + "\n")
    write_table(voxels, truth)


def rois(truth: str, mask: str, image: str, labels: str) -> None:
    """Label the planted regions: truth and mask of `subject` → image (.nii.gz, 0 outside the brain), and its labels."""
    import nibabel
    import pandas as pd

    brain = nibabel.load(mask)
    planted = read_table(truth, ["i", "j", "k", "region"])
    # Along the left–right axis they follow each other in this order.
    names = list(dict.fromkeys(planted.sort_values("i", kind="stable")["region"]))
    regions = np.zeros(brain.shape, dtype=np.uint8)
    regions[planted["i"], planted["j"], planted["k"]] = [1 + names.index(region) for region in planted["region"]]
    write_image(image, regions, brain.affine)
    write_table(pd.DataFrame({"index": range(1, 1 + len(names)), "name": names}), labels)


main = commands(words, subject, rois)

if __name__ == "__main__":
    run(main)
