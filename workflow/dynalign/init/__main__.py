"""Write a commented configuration for a scientist's own data, and say what was found and what is left to do."""

import shlex
from pathlib import Path

from dynalign.cli import command, run
from dynalign.config.preflight import missing_files
from dynalign.config.study import Study, load
from dynalign.config.writers import yaml_lines
from dynalign.init.bids import look_at_derivatives
from dynalign.init.folder import look
from dynalign.init.found import Found
from dynalign.io.atomic import write_text
from dynalign.io.errors import InputError

#: What every study of images needs to know, and no file tells.
CHOICES = {
    "story.layout": ("table", ""),
    "story.download": (None, ""),
    "story.trim": ({"start": 0, "end": 0}, "nothing is cut yet; the paper cuts 20 and 15"),
    "story.language": ("en", ""),
    "brain.detrend": ("cosine", "for images that drift; `none` if yours are cleaned already"),
    "brain.standardize": (True, ""),
}

_HEAD = """\
# A study of the images in {folder}, written by `python -m dynalign.init`. Look through it. A line with TO DO needs
# you: correct the key below it, and take away its mark '#'. Keys left out take the defaults in config/README.md.
"""


def as_yaml(found: Found, folder: str) -> str:
    """The configuration as YAML, each key below its explanation and what is said of it."""
    todo = {key: [f"TO DO: {problem}" for problem in problems] for key, problems in found.todo.items()}
    notes = {key: [*found.notes.get(key, ()), *todo.get(key, ())] for key in {*found.notes, *todo}}
    lines = yaml_lines(Study, found.nested(), notes, found.left_out)
    return _HEAD.format(folder=folder) + "\n".join([*(f"# {line}" for line in todo.get("", ())), "", *lines, ""])


@command
def main(
    folder: str | None = None,
    output: str = "config/mine.yaml",
    study: str | None = None,
    bids: str | None = None,
    task: str | None = None,
    space: str | None = None,
    session: str | None = None,
) -> None:
    """Write a commented configuration for the images in a folder, or for what fMRIPrep made of a task's runs.

    Where subjects differ in what fMRIPrep made, a table of recordings is written beside it.

    Parameters
    ----------
    folder
        Holds a 4-D NIfTI image per subject and run, masks, a words table, perhaps label images and checkpoints.
    output
        Configuration to write; a file that is there is not touched.
    study
        Name of the study; that of the file by default.
    bids
        Instead of `folder`: what fMRIPrep wrote, or the BIDS dataset that holds it.
    task, space, session
        Which of its runs (task-…, space-…, ses-…); `none` for names that tell no space or session.
    """
    table = f"{Path(output).with_suffix('')}_recordings.tsv"
    if there := [path for path in (output, table) if Path(path).exists()]:
        raise InputError(f"{there[0]}: is there already and stays as it is; name another --output, or move it away")
    if (folder is None) == (bids is None):
        raise InputError("give either --folder, with images of any names, or --bids, what fMRIPrep wrote, with --task")
    if folder is not None and (task or space or session):
        raise InputError("--task, --space and --session go with --bids, what fMRIPrep wrote, not with --folder")
    found = look(folder) if folder is not None else look_at_derivatives(bids, task, space, session)
    folder = folder or bids
    found.values["study"] = study or Path(output).stem
    if found.recordings:
        found.values["recordings"] = table
        rows = [list(found.recordings[0]), *([str(value) for value in row.values()] for row in found.recordings)]
        write_text(table, "".join("\t".join(row) + "\n" for row in rows))
        found.said.append(("runs", f"{table}: {len(found.recordings)} recordings, as subjects differ in their runs"))
    for key, (value, note) in CHOICES.items():
        if key not in found.values:
            found.values[key] = value
            found.notes[key] += [note] if note else []
    try:
        missing = [message.partition(": ") for message in missing_files(load(found.nested()))]
        # Of the rest, the folder was looked through.
        for key, _, problem in missing:
            if key.startswith(("model.", "rois.")) and key not in found.todo:
                found.todo[key].append(problem)
    except InputError as error:
        found.todo[""].append(" ".join(str(error).split()))
    write_text(output, as_yaml(found, folder))
    print(f"{output}: a study of {folder}")
    for what, text in found.said:
        print(f"  {what:<9}{text}")
    if found.todo:
        print("To do, marked in the file:")
        for key, problems in found.todo.items():
            print(*(f"  - {key}: {problem}" if key else f"  - {problem}" for problem in problems), sep="\n")
    file = shlex.quote(output)
    print(
        f"Next: python -m dynalign.check --configfile {file}",
        f"then: snakemake --cores 16 --configfile {file}",
        sep="\n",
    )


if __name__ == "__main__":
    run(main)
