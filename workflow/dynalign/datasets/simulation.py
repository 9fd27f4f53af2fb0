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
    and no other, must hurt there. Sentence-level properties serve this best: words near each other share the label. A
    word-level label comes back after its removal, because the words beside a word, which a TR and its delays average
    in, still tell it (in this study, removing ``smallest_constituent`` leaves alignment as it was).
``rate_and_length``
    1 per word for half of the voxels (word rate), the word's letters for the others, less what the time courses of
    the labels explain (short sentences bring more pauses).
``noise``
    nothing.

Noise is autocorrelated in time (AR(1), ρ = 0.4) and shared in part by neighbours; drift is a sum of slow cosines.
The planted truth (region, driver and gain of every voxel) is written beside the images.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from dynalign.cli import note, options, run
from dynalign.config.properties import paper_properties
from dynalign.config.simulation import Simulation
from dynalign.config.story import Story
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError
from dynalign.io.images import write_image
from dynalign.io.shipped import shipped
from dynalign.stimulus.timing import read_trs, read_words
from dynalign.tables.reader import read_table
from dynalign.tables.writer import write_table

#: Shares of the brain's voxels, in this order along the left–right axis.
REGION_SHARES = {"meaning": 0.24, "property_1": 0.16, "property_2": 0.16, "rate_and_length": 0.14, "noise": 0.30}

#: Leading distributional dimensions that drive the meaning region, one per voxel in turn.
MEANING_DIMENSIONS = 6
_STEP_S = 0.1
_AR = 0.4
_BASELINE, _SCALE, _DRIFT = 1000.0, 10.0, 15.0


def double_gamma(times: np.ndarray) -> np.ndarray:
    """Canonical haemodynamic response: peak near 5 s, undershoot near 15 s, ratio 6 (Friston et al. 1998).

    Parameters
    ----------
    times : array
        Seconds after the event.

    Returns
    -------
    array
        Response, scaled to a sum of 1.
    """

    def gamma_density(shape: float) -> np.ndarray:
        positive = np.clip(times, 0, None)
        return positive ** (shape - 1) * np.exp(-positive) / math.gamma(shape)

    response = gamma_density(6.0) - gamma_density(16.0) / 6.0
    return response / response.sum()


def time_words(text: str, simulation: Simulation, tr: float):
    """Lay a story out in time: rest, words of equal length, a pause at each paragraph, rest.

    Parameters
    ----------
    text : str
        Runs separated by lines ``---``, paragraphs by empty lines.
    simulation : Simulation
    tr : float
        Repetition time, s.

    Returns
    -------
    table : pandas.DataFrame
        ``onset`` (s from the run's start), ``run``, ``word``.
    trs : list of int
        Measurements of each run.
    """
    import pandas as pd

    rows, trs = [], []
    before, after = simulation.rest_s
    runs = [part for part in text.split("\n---\n") if part.strip()]
    for number, part in enumerate(runs, start=1):
        now = before
        for paragraph in part.strip().split("\n\n"):
            for word in paragraph.split():
                # The first onset is the end of the rest; "strictly before" then puts it in the TR that ends there.
                rows.append({"onset": round(now, 3), "run": number, "word": word})
                now += simulation.word_s
            now += simulation.paragraph_pause_s
        trs.append(math.ceil((now - simulation.paragraph_pause_s + after) / tr))
    return pd.DataFrame(rows), trs


def normal_form(word: str) -> str:
    """A word's type: lower case, without punctuation at its ends."""
    return word.strip("\"'.,!?;:()[]").lower()


def distributional_dimensions(text: str, types: list[str], k: int) -> np.ndarray:
    """Leading distributional dimensions of word types, learnt from a text.

    Parameters
    ----------
    text : str
    types : list of str
        Types in :func:`normal_form`; one that occurs fewer than 3 times in the text is placed at 0.
    k : int
        Dimensions.

    Returns
    -------
    array of shape (n_types, k)
        Left singular vectors, scaled by their singular values, of the positive pointwise mutual information of
        words at most two apart (Levy & Goldberg 2014), rows scaled to unit length first.
    """
    from collections import Counter

    from scipy.sparse import coo_matrix

    tokens = [normal_form(word) for word in text.split()]
    counts = Counter(token for token in tokens if token)
    vocabulary = {word: row for row, word in enumerate(sorted(w for w, n in counts.items() if n >= 3))}
    if len(vocabulary) <= k:
        raise InputError(f"the training text has {len(vocabulary)} frequent word types; {k} dimensions need more")
    ids = np.array([vocabulary.get(token, -1) for token in tokens])
    pairs = [
        (a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)])
        for distance in (1, 2)
        for a, b in ((ids[:-distance], ids[distance:]), (ids[distance:], ids[:-distance]))
    ]
    rows, columns = (np.concatenate(part) for part in zip(*pairs, strict=True))
    n = len(vocabulary)
    joint = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n)).toarray()
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


def convolve_words(drivers: np.ndarray, onsets: np.ndarray, word_runs: np.ndarray, word_s: float, trs) -> np.ndarray:
    """Haemodynamic time course of word-level drivers, sampled at the TRs' starts; never across runs.

    Parameters
    ----------
    drivers : array of shape (n_words, n_drivers)
    onsets : array of shape (n_words,)
        Seconds.
    word_runs : array of shape (n_words,)
    word_s : float
        Seconds that a word lasts.
    trs : pandas.DataFrame
        ``story/trs.tsv``.

    Returns
    -------
    array of shape (n_trs, n_drivers)
    """
    kernel = double_gamma(np.arange(0, 32, _STEP_S))
    courses = np.zeros((len(trs), drivers.shape[1]))
    times, runs = trs["time"].to_numpy(), trs["run"].to_numpy()
    for name in dict.fromkeys(runs.tolist()):
        rows, words = np.flatnonzero(runs == name), word_runs == name
        start = times[rows[0]]
        n = int(np.ceil((times[rows[-1]] - start) / _STEP_S)) + 1
        stimulus = np.zeros((n + len(kernel), drivers.shape[1]))
        first = np.round((onsets[words] - start) / _STEP_S).astype(int)
        for offset in range(max(1, round(word_s / _STEP_S))):
            inside = first + offset < n
            np.add.at(stimulus, first[inside] + offset, drivers[words][inside])
        samples = np.round((times[rows] - start) / _STEP_S).astype(int)
        for column in range(drivers.shape[1]):
            courses[rows, column] = np.convolve(stimulus[:, column], kernel)[samples]
    return courses


def unexplained(values: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Residual of `values` after least squares on `others` and an intercept.

    Parameters
    ----------
    values : array of shape (n,)
    others : list of arrays of shape (n,)

    Returns
    -------
    array of shape (n,)
    """
    design = np.stack([*others, np.ones(len(values))], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def brain_mask(shape: tuple[int, int, int]) -> np.ndarray:
    """An ellipsoid that fills the grid, as a brain mask (boolean, 3-D)."""
    axes = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in shape]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum(axis**2 for axis in grid) <= 1.0


def regions(mask: np.ndarray, properties: tuple[str, str]) -> np.ndarray:
    """Region of each voxel in the mask: slabs along the first (left–right) axis with :data:`REGION_SHARES`."""
    names = {"property_1": properties[0], "property_2": properties[1]}
    order = np.argsort(np.argwhere(mask)[:, 0], kind="stable")
    edges = np.round(np.cumsum([0, *REGION_SHARES.values()]) * len(order)).astype(int)
    labels = np.empty(len(order), dtype=object)
    for name, first, last in zip(REGION_SHARES, edges[:-1], edges[1:], strict=True):
        labels[order[first:last]] = names.get(name, name)
    return labels


def smooth_noise(rng: np.random.Generator, n: int, mask: np.ndarray) -> np.ndarray:
    """Unit-variance AR(1) noise, half of its variance shared with neighbouring voxels.

    Returns
    -------
    array of shape (n, n_voxels)
    """
    from scipy.ndimage import gaussian_filter
    from scipy.signal import lfilter

    white = rng.standard_normal((n, *mask.shape))
    shared = gaussian_filter(white, sigma=(0, 1, 1, 1), mode="wrap")[:, mask]
    own = rng.standard_normal((n, int(mask.sum())))
    mixed = shared / shared.std() + own
    filtered = lfilter([1.0], [1.0, -_AR], mixed, axis=0)
    return filtered / filtered.std(axis=0)


def simulate_subject(words, trs, labels, text: str, simulation: Simulation, rng: np.random.Generator) -> tuple:
    """Images of one subject.

    Parameters
    ----------
    words, trs, labels : pandas.DataFrame
        ``story/words.tsv``, ``story/trs.tsv``, ``tables/labels.tsv``.
    text : str
        The model's training text.
    simulation : Simulation
    rng : numpy.random.Generator

    Returns
    -------
    bold : array of shape (n_trs, n_voxels), float32
    mask : array, 3-D, bool
    truth : pandas.DataFrame
        One row per voxel in the mask's C order: i, j, k, region, driver, gain.
    """
    import pandas as pd

    for name in simulation.properties:
        if name not in labels.columns:
            raise InputError(f"simulation.properties: {name!r} is no property of the study")
    seen = words[words["dropped"] == 0]
    types = [normal_form(word) for word in seen["word"]]
    meaning = distributional_dimensions(text, types, MEANING_DIMENSIONS)
    codes = {name: labels[name].to_numpy(dtype=float) for name in paper_properties() if name in labels.columns}
    codes |= {name: labels[name].to_numpy(dtype=float) for name in simulation.properties}
    drivers = {
        f"meaning-{dimension}": unexplained(meaning[:, dimension], list(codes.values()))
        for dimension in range(MEANING_DIMENSIONS)
    }
    for name in simulation.properties:
        drivers[name] = unexplained(codes[name], [values for other, values in codes.items() if other != name])
    drivers["length"] = np.array([len(word) for word in types], dtype=float)
    # Centred over words, so that only the rate driver carries the rate.
    columns = np.stack([values - values.mean() for values in drivers.values()] + [np.ones(len(seen))], axis=1)
    names = [*drivers, "rate"]
    onsets, word_runs = seen["onset"].to_numpy(), seen["run"].to_numpy()
    courses = convolve_words(columns, onsets, word_runs, simulation.word_s, trs)
    labelled = convolve_words(np.stack(list(codes.values()), axis=1), onsets, word_runs, simulation.word_s, trs)
    for name in ("rate", "length"):
        column = names.index(name)
        courses[:, column] = unexplained(courses[:, column], list(labelled.T))
    courses = (courses - courses.mean(axis=0)) / courses.std(axis=0)

    mask = brain_mask(simulation.shape)
    region = regions(mask, simulation.properties)
    driver = np.array([""] * len(region), dtype=object)
    for name in dict.fromkeys(region):
        voxels = np.flatnonzero(region == name)
        choices = {
            "meaning": [f"meaning-{dimension}" for dimension in range(MEANING_DIMENSIONS)],
            "rate_and_length": ["rate", "length"],
            "noise": ["none"],
        }.get(name, [name])
        driver[voxels] = [choices[position % len(choices)] for position in range(len(voxels))]
    gain = np.where(driver == "none", 0.0, rng.uniform(0.7, 1.3, len(region)))
    signal = np.zeros((len(trs), len(region)))
    for column, name in enumerate(names):
        signal[:, driver == name] = courses[:, [column]]
    bold = np.empty(signal.shape)
    runs = trs["run"].to_numpy()
    for name in dict.fromkeys(runs.tolist()):
        rows = np.flatnonzero(runs == name)
        n = len(rows)
        cosines = np.cos(np.pi * np.arange(1, 4)[None, :] * (np.arange(n)[:, None] + 0.5) / n)
        drift = cosines @ rng.standard_normal((3, len(region)))
        bold[rows] = (
            _BASELINE + _SCALE * (gain * signal[rows] + simulation.noise * smooth_noise(rng, n, mask)) + _DRIFT * drift
        )
    where = np.argwhere(mask)
    truth = pd.DataFrame(
        {"i": where[:, 0], "j": where[:, 1], "k": where[:, 2], "region": region, "driver": driver, "gain": gain}
    )
    return bold.astype(np.float32), mask, truth


def region_image(truth, shape: tuple[int, int, int]) -> tuple:
    """Label image of the planted regions, and its table of labels.

    Parameters
    ----------
    truth : pandas.DataFrame
        From :func:`simulate_subject`.
    shape : (int, int, int)

    Returns
    -------
    labels : array of the shape, uint8
        0 outside the brain.
    names : pandas.DataFrame
        ``index``, ``name``, in the order of :data:`REGION_SHARES`.
    """
    import pandas as pd

    # Along the left–right axis they follow each other in this order.
    names = list(dict.fromkeys(truth.sort_values("i", kind="stable")["region"]))
    labels = np.zeros(shape, dtype=np.uint8)
    labels[truth["i"], truth["j"], truth["k"]] = [1 + names.index(region) for region in truth["region"]]
    return labels, pd.DataFrame({"index": range(1, 1 + len(names)), "name": names})


def main(argv: list[str] | None = None) -> None:
    """Command: `words` lays the story out in time, `subject` simulates one reader's images, `rois` labels them."""
    parser = argparse.ArgumentParser(prog="dynalign.datasets.simulation", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--options", type=options(Simulation), default=Simulation(), help="JSON of the section `simulation`"
    )
    words_parser = commands.add_parser("words", parents=[shared], help="story text → words table")
    words_parser.add_argument("--story-options", type=options(Story), required=True, help="JSON of the section `story`")
    words_parser.add_argument("--output", required=True)
    subject_parser = commands.add_parser("subject", parents=[shared], help="one subject's images and planted truth")
    subject_parser.add_argument("--subject", required=True)
    subject_parser.add_argument("--words", required=True)
    subject_parser.add_argument("--trs", required=True)
    subject_parser.add_argument("--labels", required=True)
    subject_parser.add_argument("--texts", nargs="+", required=True, help="the model's training text")
    subject_parser.add_argument("--seed", type=int, default=0)
    subject_parser.add_argument("--images", required=True, help="path with {subject} and {run}")
    subject_parser.add_argument("--mask", required=True, help="path with {subject}")
    subject_parser.add_argument("--truth", required=True, help="table of the planted truth, one row per voxel")
    rois_parser = commands.add_parser("rois", help="planted truth → label image of the regions")
    rois_parser.add_argument("--truth", required=True)
    rois_parser.add_argument("--mask", required=True)
    rois_parser.add_argument("--image", required=True, help="label image to write (.nii.gz)")
    rois_parser.add_argument("--labels", required=True, help="table of its labels to write")
    args = parser.parse_args(argv)

    if args.command == "rois":
        import nibabel

        mask_image = nibabel.load(args.mask)
        image, names = region_image(read_table(args.truth, ["i", "j", "k", "region"]), mask_image.shape)
        write_image(args.image, image, mask_image.affine)
        write_table(names, args.labels)
        return
    if args.command == "words":
        story = args.story_options
        text = shipped(args.options.text).read_text(encoding="utf-8")
        table, trs = time_words(text, args.options, story.tr)
        if list(story.trs) != trs:
            raise InputError(f"story.trs is {list(story.trs)}, but {args.options.text} takes {trs} TRs; set it to that")
        write_table(table, args.output)
        return

    words, trs, labels = read_words(args.words), read_trs(args.trs), read_table(args.labels, ["word_index"])
    text = "\n".join(Path(path).read_text(encoding="utf-8") for path in args.texts)
    # The seed knows the subject by name, so that a subject's data does not depend on who else is studied.
    rng = np.random.default_rng([args.seed, *args.subject.encode()])
    bold, mask, truth = simulate_subject(words, trs, labels, text, args.options, rng)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-2.0 * (n - 1) for n in mask.shape]
    tr = float(np.median(np.diff(trs["time"])))
    runs = trs["run"].to_numpy()
    for name in dict.fromkeys(runs.tolist()):
        volumes = np.zeros((*mask.shape, int((runs == name).sum())), dtype=np.float32)
        volumes[mask] = bold[runs == name].T
        write_image(args.images.format(subject=args.subject, run=name), volumes, affine, tr)
    write_image(args.mask.format(subject=args.subject), mask.astype(np.uint8), affine)
    counts = truth["region"].value_counts(sort=False).to_dict()
    note(f"subject {args.subject}: {len(truth)} voxels: {json.dumps(counts)}")
    write_text(
        Path(args.truth).with_suffix(".json"),
        json.dumps(
            {
                "forward_model": "see python -m dynalign.datasets.simulation (module documentation)",
                "subject": args.subject,
                "seed": args.seed,
                "ar1": _AR,
                "voxels": counts,
                "options": args.options.model_dump(mode="json"),
            },
            indent=2,
        )
        + "\n",
    )
    write_table(truth, args.truth)


if __name__ == "__main__":
    run(main)
