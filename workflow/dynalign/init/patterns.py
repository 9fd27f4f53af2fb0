"""Paths that differ by subject and run alone, as one path with {subject} and {run}."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

#: Letters and digits in a row: names, and what stands between them, are looked at apart.
_NAME = re.compile(r"([^\W_]+)")
_SUBJECT = re.compile(r"(sub|subj|subject)\d+", re.IGNORECASE)
_RUN = re.compile(r"run\d+", re.IGNORECASE)


def by_subject_and_run(paths: Iterable[str]) -> dict[str, set[tuple[str, int]]]:
    """Patterns of paths, each with the subjects and runs that have one.

    ``sub-01``, ``sub_01`` and ``sub01`` name a subject, ``run-1``, ``run_01`` and ``run1`` a run. Without these, the
    first name that varies among paths alike is the subject, the last numbered one the run. Paths without a run are of
    run 1, and those without a subject of ''. Zeros before a number make {run:02d}.
    """
    paths = set(paths)
    alike = defaultdict(list)
    for path in sorted(paths):
        parts = _NAME.split(path)
        alike[tuple(parts[::2])].append(parts)
    found = defaultdict(list)
    for rows in alike.values():
        subject, run = _places(rows)
        for parts in rows:
            pattern = "".join(
                "{subject}" if place in subject else re.sub(r"\d+$", "{run}", part) if place in run else part
                for place, part in enumerate(parts)
            )
            number = re.sub(r"\D", "", parts[run[0]]) if run else "1"
            found[pattern].append((parts[subject[0]] if subject else "", number))
    patterns = {}
    for pattern, named in found.items():
        width = max((len(number) for _, number in named if len(number) > 1 and number[0] == "0"), default=0)
        pattern = pattern.replace("{run}", f"{{run:0{width}d}}") if width else pattern
        there = {(subject, int(number)) for subject, number in named}
        patterns[pattern] = {(name, run) for name, run in there if pattern.format(subject=name, run=run) in paths}
    return patterns


def by_subject(paths: Iterable[str], subjects: Collection[str]) -> dict[str, set[str]]:
    """Patterns of paths, each with those of the known `subjects` that have one; a path without {subject} is of all."""
    paths = set(paths)
    found: dict[str, set[str]] = {}
    for path in sorted(paths):
        parts = _NAME.split(path)
        named, run = _places([parts])
        places = named or [place for place in range(1, len(parts), 2) if parts[place] in subjects and place not in run]
        name = parts[places[0]] if places else ""
        pattern = "".join("{subject}" if k in places and part == name else part for k, part in enumerate(parts))
        if pattern not in found and (not places or name in subjects):
            found[pattern] = {subject for subject in subjects if pattern.replace("{subject}", subject) in paths}
    return found


def _places(rows: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
    """Places of the subject and of the run in paths that are alike, which stand in `rows` of parts."""
    columns = {place: [parts[place] for parts in rows] for place in range(1, len(rows[0]), 2)}
    # `sub` of sub-01.
    entity = {place: rows[0][place - 2].lower() for place in columns if place > 1 and rows[0][place - 1] in ("-", "_")}
    subject, run = [], []
    for place, names in columns.items():
        if entity.get(place) in ("sub", "subj", "subject") or all(map(_SUBJECT.fullmatch, names)):
            subject.append(place)
        elif (entity.get(place) == "run" and all(map(str.isdecimal, names))) or all(map(_RUN.fullmatch, names)):
            run.append(place)
    varying = [place for place, names in columns.items() if len(set(names)) > 1]
    # Where subjects stand as in BIDS, what follows another entity (ses-1, echo-1) is no run.
    free = [place for place in varying if place not in (*subject, *run) and not (subject and rows[0][place - 1] == "-")]
    subject = subject or free[:1]
    numbered = [place for place in free if place not in subject and _numbered(columns[place])]
    run = run or [place for place in numbered if columns[place] != columns[subject[0]]][-1:]
    # The same may stand twice, in a folder and in a file.
    for chosen in (subject, run):
        others = [place for place in varying if place not in (*subject, *run)]
        chosen += [place for place in others if chosen and columns[place] == columns[chosen[0]]]
    return subject, run


def _numbered(names: Iterable[str]) -> bool:
    """Whether names are one text and a number."""
    found = [re.fullmatch(r"(\D*)\d+", name) for name in names]
    return all(found) and len({one[1] for one in found if one}) == 1
