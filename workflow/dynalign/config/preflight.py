"""Checks of a configuration against the files that it names."""

from pathlib import Path

from dynalign.config.brain import HARRY_POTTER_SUBJECTS, recording_files
from dynalign.config.model import checkpoint_folder, is_local, tokenizer_folder
from dynalign.config.recordings import Recordings, read_recordings, with_recordings
from dynalign.config.story import ARRAYS
from dynalign.config.study import Study
from dynalign.io.errors import InputError
from dynalign.io.shipped import shipped


def check_files(study: Study, root: str | Path = ".") -> None:
    """An `InputError` with a line for each of the :func:`missing_files`, if there are any."""
    if missing := missing_files(study, root):
        raise InputError("\n  ".join(missing))


def missing_files(study: Study, root: str | Path = ".") -> list[str]:
    """Every file that the configuration names and that is not there (from `root`), unless the workflow makes it.

    A message each: the key, the missing file and the way out.
    """
    root = Path(root)
    missing: list[str] = []

    def need(key: str, path: str, hint: str = "") -> None:
        message = f"{key}: no such file {path}{hint}"
        if not shipped(path, root).exists() and message not in missing:
            missing.append(message)

    story = study.story
    if story.layout == "arrays" and story.download is None:
        for name in ARRAYS:
            need("story.folder", f"{story.folder}/{name}.npy")
        arrays = (root / story.folder).glob("data_subject_*.npy")
        there = sorted(path.stem.removeprefix("data_subject_") for path in arrays)
        for subject in study.subjects:
            if subject not in there:
                file = f"{story.folder}/data_subject_{subject}.npy"
                missing.append(f"subjects: {subject!r} has no file {file}; there are: {', '.join(there) or 'none'}")
    elif story.layout == "arrays":
        if unknown := [subject for subject in study.subjects if subject not in HARRY_POTTER_SUBJECTS]:
            known = ", ".join(HARRY_POTTER_SUBJECTS)
            missing.append(f"subjects: unknown {', '.join(map(repr, unknown))}; the Harry Potter data has {known}")
    elif study.simulation is not None:
        need("simulation.text", study.simulation.text)
    else:
        for run, path in story.word_files:
            need("story.words", path, f" (run {run})" if run else "")
    if study.recordings is not None:
        need("recordings", study.recordings)
        if not missing:
            known = read_recordings(study.recordings)
            for name, path in story.files_of_stories(known.stories).items():
                need("story.words", path, f" (story {name!r} of {study.recordings})")
            for subject in study.subjects:
                if not (rows := known.of(subject)):
                    there = ", ".join(known.subjects)
                    missing.append(f"subjects: {subject!r} has no row in {study.recordings}; it has {there}")
                for one in rows:
                    where = f" (subject {subject!r}, run {one.run})"
                    for path in (one.images, *([one.mask] if one.mask else [])):
                        for file in recording_files(path):
                            need("recordings", file, where)
                    if one.confounds is not None:
                        need("recordings", one.confounds, where)
            missing += _unfit(study, known)
    for subject in study.subjects:
        hint = f" (subject {subject!r})"
        if story.layout == "table" and study.simulation is None:
            for path in recording_files(study.brain.mask_of(subject)) if study.brain.mask else ():
                need("brain.mask", path, hint)
            for number in range(1, len(story.trs) + 1):
                hint_of_run = f" (subject {subject!r}, run {number})"
                for path in recording_files(study.brain.image(subject, number)):
                    need("brain.images", path, hint_of_run)
                if study.brain.confounds is not None:
                    need("brain.confounds.files", study.brain.confounds_file(subject, number), hint_of_run)
        if study.brain.mesh != "fsaverage5":
            for path in study.brain.surfaces(subject):
                need("brain.mesh", path, hint)
        if study.brain.voxels is not None:
            need("brain.voxels", study.brain.voxels.format(subject=subject), hint)
        # The embedded study makes its own label image.
        if study.rois is not None and (study.simulation is None or study.rois.image is None):
            for key, path in study.rois.files(subject):
                need(f"rois.{key}", path, hint)
    if study.annotation.file is not None:
        need("annotation.file", study.annotation.file)
    elif not study.annotation.download:
        need("annotation.models", f"{study.annotation.models}/resources.json", "; or set annotation.download: true")
    for name, entry in study.properties.items():
        if entry.table is not None:
            need(f"properties.{name}.table", entry.table)
    for name, feature in study.features.items():
        need(f"features.{name}.table", feature.table)
    if study.competence is not None:
        need("competence", study.competence)
    if study.training is not None:
        for path in study.training.texts or (study.training.grammar,):
            need("training", path)
    for one in study.by_model:
        if one.training is None and is_local(one.model.source, root):
            key = f"{one.model_key}.source"
            for step in one.model.steps:
                need(key, f"{checkpoint_folder(one.model, step, '', root)}/config.json")
            folder = tokenizer_folder(one.model, "", root)
            need(key, f"{folder}/config.json", f"; copy that of a checkpoint into {folder}")
            hint = (
                "; a fast tokenizer, which gives each token's place in the text, is kept in it: get the model's, or "
                "save one there with transformers (AutoTokenizer.from_pretrained(…).save_pretrained(…))"
            )
            need(key, f"{folder}/tokenizer.json", hint)
    return missing


def _unfit(study: Study, known: Recordings) -> list[str]:
    """What the configuration asks for that the rows of the study's subjects do not have, and what it leaves unsaid."""
    wrong, path = [], study.recordings
    rows = [one for subject in study.subjects for one in known.of(subject)]
    if study.brain.confounds is None and any(one.confounds for one in rows):
        wrong.append(f"{path}: has confounds, but brain.confounds does not say which are taken out (columns, strategy)")
    elif study.brain.confounds is not None and (bare := [one for one in rows if one.confounds is None]):
        wrong.append(
            f"{path}: run {bare[0].run} of subject {bare[0].subject!r} has no confounds, which brain.confounds takes "
            "out of every run; fill the column, or leave the section out"
        )
    brain, names = with_recordings(study.brain, known), f"{path} names {known.root[0].images}"
    try:
        brain.check_mesh()
    except ValueError as error:
        wrong.append(f"brain.{error}; {names}")
    alone = len(study.subjects) == 1 and not known.repeated(study.subjects[0])
    if study.noise_ceiling.compute and rows and alone:
        wrong.append(
            f"noise_ceiling.compute: needs a second subject, or repeats in {path}; subject {study.subjects[0]!r} is "
            "the only one and heard nothing again"
        )
    if study.rois is not None and study.rois.image is not None and brain.kind != "nifti":
        wrong.append(f"rois.image: goes with NIfTI images, but {names}; give rois.arrays and rois.names")
    return wrong
