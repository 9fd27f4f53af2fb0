"""What a folder holds: images of runs, masks, label images, a words table, checkpoints. No volume of a run is read."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dynalign.config.brain import kind_of
from dynalign.config.model import Model
from dynalign.init.found import Found, listed
from dynalign.init.patterns import by_subject, by_subject_and_run
from dynalign.io.errors import InputError
from dynalign.io.images import load_image, open_image
from dynalign.io.yaml import read_yaml
from dynalign.models.checkpoints import weight_files
from dynalign.responses.volumes import brain_mask, check_grid, possible_trs
from dynalign.tables.reader import read_table

#: Columns of a words table.
WORDS = ("onset", "run", "word")

#: What the workflow writes and fetches, which is nobody's data.
OWN = ("results", "resources/models")

#: Columns and separator of a table.
Head = tuple[tuple[str, ...], str]


def look(folder: str) -> Found:
    """Look through a folder of NIfTI images and all folders in it but hidden ones.

    InputError: there is no such folder, no run in it, or no subject is recognised in the paths.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds the images")
    found, paths = Found(), list_files(folder)
    images, unread = open_images(
        found, [path for path in paths if path.endswith((".nii", ".nii.gz")) and kind_of(path) == "nifti"]
    )
    runs = {path: image for path, image in images.items() if image.ndim == 4 and image.shape[3] > 1}
    if not runs:
        others = "; for other kinds of recordings (.gii, .dtseries.nii, .npy, .h5) see config/README.md"
        others = others if any(kind_of(path) != "nifti" for path in paths) else ""
        raise InputError(
            f"{folder}: no run in it or below: a 4-D NIfTI image (*.nii, *.nii.gz) of several volumes; "
            + "; ".join([f"{len(images)} NIfTI images of other shapes", *unread[:1]])
            + f"; give the folder that holds an image per subject and run{others}"
        )
    first = find_runs(found, folder, runs)
    texts = [path for path in paths if path.endswith((".tsv", ".csv", ".txt")) and os.access(path, os.R_OK)]
    tables = {path: head(path) for path in texts}
    find_mask(found, {path: image for path, image in images.items() if image.ndim == 3}, first, tables)
    find_words(found, folder, tables, [path for path in paths if path.lower().endswith(".textgrid")])
    find_model(found, paths)
    return found


def open_images(found: Found, paths: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The images among files, by their headers, and what is wrong with the others, which is left to the user."""
    images, unread = {}, []
    for path in paths:
        try:
            images[path] = open_image(path)
        except InputError as error:
            unread.append(" ".join(str(error).split()))
    if unread:
        more = f" ({len(unread)} images cannot be read)" if len(unread) > 1 else ""
        found.todo["brain.images"].append(unread[0] + more)
    return images, unread


def list_files(folder: str) -> list[str]:
    """Paths of a folder's files, sorted; links are followed, but into no folder twice."""
    paths, passed = [], {os.path.realpath(own) for own in OWN} - {os.path.realpath(folder)}
    for place, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        inside[:] = [name for name in inside if name[0] != "." and real not in passed]
        paths += [Path(place, name).as_posix() for name in names if name[0] != "." and real not in passed]
        passed.add(real)
    # In the configuration braces are placeholders.
    return sorted(path for path in paths if not set("{}") & set(path))


def find_runs(found: Found, folder: str, runs: Mapping[str, Any]) -> dict[str, Any]:
    """Find subjects, runs, measurements and TR by the headers of 4-D images; one of these for each subject."""
    patterns = by_subject_and_run(runs)

    def rank(pattern: str) -> tuple:
        return "{subject}" in pattern, len(patterns[pattern]), "bold" in pattern, "preproc" in pattern, -len(pattern)

    chosen = max(patterns, key=rank)
    if "{subject}" not in chosen:
        raise InputError(
            f"{folder}: no subject recognised in the paths of its 4-D images ({listed(runs, 3)}); name folders or "
            "files by subject and run, as in BIDS: sub-01/sub-01_run-1_bold.nii.gz"
        )
    subjects = sorted({subject for subject, _ in patterns[chosen]}, key=lambda name: (len(name), name))
    numbers = sorted({run for _, run in patterns[chosen]})
    found.values |= {"subjects": subjects, "brain.images": chosen}
    found.said.append(("images", f"{chosen}: subjects {listed(subjects)}; runs {listed(numbers)}"))
    found.others("4-D images", patterns, chosen)
    if numbers != list(range(1, len(numbers) + 1)):
        problem = f"its runs are {listed(numbers)}, but runs count 1, 2, …, in the words table too; rename the images"
        found.todo["brain.images"].append(problem)
    volumes, stated = defaultdict(list), defaultdict(list)
    for subject in subjects:
        paths = [chosen.format(subject=subject, run=run) for run in numbers]
        if absent := [path for path in paths if path not in runs]:
            problem = f"{subject!r} has no {listed(absent, 3)}; get it, or take the subject out"
            found.todo["subjects"].append(problem)
        else:
            volumes[tuple(runs[path].shape[3] for path in paths)].append(subject)
        for path in (path for path in paths if path in runs):
            # Without a unit s and ms are possible: whichever is a TR of fMRI.
            likely = [float(f"{tr:.6g}") for tr in possible_trs(runs[path]) if 0.05 < tr < 50]
            stated[likely[0] if likely else None].append(path)
    _measurements(found, volumes, stated)
    firsts = {subject: min(run for name, run in patterns[chosen] if name == subject) for subject in subjects}
    return {subject: runs[chosen.format(subject=subject, run=run)] for subject, run in firsts.items()}


def _measurements(
    found: Found, volumes: Mapping[tuple[int, ...], Sequence[str]], stated: Mapping[float | None, Sequence[str]]
) -> None:
    """Set TR and TRs where all agree: subjects by the volumes of their runs, images by the TR that they state."""
    trs = sorted(((tr, paths) for tr, paths in stated.items() if tr is not None), key=lambda one: -len(one[1]))
    usual_tr = trs[0][0] if trs else 2.0
    if not trs:
        found.ask("story.tr", usual_tr, "no header states the TR (pixdim[4]); write it here, in s")
    elif any(abs(tr - usual_tr) > 1e-3 * usual_tr for tr, _ in trs):
        counts = "; ".join(f"{tr:g} s in {listed(paths, 3)}" for tr, paths in trs)
        found.ask(
            "story.tr", usual_tr, f"headers differ in TR: {counts}; choose, and correct the headers that are wrong"
        )
    else:
        found.values["story.tr"] = usual_tr
        silent = f"; {len(stated[None])} headers state none" if None in stated else ""
        found.said.append(("TR", f"{usual_tr:g} s{silent}"))
    usual = max(volumes, key=lambda counts: len(volumes[counts]), default=(300,))
    if len(volumes) == 1:
        found.values["story.trs"] = list(usual)
        found.said.append(("TRs", f"{listed(usual)} by run"))
        note = "as many as the images have volumes; of images that are trimmed already, write the whole runs' numbers"
        found.notes["story.trs"].append(note)
    elif volumes:
        counts = "; ".join(f"{list(counts)} for {listed(names)}" for counts, names in volumes.items())
        problem = f"subjects differ in volumes per run: {counts}; choose, and cut or leave out what has others"
        found.ask("story.trs", list(usual), problem)
    else:
        found.ask("story.trs", list(usual), "no subject has all runs; write the measurements of each run here")


def find_mask(found: Found, still: Mapping[str, Any], first: Mapping[str, Any], tables: Mapping[str, Head]) -> None:
    """Find masks, and label images with their tables, among 3-D images on the grid of the runs (`first`, by subject).

    Of each pattern the first subject's image is read.
    """
    masks, labels, refused = {}, {}, []
    for pattern, subjects in by_subject(still, list(first)).items():
        subject = min(subjects)
        path = pattern.replace("{subject}", subject)
        try:
            check_grid(still[path], first[subject])
            values = np.unique(np.asarray(load_image(path).dataobj))
            labels[pattern] = (subject, values)
            brain_mask(still[path])
            masks[pattern] = subjects
        except InputError as error:
            refused += [str(error)] if "mask" in PurePosixPath(path).name else []
    if masks:
        mask = max(masks, key=lambda one: (len(masks[one]), "mask" in one, "brain" in one, "{subject}" in one))
        found.values["brain.mask"] = mask
        found.said.append(("mask", mask if "{subject}" in mask else f"{mask}, for all subjects"))
        found.others("images of two values", masks, mask)
        if absent := [mask.replace("{subject}", name) for name in first if name not in masks[mask]]:
            found.todo["brain.mask"].append(f"there is no {listed(absent, 3)}; make it, or take the subject out")
    else:
        example = next(iter(first.values())).get_filename()
        found.ask("brain.mask", "masks/sub-{subject}_mask.nii.gz", "; ".join([
            f"no 3-D image that holds 0 and one other value on the grid of {example}", *refused[:1],
            f"nilearn makes one: nilearn.masking.compute_epi_mask({example!r}).to_filename(…)",
        ]))  # fmt: skip
    named = by_subject([path for path, (names, _) in tables.items() if {"index", "name"} <= set(names)], list(first))
    for image, table in [(image, table) for image in labels if image not in masks for table in named]:
        subject, values = labels[image]
        try:
            index = read_table(table.replace("{subject}", subject), ["index", "name"])["index"]
        except InputError:
            continue
        if subject in named[table] and np.isin(values, [0, *index]).all() and "rois.image" not in found.values:
            found.values |= {"rois.image": image, "rois.labels": table}
            found.said.append(("regions", f"{image}, named in {table}"))


def head(path: str) -> Head:
    """Names of a table's columns, and what separates them; of a large file the beginning alone is read."""
    with open(path, "rb") as stream:
        content = stream.read(1 << 14)
    coding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    line = next(iter(content.decode(coding, errors="ignore").splitlines()), "")
    separator = max("\t,;", key=line.count)
    return tuple(name.strip('"') for name in line.split(separator)), separator


def find_words(found: Found, folder: str, tables: Mapping[str, Head], textgrids: Sequence[str]) -> None:
    """Find the words table, or a table or TextGrid of each run, or what comes closest to these."""
    readable = {path: set(names) for path, (names, separator) in tables.items() if _is_table(path, separator)}
    fit = [path for path, names in readable.items() if names >= {*WORDS}]
    fit = fit or _by_run([path for path, names in readable.items() if names >= {"onset", "word"}], found)
    fit = fit or _by_run(textgrids, found)
    if fit:
        words = min(fit, key=lambda path: ("words" not in PurePosixPath(path).name, path.count("/"), path))
        found.values["story.words"] = words
        if words.lower().endswith(".textgrid"):
            how = "the tier `words`; sentences are those of a tier `sentence`, or end with '.', '!' or '?'"
        elif "sentence" in tables[words.format(run=1)][0]:
            how = "its column `sentence` is taken"
        else:
            how = "no column `sentence`: sentences end with '.', '!' or '?'"
        found.said.append(("words", f"{words} ({how})"))
        found.notes["story.words"].append(how)
        found.others("words tables", fit, words)
        return
    near = {path: len({*WORDS} & {name.strip().lower() for name in names}) for path, (names, _) in tables.items()}
    closest = max(near, key=lambda path: (near[path], path.endswith("_events.tsv")), default="")
    problem = f"no tab-separated table with the columns {', '.join(WORDS)}"
    if near.get(closest):
        names, separator = tables[closest]
        alike = sum(head == tables[closest] for head in tables.values())
        problem += f"; {closest}" + (f" and {alike - 1} like it have" if alike > 1 else " has")
        problem += f" {', '.join(names)}" + ("" if separator == "\t" else f", separated by {separator!r}")
    problem += (
        "; write one table for all subjects, its rows in order: onset (s from the start of the run), run (1, 2, …), "
    )
    found.ask("story.words", f"{folder}/words.tsv", f"{problem}word, and perhaps sentence")


def _is_table(path: str, separator: str) -> bool:
    return separator == "\t" or path.lower().endswith(".csv")


def _by_run(paths: Iterable[str], found: Found) -> list[str]:
    """Patterns of files for all subjects, one for each run; a single run's is a TextGrid."""
    runs = set(range(1, 1 + len(found.values["story.trs"])))
    return [
        pattern
        for pattern, named in by_subject_and_run(paths).items()
        if named == {("", run) for run in runs} and ("{run" in pattern or pattern.lower().endswith(".textgrid"))
    ]


def find_model(found: Found, paths: Iterable[str]) -> None:
    """Find folders of checkpoints with weights; without any, the default model is written as a comment."""
    files = defaultdict(list)
    for path in map(PurePosixPath, paths):
        files[path.parent].append(path.name)
    suites: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for place, names in sorted(files.items()):
        if "config.json" in names and weight_files(names, "any"):
            number = re.search(r"(?:step|checkpoint|ckpt|iter|epoch|^)[-_]?(\d+)", place.name)
            before, step = (place.name[: number.start(1)], int(number[1])) if number else (place.name, 0)
            suites[str(place.parent), before][step] = place.name
    if not suites:
        default = Model()
        found.values |= {f"model.{key}": getattr(default, key) for key in ("source", "steps", "depth", "layers")}
        found.left_out.add("model")
        found.notes["model"].append("the default, which is fetched from the Hugging Face hub")
        found.said.append(("model", f"no checkpoints found: the default, {default.source} from the Hugging Face hub"))
        return
    chosen = max(suites, key=lambda one: len(suites[one]))
    source, revisions = chosen[0], dict(sorted(suites[chosen].items()))
    steps, names = list(revisions), list(revisions.values())
    found.values |= {"model.source": source, "model.revision": _revision(revisions), "model.steps": steps}
    found.said.append(("model", f"{source}: steps {listed(steps)}"))
    found.others("checkpoints", ["/".join(one) for one in suites], "/".join(chosen))
    if not all(weight_files(files[PurePosixPath(source, name)], "safetensors") for name in names):
        found.values["model.weights"] = "any"
    try:
        config = read_yaml(f"{source}/{names[0]}/config.json")
        depth = next(config[key] for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers") if key in config)
        found.values |= {"model.depth": depth, "model.layers": sorted({round(part * depth / 6) for part in range(7)})}
    except (InputError, StopIteration, TypeError):
        problem = f"{source}/{names[0]}/config.json states no number of layers; write it here, and `layers`"
        found.ask("model.depth", Model().depth, problem)


def _revision(revisions: Mapping[int, str]) -> str | dict[int, str]:
    """The names of steps as a pattern with {step}, or as they are where none fits."""
    step, name = next(iter(revisions.items()))
    for field in (*(f"{{step:0{width}d}}" for width in range(9, 1, -1)), "{step}"):
        pattern = name.replace(field.format(step=step), field, 1)
        if pattern != name and all(pattern.format(step=each) == named for each, named in revisions.items()):
            return pattern
    return dict(revisions)
