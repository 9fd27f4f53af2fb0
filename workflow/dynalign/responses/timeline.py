"""A subject's own runs on the stories' time: TRs and the words that were heard in them (METHOD section 2.3)."""

from collections.abc import Mapping

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.brain import Brain
from dynalign.config.recordings import Recordings, with_recordings
from dynalign.config.story import Story
from dynalign.io.errors import InputError
from dynalign.responses import confounds
from dynalign.responses.kinds import check_tr, space_of
from dynalign.stimulus.timing import TOLERANCE, kept_trs, last_tr_before, read_words
from dynalign.tables.writer import write_table


def timeline(
    words, recordings: Recordings, n_trs, tr: float, story: Story, keep: bool = False, left_out: Mapping | None = None
) -> tuple:
    """What one subject heard and the TRs of its runs: ``story/{subject}.words.tsv`` and ``story/{subject}.trs.tsv``.

    A word belongs to the last TR of a run that starts strictly before it, and at the run's very start to its first
    TR; times within a thousandth of a TR are the same (METHOD 2.3). Words beyond the run's end are not heard in it.

    Parameters
    ----------
    words
        ``story/words.tsv``, with the `story` of each word.
    recordings
        Those of the subject.
    n_trs : sequence of int
        Volumes of each, in the order of runs.
    tr
        In s.
    story
        Its `trim` counts.
    keep
        Lay out every hearing of a stretch, and name each word's `repeat` and, of each TR, the `first` hearing; else the
        first hearing stands for the mean of all.
    left_out
        Run to volumes that are left out, bool of shape (n_trs,): they are not kept, nor are other hearings of them.

    Raises
    ------
    InputError
        A run has no words, is of an unknown story or has no TR left; hearings of a stretch have several lengths, or
        words are heard twice in stretches that begin elsewhere.
    """
    import pandas as pd

    slack = TOLERANCE * tr
    subject = recordings.root[0].subject
    runs = recordings.of(subject)
    lengths = {one.run: n for one, n in zip(runs, n_trs, strict=True)}
    first_run = {}
    for stretch in recordings.stretches(subject):
        for one in stretch:
            first_run[one.run] = stretch[0].run
            if lengths[one.run] != lengths[stretch[0].run]:
                raise InputError(
                    f"subject {subject!r}: run {one.run} hears run {stretch[0].run} again, but has {lengths[one.run]} "
                    f"TRs instead of {lengths[stretch[0].run]}; cut the longer one, or leave one of the two out"
                )
    laid = runs if keep else [one for one in runs if first_run[one.run] == one.run]
    begins = {one.run: sum(lengths[before.run] for before in laid[:k]) for k, one in enumerate(laid)}
    told = keep and recordings.repeated(subject)
    heard, series = [], []
    for one in laid:
        n, first = lengths[one.run], begins[one.run]
        times = np.round(one.start + tr * np.arange(n), 9)
        of_story = words[words["story"].astype(str) == one.story]
        where = f"subject {one.subject!r}, run {one.run}"
        if of_story.empty:
            known = ", ".join(dict.fromkeys(words["story"].astype(str)))
            raise InputError(f"{where}: story {one.story!r} has no words in story.words; there are: {known}")
        onset = of_story["onset"].to_numpy()
        inside = (onset > times[0] - slack) & (onset < times[-1] + tr - slack)
        if not inside.any():
            raise InputError(
                f"{where}: no word of story {one.story!r} (onsets {onset[0]:g} to {onset[-1]:g} s) lies in its {n} TRs "
                f"({times[0]:g} to {times[-1] + tr:g} s); correct `start`, the time of the story at the first TR"
            )
        place = last_tr_before(onset[inside], times, tr)
        heard.append(of_story[inside].assign(run=one.run, tr=first + place, repeat=one.repeat))
        again = begins[first_run[one.run]] + np.arange(n)
        series.append(pd.DataFrame({"run": one.run, "story": one.story, "time": times, "first_tr": again}))
    found = pd.concat(heard, ignore_index=True)
    if (twice := found.duplicated(["word_index", "repeat"])).any():
        row = found[twice].iloc[0]
        raise InputError(
            f"subject {subject!r} hears word {row['word_index']} of story {row['story']!r} in two runs that begin at "
            "different times of it; repeats have the same `start`: cut the runs, or keep one of them"
        )
    trs = pd.concat(series, ignore_index=True)
    trs.insert(0, "tr", np.arange(len(trs)))
    kept = kept_trs(trs["run"].to_numpy(), story.trim.start, story.trim.end)
    for stretch in recordings.stretches(subject) if left_out else ():
        without = np.any([left_out[one.run] for one in stretch], axis=0)
        for one in (one for one in stretch if one in laid):
            rows = begins[one.run] + np.arange(lengths[one.run])
            kept[rows[without]] = False
            if not kept[rows].any():
                raise InputError(
                    f"subject {subject!r}, run {one.run}: brain.confounds (scrub) and story.trim leave none of "
                    f"{len(rows)} TRs; raise the thresholds, or leave the run out"
                )
    trs["kept"] = kept.astype(int)
    found.insert(0, "row", np.arange(len(found)))
    if not told:
        found, trs = found.drop(columns="repeat"), trs.drop(columns="first_tr")
    return found, trs


def scrubbed(brain: Brain, recordings: Recordings, n_trs) -> dict[int, np.ndarray]:
    """Volumes of one subject's runs that `scrub` leaves out, by run, as for :func:`timeline`; empty without it."""
    if brain.confounds is None or "scrub" not in brain.confounds.strategy:
        return {}
    subject = recordings.root[0].subject
    given = with_recordings(brain, recordings)
    return {
        one.run: confounds.left_out(given, subject, one.run, n)
        for one, n in zip(recordings.of(subject), n_trs, strict=True)
    }


def measured(recordings: Recordings, story: Story) -> tuple[list[int], float]:
    """TRs of each run of a subject in order, by the headers, and the TR in s; InputError if a header has another TR."""
    first = recordings.root[0]
    tr = recordings.tr_of(first.subject, story)
    space = space_of(with_recordings(Brain(), recordings), first.subject)
    lengths = []
    for one in recordings.of(first.subject):
        header = space.header(one.images)
        check_tr(one.images, header, tr)
        lengths.append(header.n_rows)
    return lengths, tr


@command
def main(
    words: str,
    recordings: Recordings,
    output_words: str,
    output_trs: str,
    options: Story = Story(),
    brain: Brain = Brain(),
) -> None:
    """Lay out one subject's runs in time, by the headers of its images.

    Parameters
    ----------
    words
        ``story/words.tsv``.
    recordings
        Rows of the table of recordings, of this subject, in the order of runs.
    output_words, output_trs
        To write.
    brain
        Of the section, `repeats`; and `confounds` where volumes are left out for motion.
    """
    lengths, tr = measured(recordings, options)
    without = scrubbed(brain, recordings, lengths)
    heard, trs = timeline(read_words(words), recordings, lengths, tr, options, brain.repeats == "keep", without)
    for number, gone in without.items():
        note(f"run {number}: {int(gone.sum())} of {len(gone)} volumes are left out (scrub, or no steady state)")
    note(f"{len(lengths)} runs of {', '.join(map(str, lengths))} TRs; {len(heard)} words heard")
    write_table(heard, output_words)
    write_table(trs, output_trs)


if __name__ == "__main__":
    run(main)
