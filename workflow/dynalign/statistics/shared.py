"""What subjects with runs of their own have in common: TRs of the same story at the same time (METHOD section 2.3)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dynalign.cli import note
from dynalign.encoding.scores import Partition, Scores
from dynalign.io.errors import InputError
from dynalign.stimulus.timing import read_trs, rows_of_responses, tolerance


def shared_rows(paths: Sequence[str]) -> list[np.ndarray]:
    """As :func:`rows_in_common`, of ``story/{subject}.trs.tsv``."""
    return rows_in_common([read_trs(path) for path in paths], paths)


def rows_in_common(series: Sequence, names: Sequence[str]) -> list[np.ndarray]:
    """Rows of each subject's responses that all subjects have, in the first one's order: of int, each (n_shared,).

    `series` are data frames of the subjects' TRs, `names` what they are called. InputError: they have none in common.
    """
    places = []
    for trs in series:
        kept = trs.iloc[rows_of_responses(trs)]
        # Whole steps of the tolerance, 50 of which are a twentieth of a TR: times that are the same agree to one.
        step = 50 * tolerance(trs["time"].to_numpy())
        moments = kept.assign(moment=np.round(kept["time"] / step).astype(int))
        # Hearings of the same moment are told apart: all subjects have the first.
        hearing = moments.groupby(["story", "moment"]).cumcount()
        keys = zip(moments["story"].astype(str), moments["moment"], hearing, strict=True)
        places.append({key: row for row, key in enumerate(keys)})
    common = [key for key in places[0] if all(key in place for place in places[1:])]
    if not common:
        raise InputError(f"{names[0]}: no TR in common with {', '.join(names[1:])}; test these subjects one by one")
    note(f"{len(common)} TRs are shared, of {min(map(len, places))} to {max(map(len, places))} of a subject")
    return [np.array([place[key] for key in common]) for place in places]


def on_rows(found: Sequence, rows: Sequence[np.ndarray]) -> list:
    """Scores or partitions of subjects on the rows that they share, with the first subject's folds.

    What is kept by voxel, over all rows of a subject, stays as it is.
    """
    fold = found[0].fold[rows[0]]
    cut = []
    for one, chosen in zip(found, rows, strict=True):
        courses = {"timecourse": one.timecourse[..., chosen], "fold": fold}
        if isinstance(one, Partition):
            courses["r_timecourse"] = one.r_timecourse[..., chosen]
        cut.append(replace(one, **courses))
    return cut


def same_rows(found: Sequence[Scores | Partition], paths: Sequence, rows: Sequence[np.ndarray] | None) -> list:
    """Scores or partitions of subjects on the same rows; InputError if they are not, and no shared `rows` are given."""
    if rows is not None:
        return on_rows(found, rows)
    for path, one in zip(paths, found, strict=True):
        if not np.array_equal(one.fold, found[0].fold):
            raise InputError(f"{path}: other rows or folds than {paths[0]}; encode both again")
    return list(found)
