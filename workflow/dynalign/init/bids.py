"""What fMRIPrep made of a BIDS dataset: runs, masks, confounds, events."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dynalign.init.folder import find_mask, find_model, find_runs, find_words, head, list_files, open_images
from dynalign.init.found import Found, listed
from dynalign.init.patterns import by_subject_and_run
from dynalign.io.errors import InputError
from dynalign.io.yaml import read_yaml
from dynalign.stimulus.word_files import MISSING
from dynalign.tables.reader import read_table

_BOLD, _MASK = "_desc-preproc_bold.nii.gz", "_desc-brain_mask.nii.gz"

#: How a run's name ends: what tells its image apart from tables of the same run.
_ENDING = re.compile(rf"(_(space|cohort|res|den|label)-[^_/]+)*{re.escape(_BOLD)}$")

#: Where a raw dataset lies, seen from its derivatives.
_RAW = ("../..", "..", "sourcedata/raw", "sourcedata", ".")


def look_at_derivatives(folder: str, task: str | None, space: str | None = None, session: str | None = None) -> Found:
    """Look through derivatives of fMRIPrep, or a BIDS dataset that holds them, for the runs of a task.

    InputError: there is no such folder or task, or the runs lie in several spaces or sessions and none is chosen.
    """
    if not Path(folder).is_dir():
        raise InputError(
            f"{folder}: no such folder; give the one that fMRIPrep wrote, or the BIDS dataset that holds it"
        )
    found, paths = Found(), list_files(folder)
    chosen = _of_task(folder, [path for path in paths if path.endswith(_BOLD)], task, space, session)
    runs = {path: image for path, image in open_images(found, chosen)[0].items() if image.ndim == 4}
    if not runs:
        raise InputError(f"{folder}: no run can be read; {listed(found.todo['brain.images'], 3)}")
    first = find_runs(found, folder, runs)
    images = found.values["brain.images"]
    there = sorted(by_subject_and_run(runs)[images])
    _repetition_time(found, [images.format(subject=subject, run=run) for subject, run in there])
    same = {key: value for key, value in _entities(chosen[0]).items() if key in ("task", "space", "ses")}
    masks = [path for path in paths if path.endswith(_MASK) and same.items() <= _entities(path).items()]
    find_mask(found, open_images(found, _of_one_run(masks))[0], first, {})
    if "{run" in images and "brain.mask" not in found.todo:
        found.notes["brain.mask"].append("fMRIPrep makes a mask for each run; one of them stands for all")
    _confounds(found, images, there)
    _words(found, folder, paths, images, there)
    if {"subjects", "story.trs"} & {*found.todo}:
        _own_runs(found, images, there)
    find_model(found, paths)
    return found


def _of_one_run(masks: list[str]) -> list[str]:
    """Those of the first run where each run has one, so that no other is said to be left out."""
    runs = {path: _entities(path).get("run", "") for path in masks}
    names = {path.split("_run-")[0] for path in masks}
    first = [path for path, run in runs.items() if run == min(runs.values())]
    return first if len(first) == len(names) else masks


def _entities(path: str) -> dict[str, str]:
    """What the name of a file says, as in BIDS: sub-01_task-story → {sub: 01, task: story}."""
    pairs = (part.partition("-") for part in PurePosixPath(path).name.split("_"))
    return {key: value for key, hyphen, value in pairs if hyphen}


def _of_task(folder: str, runs: Iterable[str], task: str | None, space: str | None, session: str | None) -> list[str]:
    """The images of a task's runs, in one space and session; `none` names those whose names tell none."""
    chosen = {path: _entities(path) for path in runs}
    if not chosen:
        raise InputError(f"{folder}: no file …{_BOLD} in it or below; give the folder that fMRIPrep wrote")
    for what, key, wanted in (("task", "task", task), ("space", "space", space), ("session", "ses", session)):
        there = sorted({names.get(key, "none") for names in chosen.values()})
        if wanted is None and (len(there) > 1 or what == "task"):
            raise InputError(
                f"{folder}: a study takes the runs of one {what}, here {listed(there)}; choose: --{what} {there[0]}"
            )
        if wanted is not None and wanted not in there:
            raise InputError(f"{folder}: no preprocessed run of {what} {wanted!r}; there are runs of {listed(there)}")
        chosen = {path: names for path, names in chosen.items() if names.get(key, "none") == (wanted or there[0])}
    return list(chosen)


def _repetition_time(found: Found, images: Iterable[str]) -> None:
    """Compare the TR with that beside the images, and take that where no header states one."""
    stated = {}
    for path in images:
        try:
            stated[float(read_yaml(path.removesuffix(".nii.gz") + ".json")["RepetitionTime"])] = path
        except (InputError, KeyError, TypeError, ValueError):
            continue
    if len(stated) == 1 and found.todo.get("story.tr", [""])[0].startswith("no header"):
        found.values["story.tr"] = next(iter(stated))
        found.left_out.discard("story.tr")
        del found.todo["story.tr"]
        found.said.append(("TR", f"{found.values['story.tr']:g} s, by RepetitionTime beside the images"))
    for tr, path in stated.items():
        if "story.tr" not in found.todo and abs(tr - found.values["story.tr"]) > 1e-3 * tr:
            problem = f"the images' headers say so, but RepetitionTime beside {path} is {tr:g} s; correct one"
            found.todo["story.tr"].append(problem)


def _confounds(found: Found, images: str, there: Iterable[tuple[str, int]]) -> None:
    """Find the tables of confounds beside the images, and what they say of drift and of the steady state."""
    patterns = [_ENDING.sub(f"_desc-confounds_{kind}.tsv", images) for kind in ("timeseries", "regressors")]
    files = {pattern: [pattern.format(subject=subject, run=run) for subject, run in there] for pattern in patterns}
    pattern = max(patterns, key=lambda one: sum(map(os.path.isfile, files[one])))
    strategy = ["motion", "high_pass", "wm_csf"]
    if absent := [path for path in files[pattern] if not os.path.isfile(path)]:
        value = {"files": pattern, "strategy": strategy}
        found.ask("brain.confounds", value, f"there is no {listed(absent, 3)}; get it, or leave the section out")
        return
    columns = [head(path)[0] for path in files[pattern]]
    if all(any("cosine" in name for name in names) for names in columns):
        found.values["brain.detrend"] = "none"
        found.notes["brain.detrend"].append("`high_pass` of the confounds takes drift out")
    else:
        strategy.remove("high_pass")
        found.notes["brain.confounds"].append("some run has no cosines of fMRIPrep's: drift is left to `detrend`")
    found.values["brain.confounds"] = {"files": pattern, "strategy": strategy}
    found.said.append(("cleaning", f"{pattern}: {listed(strategy)}"))
    if unsteady := max(sum("non_steady_state" in name for name in names) for names in columns):
        found.values["story.trim"] = {"start": unsteady, "end": 0}
        note = f"fMRIPrep marks {unsteady} volumes at the start as not in steady state"
        found.notes["story.trim"].append(note)
        found.said.append(("trim", f"{note}; they are cut"))


def _words(found: Found, folder: str, paths: list[str], images: str, there: list[tuple[str, int]]) -> None:
    """Find the words in events of the raw dataset, which must be the same for all subjects, or in other files."""
    events = _ENDING.sub("_events.tsv", images)
    base, within = events[: events.index("sub-{subject}")], events[events.index("sub-{subject}") :]
    shared = re.sub(r"sub-\{subject\}_(ses-[^_/]+_)?", "", PurePosixPath(within).name)
    places = [
        Path(os.path.normpath(os.path.join(base, root)), name).as_posix() for root in _RAW for name in (within, shared)
    ]
    # Of the first subject that has the most runs.
    by_subject = {name: [run for other, run in there if other == name] for name, _ in there}
    subject, runs = max(by_subject.items(), key=lambda one: len(one[1]))
    pattern = next(
        (one for one in places if all(os.path.isfile(one.format(subject=subject, run=run)) for run in runs)), None
    )
    columns = head(pattern.format(subject=subject, run=runs[0]))[0] if pattern else ()
    if not {"onset", "word"} <= {*columns}:
        tables = {path: head(path) for path in paths if path.endswith((".tsv", ".csv")) and os.access(path, os.R_OK)}
        find_words(found, folder, tables, [path for path in paths if path.lower().endswith(".textgrid")])
        if pattern and "story.words" in found.todo:
            found.todo["story.words"].append(
                f"the events {pattern} have {listed(columns)}: if a column holds the words, write them here, and its "
                "name as word_column"
            )
        return
    found.values["story.words"] = words = pattern.replace("{subject}", subject)
    how = "its column `sentence` is taken" if "sentence" in columns else "sentences end with '.', '!' or '?'"
    found.notes["story.words"].append(how)
    found.said.append(("words", f"{words} ({how})"))
    differing = [
        path for name, run in there
        if os.path.isfile(path := pattern.format(subject=name, run=run))
        and _spoken(path) != _spoken(words.format(run=run))
    ]  # fmt: skip
    if differing:
        problem = (
            f"words or onsets in {listed(differing, 3)} are not those of {subject!r}, but a study has one story; "
            "leave these subjects out, or make a study for each kind"
        )
        found.todo["story.words"].append(problem)


def _own_runs(found: Found, images: str, there: Iterable[tuple[str, int]]) -> None:
    """Write each subject's own runs as a table of recordings, with the words of each run as a story."""
    field = re.search(r"\{run(:[^}]*)?\}", images)
    confounds = found.values.get("brain.confounds") if "brain.confounds" not in found.left_out else None
    masks: dict[str, str] = {}
    for subject, run in there:
        path = images.format(subject=subject, run=run)
        # A subject's runs have one mask: fMRIPrep's of the first.
        masks.setdefault(subject, path.replace(_BOLD, _MASK))
        number = 1 + sum(row["subject"] == subject for row in found.recordings)
        story = field[0].format(run=run) if field else _entities(path)["task"]
        row = {"subject": subject, "run": number, "story": story, "start": 0, "images": path, "mask": masks[subject]}
        more = {"confounds": confounds["files"].format(subject=subject, run=run)} if confounds else {}
        found.recordings.append(row | more)
    for key in ("story.trs", "brain.images", "brain.mask"):
        found.values.pop(key, None)
    for key in ("story.trs", "subjects", "brain.images", "brain.mask"):
        found.todo.pop(key, None)
        found.notes.pop(key, None)
        found.left_out.discard(key)
    if confounds:
        found.values["brain.confounds"] = {"strategy": confounds["strategy"]}
    found.values["story.layout"] = "recordings"
    if "story.words" not in found.left_out:
        whole, part = (field[0], "{story}") if field else (f"task-{story}", "task-{story}")
        found.values["story.words"] = found.values["story.words"].replace(whole, part)
    found.notes["recordings"].append(
        "subjects differ in their runs: each run is a story of its own. Where a run goes on"
    )
    found.notes["recordings"].append("with the last one's, give both the same story, and the words one table")


def _spoken(path: str) -> list[list[str]]:
    """Onset and word of each event that has a word; nothing where the table cannot be read."""
    try:
        table = read_table(path, ["onset", "word"])
    except InputError:
        return []
    return table.loc[~table["word"].isin(["", MISSING]), ["onset", "word"]].astype(str).to_numpy().tolist()
