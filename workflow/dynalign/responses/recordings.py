"""Measured responses of one subject: images or arrays → kept TRs × voxels (METHOD section 2.2)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.brain import Brain
from dynalign.config.recordings import Recordings, with_recordings
from dynalign.io.arrays import read_array, write_array
from dynalign.io.digests import check_digest, write_digest
from dynalign.io.errors import InputError
from dynalign.responses.confounds import Regressors, read_runs
from dynalign.responses.kinds import check_images, space_of
from dynalign.responses.matrices import check_matrix
from dynalign.responses.space import measured_rows
from dynalign.stimulus.timing import read_trs, rows_of_responses
from dynalign.variation import constant, largest


def clean_runs(
    responses: np.ndarray,
    runs: np.ndarray,
    tr: float,
    brain: Brain,
    confounds: Mapping[int, Regressors] = MappingProxyType({}),
) -> np.ndarray:
    """Detrend, clean and standardise responses, shape (n_trs, n_voxels), in each of the `runs`, shape (n_trs,).

    As the configuration says, a line, or discrete cosines with periods longer than `high_pass_s` (order up to
    ``floor(2 n_trs tr / high_pass_s)``, as in SPM; `tr` in s), is taken out with the mean and a run's `confounds` by
    least squares (nilearn), all in one step: one after the other, a step would bring back what the one before took out
    (Lindquist et al. 2019). The result is float64; a voxel that is constant but for rounding, or so left, becomes 0 in
    that run. Volumes not in steady state, or scrubbed, become NaN.
    """
    cleaned = np.array(responses, dtype=float)
    for name in dict.fromkeys(runs.tolist()):
        rows, given = np.flatnonzero(runs == name), confounds.get(name)
        regressors = _cosines(len(rows), tr, brain) if brain.detrend == "cosine" else np.empty((len(rows), 0))
        linear = brain.detrend == "linear"
        if given is not None:
            if linear and np.ptp(np.flatnonzero(given.steady)) >= given.steady.sum():
                # With volumes left out inside, a line over those left is none over time.
                linear, regressors = False, np.linspace(-1, 1, len(rows))[:, None]
            regressors = np.hstack([given.columns, regressors])[given.steady]
            cleaned[rows[~given.steady]] = np.nan
            rows = rows[given.steady]
            if regressors.shape[1] > len(rows) - 3:
                raise InputError(
                    f"{given.source}: {regressors.shape[1]} confounds, cosines of drift among them, leave nothing of "
                    f"{len(rows)} volumes; take fewer"
                )
        block = cleaned[rows]
        size = largest(block)
        if linear or regressors.size:
            # Imported here: it costs more than all the rest of the step. Its own filter of cosines is left out where
            # a confound looks like one of them, so all are given.
            from nilearn.signal import clean

            chosen = regressors if regressors.size else None
            block = clean(block, detrend=linear, standardize=None, filter=False, confounds=chosen)
        flat = constant(block, size)
        if brain.detrend != "none" or given is not None:
            # nilearn leaves the mean where only regressors are taken out, and of a constant what rounding leaves.
            block = np.where(flat, 0.0, block - block.mean(axis=0))
        if brain.standardize:
            # Not nilearn's: it divides by the sample's deviation (n - 1) from its next version on.
            block = np.where(flat, 0.0, block - block.mean(axis=0))
            block /= np.where(flat, 1.0, block.std(axis=0))
        cleaned[rows] = block
    return cleaned


def _cosines(n_rows: int, tr: float, brain: Brain) -> np.ndarray:
    """Discrete cosines with periods longer than `high_pass_s`, without the constant: (n_rows, n_cosines)."""
    from nilearn.signal import create_cosine_drift

    return create_cosine_drift(1 / brain.high_pass_s, np.arange(n_rows) * tr)[:, :-1]


def read_voxels(path: str | Path, n_voxels: int) -> np.ndarray:
    """Read which voxels belong to a set, e.g. a region: a boolean ``.npy`` array with one entry per voxel.

    InputError if it is not boolean, has another length, or names no voxel.
    """
    inside = read_array(path)
    if inside.dtype != bool or inside.shape != (n_voxels,):
        expected = f"a boolean array of shape ({n_voxels},), an entry per voxel"
        raise InputError(f"{path}: expected {expected}; got {inside.dtype} {inside.shape}")
    if not inside.any():
        raise InputError(f"{path}: all {n_voxels} entries are False; a set of voxels needs one at least")
    return inside


def read_responses(path: str | Path, mmap: bool = False) -> np.ndarray:
    """Read responses of the layout `arrays`: real numbers, TRs × voxels; an `InputError` if they are something else."""
    responses = read_array(path, mmap)
    check_matrix(responses, str(path))
    return responses


def read_images(brain: Brain, subject: str, runs: np.ndarray, kept: np.ndarray, tr: float) -> tuple:
    """Read a subject's images or arrays, run by run, inside the mask.

    `runs` and `kept`, shape (n_trs,), name each TR's run, and whether trimming leaves it; `tr` in s. Gives responses,
    float32 of shape (n_rows, n_voxels), voxels in the mask's C order, and the TR of each row: a run's file holds the
    whole run or what trimming leaves. InputError: a file is missing or unreadable, or as in
    :func:`dynalign.responses.kinds.check_images`.
    """
    trs = {name: np.flatnonzero(runs == name) for name in dict.fromkeys(runs.tolist())}
    check_images(brain, subject, {name: (len(rows), int(kept[rows].sum())) for name, rows in trs.items()}, tr)
    space = space_of(brain, subject)
    parts, found = [], []
    for name, rows in trs.items():
        path = brain.image(subject, name)
        parts.append(space.read(path))
        found.append(rows[measured_rows(len(parts[-1]), kept[rows], path)])
    return np.concatenate(parts), np.concatenate(found)


def cleaned_images(brain: Brain, subject: str, runs: np.ndarray, kept: np.ndarray, tr: float) -> np.ndarray:
    """Responses of a subject's images (:func:`read_images`), cleaned and trimmed, float64 of shape (n_kept, n_voxels).

    A whole run is cleaned before trimming, a trimmed one as it is: both are "per run".
    """
    responses, rows = read_images(brain, subject, runs, kept, tr)
    confounds = read_runs(brain, subject, runs, kept, rows) if brain.confounds else {}
    return clean_runs(responses, runs[rows], tr, brain, confounds)[kept[rows]]


def hearings(
    brain: Brain, recordings: Recordings, subject: str, runs: np.ndarray, kept: np.ndarray, tr: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cleaned responses of all first hearings, then of all second ones, and so on (METHOD section 2.3).

    `runs` and `kept`, (n_trs,), are of first hearings alone. Each time are given which of the kept TRs were heard so
    often, bool of shape (n_kept,), and the responses at these, float64 of shape (n_of_these, n_voxels).
    """
    stretches = recordings.stretches(subject)
    for number in range(max(map(len, stretches))):
        # As if it was the first: a run's number is that of the first hearing.
        rows = [heard[number].model_copy(update={"run": heard[0].run}) for heard in stretches if len(heard) > number]
        inside = np.isin(runs, [one.run for one in rows])
        of_these = with_recordings(brain, Recordings(tuple(rows)))
        yield inside[kept], cleaned_images(of_these, subject, runs[inside], kept[inside], tr)


def averaged(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over :func:`hearings`, (n_kept, n_voxels), and of how many each row is one, (n_kept,)."""
    total = counts = np.empty(0)
    for inside, responses in parts:
        if not counts.size:
            total, counts = np.zeros((len(inside), responses.shape[1])), np.zeros(len(inside), dtype=int)
        total[inside] += responses
        counts[inside] += 1
    return total / counts[:, None], counts


@command
def main(
    trs: str,
    subject: str,
    output: str,
    array: tuple[str, ...] = (),
    options: Brain = Brain(),
    recordings: Recordings | None = None,
) -> None:
    """Read, clean and trim the responses of one subject.

    Parameters
    ----------
    trs
        ``story/trs.tsv``.
    subject
        Stands for ``{subject}`` in the paths of the options.
    output
        ``brain/{subject}.npy`` to write: kept TRs × voxels, float32; hearings of the same moment, where they are kept,
        side by side.
    array
        Layout `arrays`: the ``.npy`` of TRs × voxels; without one, a file per run is read.
    recordings
        Layout `recordings`: the subject's rows of the table.
    """
    measured = read_trs(trs)
    runs, kept = measured["run"].to_numpy(), measured["kept"].to_numpy().astype(bool)
    tr = float(np.median(np.diff(measured["time"])))
    if array:
        (source,) = array
        check_digest(source)
        responses = read_responses(source)
        found = measured_rows(len(responses), kept, source)
        if options.voxels is not None:
            responses = responses[:, read_voxels(options.voxels.format(subject=subject), responses.shape[1])]
        cleaned = clean_runs(responses, runs[found], tr, options)[kept[found]]
    else:
        source = options.images or f"{subject}: {len(np.unique(runs))} runs"
        if recordings is not None and recordings.repeated(subject) and options.repeats == "average":
            cleaned, counts = averaged(hearings(options, recordings, subject, runs, kept, tr))
            n = int((counts > 1).sum())
            note(f"{source}: {n} of {len(counts)} TRs are means of several hearings, {counts.max()} at most")
        else:
            cleaned = cleaned_images(with_recordings(options, recordings), subject, runs, kept, tr)
    rows = rows_of_responses(measured)
    with np.errstate(over="ignore", invalid="ignore"):
        responses, runs = cleaned[np.searchsorted(np.flatnonzero(kept), rows)].astype(np.float32), runs[rows]
        bad = ~np.isfinite(responses).all(axis=0)
        flat = ~bad & constant(responses)
        partly = ~bad & ~flat & np.any([constant(responses[runs == name]) for name in np.unique(runs)], axis=0)
    note(
        f"{source}: {responses.shape[0]} TRs × {responses.shape[1]} voxels; {int(bad.sum())} not finite (in float32), "
        f"{int(flat.sum())} constant (their scores will be NaN), {int(partly.sum())} more constant in some run"
    )
    if (bad | flat).all():
        raise InputError(f"{source}: no voxel varies and is finite")
    write_array(output, responses)
    write_digest(output)


if __name__ == "__main__":
    run(main)
