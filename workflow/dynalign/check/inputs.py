"""Stories, images, tables, tokenizers and configurations of models: headers and texts, no weights, no image whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dynalign.check.findings import Findings
from dynalign.config.brain import Brain
from dynalign.config.model import checkpoint_folder, is_local, tokenizer_folder
from dynalign.config.recordings import Recordings, read_recordings, with_recordings
from dynalign.config.story import ARRAYS
from dynalign.config.study import Study
from dynalign.datasets import harry_potter, simulation
from dynalign.encoding import arms
from dynalign.figures import surfaces
from dynalign.io.arrays import read_record
from dynalign.io.errors import InputError, located
from dynalign.models import architecture, checkpoints, competence, tokens
from dynalign.models.tokens import Tokens
from dynalign.responses import confounds, kinds, recordings, regions, timeline
from dynalign.responses.grayordinates import Grayordinates
from dynalign.responses.space import measured_rows
from dynalign.responses.surfaces import Surfaces
from dynalign.statistics import shared
from dynalign.stimulus import conllu, features, parser, properties, timing
from dynalign.tables.reader import read_table

#: What becomes of runs that are heard again.
REPEATS = {"average": "averaged", "keep": "kept"}


@dataclass
class Inputs:
    """What a study starts from; None or empty for what the workflow is still to make, or what has a problem."""

    words: Any = None  #: ``story/words.tsv``, a data frame
    trs: Any = None  #: ``story/trs.tsv``
    features: Any = None  #: ``story/features.tsv``
    #: Of subjects with runs of their own: words that were heard, TRs, features.
    own: dict[str, tuple] = field(default_factory=dict)
    tokens: Tokens | None = None
    labels: Any = None  #: ``tables/labels.tsv``, perhaps without the properties that need a parse
    voxels: dict[str, int] = field(default_factory=dict)  #: of each subject
    weights: int = 0  #: bytes of a checkpoint's weights

    @property
    def represented(self) -> np.ndarray:
        """`word_index` of the words that have a representation."""
        if self.tokens is None:
            return np.empty(0, dtype=int)
        return self.tokens.word_index[self.tokens.represented]


def read_inputs(study: Study, found: Findings, words: str | None = None, trs: str | None = None) -> Inputs:
    """Read the story and the responses (`words` and `trs`: as the workflow has made them), and note what is wrong."""
    inputs = Inputs()
    if study.recordings:
        with found.trying():
            _recordings(study, inputs, found)
    else:
        with found.trying():
            inputs.trs = _known_trs(study)
            _story(study, inputs, found, words, trs)
        if inputs.words is not None:
            with found.trying():
                inputs.features = _features(study, inputs.words, inputs.trs)
        _responses(study, inputs, found)
    return inputs


def read_model(study: Study, inputs: Inputs, made: str | None) -> tuple[Inputs, Findings]:
    """The inputs with what there is of the model (`made`: its tokens), and what is found of it."""
    inputs, found = replace(inputs), Findings()
    with found.trying():
        _model(study, inputs, found, made)
    if study.competence is not None and Path(study.competence).is_file():
        with found.trying(), located("competence"):
            steps, names = study.model.steps, competence.names_of(study)
            scores = competence.read_competence(study.competence, names, steps)
            n_tasks, n_steps = scores["task"].nunique(), scores["step"].nunique()
            found.say("competence", f"{study.competence}: {n_tasks} tasks, at {n_steps} of {len(steps)} steps")
    return inputs, found


def read_labels(study: Study, inputs: Inputs, found: Findings, made: str | None) -> None:
    """Read the labels (`made`: as the workflow has made them)."""
    if inputs.words is not None:
        with found.trying():
            _labels(study, inputs, found, made)


def _features(study: Study, words, trs):
    return features.feature_table(words, trs, study.features, study.story.language)


def _recordings(study: Study, inputs: Inputs, found: Findings) -> None:
    """Stories, and what each subject heard of them."""
    known, story = read_recordings(study.recordings), study.story
    inputs.words = words = timing.read_stories(story, known.stories)
    seen = words[words["dropped"] == 0]
    found.say(
        "story",
        f"{story.words}: {len(words)} words ({len(words) - len(seen)} dropped), {seen['sentence'].nunique()} sentences",
        f"stories: {_listed(list(dict.fromkeys(words['story'])))}",
    )
    with found.trying():
        # Subjects need not have heard all that a table of features tells of.
        _features(study, *timing.whole_stories(words, known.tr_of(known.subjects[0], story)))
    lines = []
    for subject in study.subjects:
        rows = known.of(subject)
        # One without a row is told with the files that are missing.
        if rows:
            with found.trying():
                lines.append(_own_runs(study, inputs, subject, Recordings(rows), found))
    ceiling: list[str] = []
    once = [subject for subject in inputs.own if not known.repeated(subject)]
    if study.noise_ceiling.compute and once and len(inputs.own) > 1:
        with found.trying(), located("noise_ceiling.compute"):
            series = {subject: own[1] for subject, own in inputs.own.items()}
            rows = shared.rows_in_common(list(series.values()), list(series))
            for (subject, trs), chosen in zip(series.items(), rows, strict=True):
                seen = trs.iloc[timing.rows_of_responses(trs)].iloc[np.sort(chosen)]
                folds = (study.encoding.folds, study.encoding.gap, timing.stories_of(seen))
                with located(f"subject {subject!r}, on the {len(chosen)} TRs that all subjects have"):
                    arms.outer_splits(seen["run"].to_numpy(), *folds)
            ceiling = [f"noise ceiling: on the {len(rows[0])} TRs that all subjects have"]
    more = [f"… {len(lines) - 9} more subjects"] if len(lines) > 10 else []
    if lines:
        found.say("recordings", *lines[: 9 if more else None], *more, *ceiling)


def _own_runs(study: Study, inputs: Inputs, subject: str, rows: Recordings, found: Findings) -> str:
    """A subject's runs; a line that says what they are."""
    lengths, tr = timeline.measured(rows, study.story)
    gone, keep = timeline.scrubbed(study.brain, rows, lengths), study.brain.repeats == "keep"
    heard, trs = timeline.timeline(inputs.words, rows, lengths, tr, study.story, keep, gone)
    inputs.trs = trs if inputs.trs is None else inputs.trs
    by_run = dict(zip((one.run for one in rows.of(subject)), lengths, strict=True))
    brain = with_recordings(study.brain, rows)
    inputs.voxels[subject] = n = _cleaned_in_space(study, brain, subject, by_run, found, gone)
    with found.trying():
        _regions(study, brain, subject, n)
    inputs.own[subject] = heard, trs, _features(study, heard, trs)
    stories, again = trs["story"].nunique(), len(lengths) - len(rows.stretches(subject))
    return (
        f"{subject}: {len(lengths)} runs of {stories} stor{'y' if stories == 1 else 'ies'}, {len(trs)} TRs of {tr:g} s "
        f"({int(trs['kept'].sum())} after trimming{' and scrubbing' if gone else ''}), {n:,} voxels"
        + (f"; {again} run{'s' if again > 1 else ''} heard again, {REPEATS[study.brain.repeats]}" if again else "")
    )


def _known_trs(study: Study):
    """``story/trs.tsv`` as the configuration alone tells it, or as it is published; None for arrays of one's own."""
    import pandas as pd

    story = study.story
    if story.layout == "table":
        runs = np.repeat(np.arange(1, len(story.trs) + 1), story.trs)
        times = np.arange(len(runs)) * story.tr
    elif story.download:
        published = harry_potter.timing()
        runs, times = published["runs_fmri"], published["time_fmri"]
    else:
        return None
    kept = timing.kept_trs(runs, story.trim.start, story.trim.end)
    return pd.DataFrame({"tr": np.arange(len(runs)), "run": runs, "time": times, "kept": kept.astype(int)})


def _story(study: Study, inputs: Inputs, found: Findings, made_words: str | None, made_trs: str | None) -> None:
    story, source = study.story, str(study.story.words or study.story.folder)
    if made_words and made_trs:
        words, trs = timing.read_words(made_words), timing.read_trs(made_trs)
    elif story.download and not all(Path(source, f"{name}.npy").is_file() for name in ARRAYS):
        found.say("story", f"{source}: fetched by the workflow, and checked then")
        return
    elif study.simulation:
        found.say("story", f"{source}: made by the workflow from {study.simulation.text}")
        return
    else:
        words, trs = timing.read_story(story)
    inputs.words, inputs.trs = words, trs
    seen, kept = words[words["dropped"] == 0], trs["kept"] == 1
    per_run = trs.groupby("run").size().tolist()
    step = float(np.median(np.diff(trs["time"])))
    per_tr = words[words["tr"].isin(trs.loc[kept, "tr"])].groupby("tr").size()
    listed = ", ".join(map(str, per_run)) if len(per_run) < 10 else f"{min(per_run)} to {max(per_run)}"
    found.say(
        "story",
        f"{source}: {len(words)} words ({len(words) - len(seen)} dropped) in {seen['sentence'].nunique()} sentences",
        f"runs of {listed} TRs: {len(trs)} TRs of {step:g} s, {int(kept.sum())} after trimming",
        f"{per_tr.sum() / kept.sum():.1f} words per TR; {int(kept.sum()) - len(per_tr)} TRs without words",
    )
    for name, rows in trs[kept].groupby("run"):
        if not words["tr"].isin(rows["tr"]).any():
            found.problems.append(
                f"{source}: run {name} has no word in the {len(rows)} TRs that story.trim leaves; leave the run out, "
                "or trim less"
            )


def _responses(study: Study, inputs: Inputs, found: Findings) -> None:
    for subject in study.subjects:
        with found.trying():
            if study.simulation is not None:
                inputs.voxels[subject] = int(simulation.brain_mask(study.simulation.shape).sum())
                continue
            read = _array if study.story.layout == "arrays" else _images
            n = inputs.voxels[subject] = read(study, subject, inputs, found)
            _regions(study, study.brain, subject, n)
    sizes = inputs.voxels.items()
    listed = ", ".join(f"{subject} {n:,}" for subject, n in sizes) if len(sizes) < 10 else f"{len(sizes)} subjects"
    if sizes:
        found.say("responses", f"{'to be simulated; ' if study.simulation else ''}voxels: {listed}")
        if study.story.layout == "table" and study.brain.kind != "nifti" and study.brain.mesh is None:
            found.say("", "maps are written, not drawn: brain.mesh names no surfaces")


def _regions(study: Study, brain: Brain, subject: str, n_voxels: int) -> None:
    if study.rois is not None and study.rois.image is not None:
        regions.from_image(study.rois, subject, brain.mask_of(subject))
    elif study.rois is not None:
        regions.from_arrays(study.rois, subject, n_voxels)


def _images(study: Study, subject: str, inputs: Inputs, found: Findings) -> int:
    story, brain = study.story, study.brain
    cut = story.trim.start + story.trim.end
    for run, n in enumerate(story.trs, 1):
        with found.trying():
            kinds.check_images(brain, subject, {run: (n, n - cut)}, story.tr)
    return _cleaned_in_space(study, brain, subject, dict(enumerate(story.trs, 1)), found)


def _cleaned_in_space(
    study: Study,
    brain: Brain,
    subject: str,
    lengths: dict[int, int],
    found: Findings,
    gone: Mapping = MappingProxyType({}),
) -> int:
    """Check confounds of runs of these lengths in TRs, without those that are `gone`, and the mesh; count voxels."""
    trim = study.story.trim
    for run, n in lengths.items() if brain.confounds is not None else ():
        with found.trying():
            kept = timing.kept_trs(np.full(n, run), trim.start, trim.end)
            confounds.read_confounds(brain, subject, run, kept & ~gone.get(run, np.zeros(n, dtype=bool)))
    space = kinds.space_of(brain, subject)
    if isinstance(space, Surfaces | Grayordinates) and brain.mesh is not None:
        with found.trying():
            mesh = brain.surfaces(subject)
            sizes = [len(coordinates) for coordinates, _ in surfaces.read_meshes(mesh)]
            surfaces.check_sizes(mesh, sizes, space.sizes, brain.first_image(subject))
    return int(space.inside.sum())


def _array(study: Study, subject: str, inputs: Inputs, found: Findings) -> int:
    path = f"{study.story.folder}/data_subject_{subject}.npy"
    if study.story.download and not Path(path).is_file():
        return harry_potter.VOXELS[subject]
    values = recordings.read_responses(path, mmap=True)
    if inputs.trs is not None:
        measured_rows(len(values), inputs.trs["kept"].to_numpy() == 1, path)
    if study.brain.voxels is None:
        return values.shape[1]
    return int(recordings.read_voxels(study.brain.voxels.format(subject=subject), values.shape[1]).sum())


def _model(study: Study, inputs: Inputs, found: Findings, made: str | None) -> None:
    model = study.model
    folder = tokenizer_folder(model, study.model_results)
    if is_local(model.source):
        _local_checkpoints(study, inputs, found)
    size = f", {inputs.weights / 1e6:.3g} MB of weights each" if inputs.weights else ""
    names = f"{len(study.checkpoints)} checkpoints and baselines: {_listed(study.checkpoints)}{size}"
    there = all(Path(folder, name).is_file() for name in ("config.json", "tokenizer.json"))
    if made:
        inputs.tokens = read_record(made, Tokens)
    elif study.training or not (there or is_local(model.source)):
        # What was trained before may be of another study of this name.
        verb = "trained" if study.training else "fetched"
        found.say(study.model_key, f"{model.source}: {verb} by the workflow, and checked then", names)
        return
    elif not there:
        return
    elif inputs.words is None:
        tokens.model_shape(folder, model.depth)
        tokens.load_tokenizer(folder)
    else:
        seen = inputs.words[inputs.words["dropped"] == 0]
        with located(folder):
            inputs.tokens = tokens.tokenize(
                seen["word"].tolist(),
                seen["word_index"].to_numpy(),
                folder,
                model.context_tokens,
                model.depth,
                model.bos,
            )
    found.say(study.model_key, f"{model.source}, {model.depth} layer{'s' if model.depth > 1 else ''}", names)
    if inputs.tokens is not None:
        one = inputs.tokens
        head = f" behind {len(one.bos)} special" if len(one.bos) else ""
        read = f"windows of {one.context_tokens} tokens{head}; {len(one.ids)} tokens"
        found.say("", f"hidden size {one.hidden}; {read}, {one.represented.sum()} words represented")


def _local_checkpoints(study: Study, inputs: Inputs, found: Findings) -> None:
    model = study.model
    shapes: dict[architecture.Shape, str] = {}
    for step in model.steps:
        folder = Path(checkpoint_folder(model, step, study.model_results))
        if not folder.is_dir():
            continue
        with found.trying():
            names = [path.name for path in folder.iterdir()]
            weights = checkpoints.weight_files(names, model.weights)
            if not weights:
                kind = f"holds no weights of the kind model.weights: {model.weights}"
                raise InputError(f"{folder}: {kind} (it has {', '.join(sorted(names))}); correct one of the two")
            empty = [name for name in weights if not (folder / name).stat().st_size]
            if empty:
                raise InputError(f"{folder / empty[0]}: is empty; copy it again")
            inputs.weights = sum((folder / name).stat().st_size for name in weights)
            shapes.setdefault(tokens.model_shape(folder, model.depth), str(folder))
    if len(shapes) > 1:
        (one, first), (other, second), *_ = shapes.items()
        found.problems.append(
            f"{second}: the model has {_described(other)}, but that of {first} has {_described(one)}; checkpoints must "
            "have one shape"
        )


def _described(shape: architecture.Shape) -> str:
    return f"{shape.depth} layers of hidden size {shape.hidden} and a context of {shape.max_context}"


def _listed(names) -> str:
    return ", ".join(names) if len(names) < 10 else f"{', '.join(names[:3])} … {', '.join(names[-2:])}"


def _labels(study: Study, inputs: Inputs, found: Findings, made: str | None) -> None:
    chosen, words = study.properties, inputs.words
    if made:
        inputs.labels = read_table(made, ["word_index", "sentence", *chosen, *(f"{name}_raw" for name in chosen)])
    else:
        sentences = _parse(study, words)
        if sentences is None:
            chosen = {name: one for name, one in chosen.items() if one.random is not None or one.table is not None}
            if n := len(study.properties) - len(chosen):
                found.say("properties", f"{n} are read from the parse, and checked then")
        parts = []
        for name, one in chosen.items():
            # One by one, so that each has its problem.
            with found.trying():
                parts.append(properties.label_table(words, sentences or [], {name: one}, study.seed))
        inputs.labels = _side_by_side(parts)
        chosen = {name: one for name, one in chosen.items() if inputs.labels is not None and name in inputs.labels}
    if inputs.labels is None:
        return
    for name, one in chosen.items():
        counts = properties.count_classes(inputs.labels, {name: one})
        with found.trying():
            properties.check_classes(counts)
        used = counts[counts["distribution"] == "used"]
        listed = ", ".join(f"{value} {count}" for value, count in zip(used["value"], used["count"], strict=True))
        found.say("properties" if name == next(iter(chosen)) else "", f"{name}: {listed} {used['level'].iloc[0]}s")


def _side_by_side(parts: list):
    if not parts:
        return None
    first, *others = parts
    return (
        first.join([part[[column for column in part if column not in first]] for part in others]) if others else first
    )


def _parse(study: Study, words) -> list | None:
    """The story's parse, if there is one that fits; a parse of the user's own must fit."""
    own, made = study.annotation.file, Path(study.results, "annotation/story.conllu")
    if own is None and not made.is_file():
        return None
    seen = words[words["dropped"] == 0]
    story = {int(number): rows.tolist() for number, rows in seen.groupby("sentence")["word"]}
    if own is not None:
        return parser.match_story(conllu.read_sentences(own), story, own)
    try:
        return parser.match_story(conllu.read_sentences(made), story, str(made))
    except InputError:
        # Of an earlier story: the workflow parses anew.
        return None
