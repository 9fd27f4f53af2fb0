"""The configuration, written once: types, defaults, explanations, checks.

``python -m dynalign.config --write`` produces from this model ``config/config.yaml`` (the paper's study),
``workflow/schemas/config.schema.json`` and the table of keys in ``config/README.md``.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dynalign.cli import run
from dynalign.files import InputError, write_text

#: The subjects of the public Harry Potter data (METHOD section 2.1).
HARRY_POTTER_SUBJECTS = ("F", "H", "I", "J", "K", "L", "M", "N")

#: Raw values that `dynalign.properties` computes from a parsed sentence (METHOD section 3).
RAW_VALUES = (
    "sentence_length",
    "tree_depth",
    "top_constituents",
    "tense",
    "subject_number",
    "object_number",
    "pos",
    "smallest_constituent",
)


#: A class that holds less than this share of its sentences or words is reported, in the log and in figures 2 and 3.
RARE = 0.05

#: Dimensions of the baseline `controls` (METHOD section 8).
CONTROLS = ("word_rate", "length", "log_frequency", "position_in_sentence", "position_in_run")

#: Suites whose checkpoints are many and known: their training steps.
SUITES = {
    # Biderman et al. (2023), section 2.1: ten steps in the first thousand, then each thousandth.
    "pythia-all": (0, *(2**k for k in range(10)), *range(1000, 143_001, 1000)),
}


def powers_of_ten(first: int, last: int) -> tuple[float, ...]:
    """The values 10^first … 10^last, read from decimal text so that they are the nearest floats."""
    return tuple(float(f"1e{exponent}") for exponent in range(first, last + 1))


def _unique(values):
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"{value!r} stands twice")
    return values


def _rising(values):
    if list(values) != sorted(set(values)):
        raise ValueError(f"must rise, got {list(values)}")
    return values


def _filename(name: str) -> str:
    if not 0 < len(name) <= 64 or name[0] in ".-" or not all(c.isalnum() or c in "-_.+" for c in name):
        raise ValueError(
            f"{name!r} names files: use letters, digits, '-', '_', '.', '+', not beginning with '.' or '-', "
            "64 at most"
        )
    return name


def _path(path: str) -> str:
    # Snakemake reads braces as wildcards, commands a leading hyphen as an option. The rest is quoted.
    if not path or path[0] == "-" or not path.isprintable() or any(c in path for c in "{}"):
        raise ValueError(
            f"{path!r} is a path: it may not be empty, begin with '-', or hold braces or control characters"
        )
    return path


def _image_path(pattern: str) -> str:
    _path(pattern.replace("{subject}", "x").replace("{run}", "1").replace("{roi}", "x"))
    return pattern


def _revision_name(name: str) -> str:
    # It names a folder too: of the downloads, or inside a local model.
    parts = name.split("/")
    if not re.fullmatch(r"[\w+.=/-]+", name) or any(
        part in ("", ".", "..") or part[0] == "-" for part in parts
    ):
        raise ValueError(
            f"revision: {name!r} is no revision: use letters, digits, '-', '_', '.', '+', '=', '/', no part "
            "that is empty, '.' or '..' or begins with '-'"
        )
    return name


def _steps_of_suite(steps):
    """The steps that a suite's name stands for; anything else as it is."""
    if not isinstance(steps, str):
        return steps
    if steps not in SUITES:
        raise ValueError(f"no such suite; give a list of steps, or one of: {', '.join(SUITES)}")
    return SUITES[steps]


def _need_placeholders(section, **holders) -> None:
    """Refuse a path that lacks a placeholder which tells its files apart."""
    for key, needed in holders.items():
        value = getattr(section, key)
        for holder in needed:
            if value is not None and holder not in value:
                raise ValueError(f"{key}: {value!r} lacks {holder}")


#: The field of a pattern of revisions.
_STEP_FIELD = re.compile(r"\{step(:0?\d{0,2}d?)?\}")


Name = Annotated[str, AfterValidator(_filename)]
FilePath = Annotated[str, AfterValidator(_path)]
ImagePath = Annotated[str, AfterValidator(_image_path)]
Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Steps = Annotated[
    tuple[Natural, ...],
    Field(min_length=1),
    AfterValidator(_unique),
    BeforeValidator(_steps_of_suite, json_schema_input_type=tuple[Natural, ...] | Literal[tuple(SUITES)]),
]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Grid = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_rising)]


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Trim(Section):
    """TRs cut at both ends of a run."""

    start: Natural = Field(20, description="TRs cut off the front of each run")
    end: Natural = Field(15, description="TRs cut off the end of each run")


class Story(Section):
    """The stimulus: which word was seen or heard when."""

    layout: Literal["arrays", "table"] = Field(
        "arrays",
        description="`arrays`: a folder of .npy files as in the Harry Potter data; `table`: a words table "
        "(onset in s from the run's start, run, word; tab-separated) with NIfTI images",
    )
    folder: FilePath | None = Field(
        "resources/harry-potter", description="`arrays`: the folder of the .npy files"
    )
    download: Literal["harry-potter"] | None = Field(
        "harry-potter",
        description="public data that the workflow fetches into `folder`; null: use what is there",
    )
    words: FilePath | None = Field(None, description="`table`: the words table")
    tr: float | None = Field(
        None, gt=0, description="`table`: repetition time in s (arrays bring their own times)"
    )
    trs: tuple[Positive, ...] | None = Field(None, description="`table`: measurements of each run, untrimmed")
    trim: Trim = Field(
        Trim(), description="TRs cut at both ends of a run; rows already trimmed are recognised"
    )
    drop: tuple[str, ...] = Field(
        (), description="words that parser and model do not see (they keep their time, e.g. the cross '+')"
    )
    replace: dict[str, str] = Field(
        {}, description="text replaced inside words before parsing, e.g. {'@': ''}"
    )

    @model_validator(mode="after")
    def _complete(self):
        needed = ("folder",) if self.layout == "arrays" else ("words", "tr", "trs")
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"layout {self.layout!r} needs the key {key!r}")
        if self.layout == "table" and self.download:
            raise ValueError("download 'harry-potter' goes with layout 'arrays'; set download: null")
        return self


class Brain(Section):
    """The measured responses."""

    images: ImagePath | None = Field(
        None, description="layout `table`: 4-D NIfTI per run, a path with {subject} and {run} (1, 2, …)"
    )
    mask: ImagePath | None = Field(None, description="layout `table`: brain mask, a path with {subject}")
    detrend: Literal["none", "linear", "cosine"] = Field(
        "none",
        description="remove per run and voxel: a line, or all slower than `high_pass_s` (discrete cosines)",
    )
    high_pass_s: float = Field(128.0, gt=0, description="longest period in s that `cosine` keeps")
    standardize: bool = Field(False, description="z-score each voxel within each run after detrending")
    voxels: str | None = Field(
        None,
        description="layout `arrays`: keep only these voxels, a boolean .npy with one entry per voxel, a path "
        "with {subject} (images are cut by their mask)",
    )

    @model_validator(mode="after")
    def _placeholders(self):
        _need_placeholders(self, images=("{subject}", "{run}"), mask=("{subject}",), voxels=("{subject}",))
        return self


class Rois(Section):
    """Regions of interest: alignment and effects of removal are also given region by region."""

    arrays: ImagePath | None = Field(
        None,
        description="a boolean .npy per region, one entry per voxel (of the whole array, or of the mask in C "
        "order), a path with {subject} and {roi}; regions may overlap",
    )
    image: ImagePath | None = Field(
        None,
        description="layout `table`: a label image on the mask's grid (whole numbers, 0 = no region), a path "
        "that may hold {subject}",
    )
    labels: ImagePath | None = Field(
        None,
        description="names of the labels of `image`: a table (index, name), a path that may hold {subject}",
    )
    names: Annotated[tuple[Name, ...], AfterValidator(_unique)] = Field(
        (), description="regions in the order shown; `arrays` needs them, `image` gives all of `labels`"
    )

    @model_validator(mode="after")
    def _one_source(self):
        if (self.arrays is None) == (self.image is None):
            raise ValueError(
                f"needs exactly one of arrays, image; got {'none' if self.image is None else 'both'}"
            )
        _need_placeholders(self, arrays=("{subject}", "{roi}"))
        if self.arrays is not None and not self.names:
            raise ValueError("arrays: needs `names`, the regions that {roi} stands for")
        if (self.image is None) != (self.labels is None):
            raise ValueError("image and labels go together: the image holds numbers, the table their names")
        return self

    def files(self, subject: str) -> list[tuple[str, str]]:
        """Key and path of every file that describes a subject's regions."""
        if self.arrays is not None:
            return [("arrays", self.arrays.format(subject=subject, roi=name)) for name in self.names]
        return [(key, getattr(self, key).format(subject=subject)) for key in ("image", "labels")]


class NoiseCeiling(Section):
    """How well each subject can be predicted from the other subjects' responses (two or more)."""

    compute: bool = Field(False, description="compute it, and set alignment against it (r/ceiling)")
    threshold: float = Field(
        0.1, ge=0, lt=1, description="r/ceiling is taken over voxels whose ceiling (mean r) exceeds this"
    )


class Annotation(Section):
    """Parsing with stanza."""

    models: FilePath = Field("resources/stanza", description="folder of stanza models")
    download: bool = Field(True, description="fetch the models into that folder when they are not there")
    package: Name = Field("default", description="stanza package, as in its resources.json")
    processors: tuple[Name, ...] = Field(
        ("tokenize", "mwt", "pos", "lemma", "depparse", "constituency"), description="stanza processors"
    )
    file: FilePath | None = Field(
        None, description="a CoNLL-U file with `# constituency = (ROOT …)` comments, used instead of parsing"
    )


class Property(Section):
    """One linguistic property and how its raw values become classes (exactly one of the three ways)."""

    raw: Literal[RAW_VALUES] | None = Field(None, description="raw value; default: the property's own name")
    table: FilePath | None = Field(None, description="a table (word_index, label) instead of a raw value")
    thresholds: tuple[float, ...] | None = Field(
        None, description="numeric values: class 0 up to and including the first threshold, and so on"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="class k is the k-th value named here; every other value is one more class, 'other'"
    )
    random: int | None = Field(None, ge=2, description="a seeded random class per word, this many classes")
    codes: tuple[int, ...] | None = Field(
        None, description="integer codes of the classes; default 0, 1, 2, …"
    )

    @model_validator(mode="after")
    def _one_way(self):
        ways = [key for key in ("thresholds", "classes", "random") if getattr(self, key) is not None]
        if len(ways) != 1:
            raise ValueError(
                f"needs exactly one of thresholds, classes, random; got {', '.join(ways) or 'none'}"
            )
        if self.thresholds is not None and list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds must rise, got {list(self.thresholds)}")
        if self.classes is not None:
            _unique(self.classes)
        if self.random is not None and (self.raw or self.table):
            raise ValueError("random takes neither raw nor table")
        if self.codes is not None and len(set(self.codes)) != self.n_classes:
            raise ValueError(f"codes must name {self.n_classes} different integers, got {list(self.codes)}")
        return self

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        if self.random is not None:
            return self.random
        return len(self.thresholds if self.thresholds is not None else self.classes) + 1


def paper_properties() -> dict[str, Property]:
    """The nine properties of the paper with its classes (METHOD section 3)."""
    return {
        "sentence_length": Property(thresholds=(7, 16)),
        "tree_depth": Property(thresholds=(3,)),
        "top_constituents": Property(classes=("NP VP",)),
        "tense": Property(classes=("Past",)),
        "subject_number": Property(classes=("Sing",)),
        "object_number": Property(classes=("UNDEF",)),
        "pos": Property(classes=("VERB", "NOUN", "PRON", "ADP")),
        "smallest_constituent": Property(classes=("NP",)),
        "random_label": Property(random=2),
    }


class Model(Section):
    """The language model and the checkpoints of its training."""

    source: FilePath = Field(
        "EleutherAI/pythia-160m",
        description="hub id, a local folder, or `trained` (by the section `training`)",
    )
    revision: str | dict[Natural, str] = Field(
        "step{step}",
        description="a step's hub revision or sub-folder: a pattern with {step} (`checkpoint-{step}`; "
        "`step{step:06d}` pads with zeros), or each step's name, e.g. {20000: step20000-tokens84B}",
    )
    commits: dict[Natural | Literal["tokenizer"], Commit] = Field(
        {},
        description="commits fetched in place of what revisions point to now, by step, and of `tokenizer`",
    )
    weights: Literal["safetensors", "any", "pytorch"] = Field(
        "safetensors",
        description="files of weights: `safetensors`; `any`: pytorch_model.bin where there is no other; "
        "`pytorch`: pytorch_model.bin. The latter are pickles, read with torch's weights-only loader",
    )
    steps: Steps = Field(
        (0, 1000, 15000, 43000, 72000, 100000, 143000),
        description="training steps of the checkpoints, or `pythia-all`: the 154 that Pythia publishes",
    )
    depth: Positive = Field(
        12, description="transformer layers of the model; checked against its config.json"
    )
    layers: Annotated[tuple[Natural, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        (0, 2, 4, 6, 8, 10, 12), description="layers studied: 0 = embeddings … depth = last hidden state"
    )
    context_tokens: Annotated[int, Field(ge=2)] = Field(
        50, description="tokens that the model sees, up to the word"
    )
    batch_tokens: Positive | None = Field(
        None,
        description="tokens per forward pass (memory and speed); null: 1,500 on a CPU, as its caches hold, "
        "65,536 on a GPU; halved where memory does not suffice",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="numbers that the model computes with; the relative error of `bfloat16` is measured",
    )
    storage: Literal["float32", "float16"] = Field(
        "float32", description="numbers that representations are kept in; the error of `float16` is measured"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto`: a GPU if this machine has one"
    )

    @model_validator(mode="after")
    def _layers_exist(self):
        for layer in self.layers:
            if layer > self.depth:
                raise ValueError(f"layers: unknown layer {layer}; allowed are 0 to {self.depth} (depth)")
        return self

    @model_validator(mode="after")
    def _steps_have_revisions(self):
        if isinstance(self.revision, dict):
            for step in self.steps:
                if step not in self.revision:
                    raise ValueError(f"revision: names no revision for step {step}; add it, or drop the step")
        else:
            try:
                self.revision.format(step=0)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f"revision: {self.revision!r} is no pattern ({type(error).__name__}: {error}); the only "
                    "field is {step}"
                ) from None
            if any(c in _STEP_FIELD.sub("0", self.revision) for c in "{}"):
                raise ValueError(
                    f"revision: {self.revision!r}: the only field is {{step}}, or {{step:06d}} padded with zeros"
                )
        names = [_revision_name(self.revision_of(step)) for step in self.steps]
        for step, name in zip(self.steps, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(
                    f"revision: {name!r} would be the checkpoint of step {step} and of another one; a pattern "
                    "needs {step}, a map needs a name for each step"
                )
        for step in self.commits:
            if step != "tokenizer" and step not in self.steps:
                raise ValueError(f"commits: {step} is none of model.steps; allowed are these and `tokenizer`")
        return self

    def revision_of(self, step: int) -> str:
        """Hub revision or sub-folder of a step."""
        return self.revision[step] if isinstance(self.revision, dict) else self.revision.format(step=step)


class Training(Section):
    """Train a small GPT-NeoX with its own tokenizer inside the workflow, into results/<study>/model."""

    texts: tuple[FilePath, ...] = Field((), description="text files; none: text generated from `lexicon`")
    lexicon: FilePath = Field(
        "resources/demo/lexicon.yaml", description="grammar's lexicon for generated text"
    )
    characters: Positive = Field(600_000, description="characters of generated text")
    steps: Annotated[int, Field(ge=16)] = Field(
        512, description="training steps; saved are 0, 1, 2, 4, … and the last"
    )
    vocabulary: Positive = Field(2048, description="tokens of the byte-pair vocabulary")
    depth: Positive = Field(4, description="transformer layers")
    hidden: Positive = Field(96, description="hidden size")
    heads: Positive = Field(4, description="attention heads")
    batch: Positive = Field(16, description="sequences per step")
    sequence: Positive = Field(128, description="tokens per sequence")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate (linear warm-up, cosine decay)")

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps at which a checkpoint is saved: 0, the powers of two, the last."""
        powers = [2**k for k in range(self.steps.bit_length()) if 2**k < self.steps]
        return (0, *powers, self.steps)


class Simulation(Section):
    """Simulate subjects that read the story of `text`, into results/<study>/data (the embedded study)."""

    text: FilePath = Field("resources/demo/story.txt", description="story: runs separated by '---' lines")
    word_s: float = Field(0.5, gt=0, description="s per word")
    rest_s: tuple[float, float] = Field(
        (20.0, 10.0), description="rest before and after the words of a run, s"
    )
    paragraph_pause_s: float = Field(1.0, ge=0, description="pause between paragraphs, s")
    shape: tuple[Positive, Positive, Positive] = Field((10, 12, 8), description="voxels of the image grid")
    properties: tuple[str, str] = Field(
        ("tense", "sentence_length"), description="the two properties that drive voxels"
    )
    noise: float = Field(1.0, gt=0, description="standard deviation of the noise relative to the signal's")


class Removal(Section):
    """Removing a linguistic property from the representations (METHOD section 5)."""

    methods: Annotated[
        tuple[Literal["ridge", "leace"], ...], Field(min_length=1), AfterValidator(_unique)
    ] = Field(
        ("ridge",),
        description="`ridge`: the paper's; `leace`: exact linear erasure (concept-erasure package)",
    )
    coding: Literal["ordinal", "onehot"] = Field(
        "ordinal",
        description="`ridge`: labels as one column of integer codes (paper) or one column per class",
    )
    alphas: Grid = Field(powers_of_ten(-5, 5), description="`ridge`: penalties tried")
    folds: Annotated[int, Field(ge=2)] = Field(
        4, description="`ridge`: contiguous folds that choose the penalty"
    )


class Probing(Section):
    """Can a linear probe read the property, before and after removal? (METHOD section 6)"""

    folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous outer folds (never cut a sentence)")
    inner_folds: Annotated[int, Field(ge=2)] = Field(4, description="contiguous inner folds that choose C")
    C: Grid = Field(powers_of_ten(-3, 1), description="inverse l2 penalties tried")
    permutations: Annotated[int, Field(ge=10)] = Field(
        50, description="label permutations by sentence for the null interval"
    )
    permutation_C: float = Field(0.01, gt=0, description="C of the permutation fits")
    max_iter: Positive = Field(1000, description="iterations before a fit counts as not converged")


class Encoding(Section):
    """Predicting every voxel by ridge regression (METHOD section 7)."""

    delays: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        (1, 2, 3, 4, 5), description="delays in TRs: delay d pairs TR t with the words of TR t-d"
    )
    alphas: Grid = Field(powers_of_ten(-6, 10), description="penalties tried, chosen per voxel")
    folds: Annotated[int, Field(ge=2)] | Literal["runs"] = Field(
        5, description="contiguous outer folds, or `runs`"
    )
    inner_folds: Annotated[int, Field(ge=2)] = Field(
        10, description="contiguous inner folds that choose the penalty"
    )
    gap: Natural = Field(
        5, description="TRs left out of training on both sides of a test or validation block"
    )
    pca_components: Positive | None = Field(
        None, description="reduce word vectors to this many principal components, fitted on training words"
    )
    test_scaling: Literal["training", "own"] = Field(
        "training",
        description="statistics that standardise test rows: the training rows' (correct) or their own",
    )
    block_voxels: Positive = Field(
        4096,
        description="voxels solved at a time on each of a GPU's streams (memory, not results); a CPU thread "
        "takes 1024",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto`: a GPU if this machine has one, in float32"
    )
    tf32: bool = Field(
        False, description="round products on a GPU to TF32; the log tells how far that moves r"
    )


class Statistics(Section):
    """Tests and intervals (METHOD section 8)."""

    alpha: float = Field(0.05, gt=0, lt=1, description="level of the tests")
    block: Positive = Field(
        20,
        description="TRs in a block of the calibrated test; longer than the autocorrelation of the responses",
    )
    paper_test: Literal["paired", "independent"] = Field(
        "paired", description="the paper's t-test over voxels; computed, never the headline"
    )


class Figures(Section):
    """How figures look."""

    properties: tuple[str, ...] = Field(
        ("random_label", "tree_depth", "tense", "smallest_constituent"),
        description="properties shown in figures 6, 7 and 8",
    )
    steps: tuple[Natural, ...] = Field((1000, 43000, 143000), description="steps shown in figures 6, 7 and 8")
    step_axis: Literal["categorical", "log"] = Field("categorical", description="axis of training steps")
    reference: bool = Field(False, description="draw the paper's published values as a faint reference")


class Threads(Section):
    """CPU threads per job; results do not depend on them beyond rounding."""

    representation: Positive = Field(4, description="threads of a representation job")
    encoding: Positive = Field(4, description="threads of an encoding job")
    training: Positive = Field(2, description="threads of the training job")


class Study(Section):
    """A whole study."""

    study: Name = Field("paper", description="name of the study; results go to results/<study>")
    seed: Natural = Field(0, description="seed of everything random")
    subjects: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        ("F", "M", "H"), description="fMRI subjects"
    )
    story: Story = Field(Story(), description="the stimulus")
    brain: Brain = Field(Brain(), description="the responses")
    annotation: Annotation = Field(Annotation(), description="parsing")
    properties: Annotated[dict[Name, Property], Field(min_length=1)] = Field(
        default_factory=paper_properties, description="linguistic properties, each with its classes"
    )
    model: Model = Field(Model(), description="the language model")
    baselines: Annotated[
        tuple[Literal["random", "random_types", "controls"], ...], AfterValidator(_unique)
    ] = Field(
        ("random",),
        description="baselines beside the checkpoints: `random`, a seeded normal tensor; `random_types`, one "
        "normal vector per word type; `controls`, word rate, length, log frequency, position in sentence and "
        "in run (no layers: it stands as layer 0)",
    )
    removal: Removal = Field(Removal(), description="removal of properties")
    probing: Probing = Field(Probing(), description="probing")
    encoding: Encoding = Field(Encoding(), description="encoding models")
    statistics: Statistics = Field(Statistics(), description="statistics")
    rois: Rois | None = Field(None, description="regions of interest: alignment and effects in each")
    noise_ceiling: NoiseCeiling = Field(NoiseCeiling(), description="intersubject noise ceiling")
    figures: Figures = Field(Figures(), description="figures")
    threads: Threads = Field(Threads(), description="CPU threads per job")
    training: Training | None = Field(
        None, description="train the model inside the workflow (see config/demo.yaml)"
    )
    simulation: Simulation | None = Field(None, description="simulate the subjects (see config/demo.yaml)")

    @model_validator(mode="after")
    def _fits_together(self):
        trained = self.model.source == "trained"
        if trained != (self.training is not None):
            raise ValueError("model.source: 'trained' and the section `training` go together")
        if self.training is not None:
            if self.training.depth != self.model.depth:
                raise ValueError(
                    f"model.depth is {self.model.depth}, but training.depth {self.training.depth}"
                )
            for step in self.model.steps:
                if step not in self.training.saved_steps:
                    raise ValueError(
                        f"model.steps: training saves no step {step}; it saves {list(self.training.saved_steps)}"
                    )
        if self.simulation is not None:
            if self.story.layout != "table" or not (self.brain.images and self.brain.mask):
                raise ValueError(
                    "simulation: needs story.layout 'table', brain.images and brain.mask (see demo.yaml)"
                )
            written = {
                "story.words": self.story.words,
                "brain.images": self.brain.images,
                "brain.mask": self.brain.mask,
            }
            if self.rois is not None and self.rois.image is not None:
                written |= {"rois.image": self.rois.image, "rois.labels": self.rois.labels}
            for key, path in written.items():
                if not path.startswith(f"results/{self.study}/") or ".." in path.split("/"):
                    raise ValueError(
                        f"simulation: writes {key}, which must be in results/{self.study}/, not {path!r}"
                    )
            if self.training is None:
                raise ValueError("simulation: needs the section `training` (its text drives voxels)")
            if self.rois is not None and self.rois.image is not None:
                _need_placeholders(self.rois, image=("{subject}",), labels=("{subject}",))
            for name in self.simulation.properties:
                if name not in self.properties:
                    raise ValueError(
                        f"simulation.properties: unknown {name!r}; allowed: {', '.join(self.properties)}"
                    )
        elif self.story.layout == "table" and not (self.brain.images and self.brain.mask):
            raise ValueError("story.layout 'table' needs brain.images and brain.mask")
        if self.story.layout == "table" and self.brain.voxels is not None:
            raise ValueError(
                "brain.voxels: goes with layout 'arrays'; brain.mask chooses the voxels of images"
            )
        if self.story.layout == "arrays" and self.rois is not None and self.rois.image is not None:
            raise ValueError("rois.image: arrays have no coordinates; give rois.arrays and rois.names")
        if self.noise_ceiling.compute and len(self.subjects) < 2:
            raise ValueError(
                "noise_ceiling.compute: predicts each subject from the others and needs two subjects or more; "
                f"subjects has one ({self.subjects[0]})"
            )
        for name, entry in self.properties.items():
            if entry.random is None and entry.table is None and (entry.raw or name) not in RAW_VALUES:
                raise ValueError(
                    f"properties.{name}: no raw value has that name; give `raw` (one of {', '.join(RAW_VALUES)}), "
                    "`table` or `random`"
                )
        components = self.encoding.pca_components or 0
        if "controls" in self.baselines and components > len(CONTROLS):
            raise ValueError(
                f"baselines: `controls` has {len(CONTROLS)} dimensions, encoding.pca_components asks for "
                f"{components}; drop one of the two"
            )
        if "original" in self.properties:
            raise ValueError("properties: 'original' names the representation without removal")
        for name in self.figures.properties:
            if name not in self.properties:
                raise ValueError(
                    f"figures.properties: unknown {name!r}; allowed: {', '.join(self.properties)}"
                )
        return self

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names of all checkpoints and baselines, in order: step-0, …, random."""
        return (*(f"step-{step}" for step in self.model.steps), *self.baselines)

    def layers_of(self, checkpoint: str) -> tuple[int, ...]:
        """Layers studied of a checkpoint or baseline; `controls` has no layers and stands as layer 0."""
        return (0,) if checkpoint == "controls" else self.model.layers

    @property
    def arms(self) -> tuple[tuple[str, str], ...]:
        """Encoding arms (removal, property): the original first, then method × property."""
        return (
            ("none", "original"),
            *((method, name) for method in self.removal.methods for name in self.properties),
        )


def load(values: dict) -> Study:
    """Check a configuration.

    Parameters
    ----------
    values : dict
        As read from YAML.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        Naming every wrong key, its value and what is allowed.
    """
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise InputError("the configuration cannot be used:\n  " + "\n  ".join(lines)) from None


def _explain(problem: dict) -> str:
    """One line for one validation error: key, value, what is allowed."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        section = _section_at(problem["loc"][:-1])
        allowed = list(section.model_fields) if section else []
        close = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{key}: unknown key (value {problem['input']!r}){hint} allowed here: {', '.join(allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    if isinstance(problem["input"], dict) or len(shown) > 120:
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (got {shown})"


def _section_at(location: tuple) -> type[Section] | None:
    """The section that a validation error's location leads to."""
    section: type[Section] | None = Study
    for part in location:
        if section is Study and part == "properties":
            section = None
        elif section is None:
            section = Property
        elif part in section.model_fields:
            section = _section_of(section.model_fields[part].annotation)
    return section


def _section_of(annotation) -> type[Section] | None:
    """The section in a field's type, also where the field may be null."""
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def check_files(study: Study, root: str | Path = ".") -> None:
    """Check that every file that the configuration names is there, unless the workflow makes it.

    Parameters
    ----------
    study : Study
    root : path-like
        Folder that relative paths start from.

    Raises
    ------
    InputError
        Naming the key, the missing file and what is allowed.
    """
    root = Path(root)

    def need(key: str, path: str, hint: str = "") -> None:
        if not (root / path).exists():
            raise InputError(f"{key}: no such file {path}{hint}")

    story = study.story
    if story.layout == "arrays" and story.download is None:
        folder = root / story.folder
        need("story.folder", story.folder)
        for name in ("words_fmri", "time_words_fmri", "time_fmri", "runs_fmri"):
            need("story.folder", f"{story.folder}/{name}.npy")
        there = sorted(path.stem.removeprefix("data_subject_") for path in folder.glob("data_subject_*.npy"))
        for subject in study.subjects:
            if subject not in there:
                raise InputError(
                    f"subjects: {subject!r} has no file {story.folder}/data_subject_{subject}.npy; "
                    f"there are: {', '.join(there) or 'none'}"
                )
    elif story.layout == "arrays":
        for subject in study.subjects:
            if subject not in HARRY_POTTER_SUBJECTS:
                raise InputError(
                    f"subjects: unknown {subject!r}; the Harry Potter data has {', '.join(HARRY_POTTER_SUBJECTS)}"
                )
    elif study.simulation is None:
        need("story.words", story.words)
        for subject in study.subjects:
            need("brain.mask", study.brain.mask.format(subject=subject), f" (subject {subject!r})")
            for number in range(1, len(story.trs) + 1):
                path = study.brain.images.format(subject=subject, run=number)
                need("brain.images", path, f" (subject {subject!r}, run {number})")
    else:
        need("simulation.text", study.simulation.text)

    if study.brain.voxels is not None:
        for subject in study.subjects:
            path = study.brain.voxels.format(subject=subject)
            need("brain.voxels", path, f" (subject {subject!r})")
    # The embedded study makes its own label image.
    if study.rois is not None and (study.simulation is None or study.rois.image is None):
        for subject in study.subjects:
            for key, path in study.rois.files(subject):
                need(f"rois.{key}", path, f" (subject {subject!r})")

    if study.annotation.file is not None:
        need("annotation.file", study.annotation.file)
    elif not study.annotation.download:
        need(
            "annotation.models",
            f"{study.annotation.models}/resources.json",
            "; or set annotation.download: true",
        )
    for name, entry in study.properties.items():
        if entry.table is not None:
            need(f"properties.{name}.table", entry.table)
    if study.training is not None:
        for path in study.training.texts or (study.training.lexicon,):
            need("training", path)
    elif is_local(study.model.source, root):
        for step in study.model.steps:
            need("model", f"{study.model.source}/{study.model.revision_of(step)}/config.json")


def is_local(source: str, root: str | Path = ".") -> bool:
    """Whether a model source is a folder rather than a hub id."""
    return source.startswith((".", "/", "~")) or (Path(root) / source).is_dir()


def hub_folder(source: str) -> str:
    """Folder that a hub model's checkpoints are fetched into; studies share it."""
    return f"resources/models/{source.replace('/', '--')}"


def default_yaml(values: dict | None = None) -> str:
    """The configuration as YAML, every key with its explanation.

    Parameters
    ----------
    values : dict, optional
        A configuration; default: the paper's study.
    """
    study = Study() if values is None else load(values)
    lines = [
        "# The paper's study. Written by `python -m dynalign.config --write` from workflow/dynalign/config.py,",
        "# where types and checks stand; every key is explained in config/README.md. Change what you need; keys",
        "# left out take the values below.",
        "# yaml-language-server: $schema=../workflow/schemas/config.schema.json",
        "",
    ]
    lines += _yaml_lines(study, indent=0)
    return "\n".join(lines) + "\n"


def _flow(value) -> str:
    """A value on one line of YAML."""
    import yaml

    if isinstance(value, BaseModel):
        value = {key: item for key, item in value.model_dump(mode="json").items() if item is not None}
    if isinstance(value, tuple):
        value = list(value)
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
        .removesuffix("\n...\n")
        .strip()
    )


def _yaml_lines(section: BaseModel, indent: int) -> list[str]:
    pad = "  " * indent
    lines = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if indent == 0 and lines:
            lines.append("")
        lines.append(f"{pad}# {field.description}")
        if isinstance(value, Section) and not isinstance(value, Trim):
            lines += [f"{pad}{key}:", *_yaml_lines(value, indent + 1)]
        elif key == "properties" and isinstance(value, dict):
            lines += [f"{pad}{key}:", *(f"{pad}  {name}: {_flow(entry)}" for name, entry in value.items())]
        else:
            lines.append(f"{pad}{key}: {_flow(value)}")
    return lines


def json_schema() -> str:
    """JSON schema of the configuration, for editors."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def keys_table() -> str:
    """Markdown tables of every key, its default and its explanation."""
    parts = []

    def table(title: str, section: type[Section], prefix: str) -> None:
        rows = ["| key | default | meaning |", "|---|---|---|"]
        for key, field in section.model_fields.items():
            inner = _section_of(field.annotation)
            if inner is not None and inner is not Trim:
                continue
            default = field.get_default(call_default_factory=True)
            # The nine properties would fill the page: config.yaml shows them.
            paper = key == "properties" and section is Study
            shown = "the paper's nine, as in config.yaml" if paper else f"`{_flow(default)}`"
            rows.append(f"| `{prefix}{key}` | {shown} | {field.description} |".replace("\n", " "))
        parts.append(f"### {title}\n\n{(section.__doc__ or '').strip()}\n\n" + "\n".join(rows))

    table("Top level", Study, "")
    for key, field in Study.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            table(f"`{key}`", inner, f"{key}.")
    table("`properties.<name>`", Property, "properties.<name>.")
    return "\n\n".join(parts) + "\n"


#: Where the table of keys stands in config/README.md.
_MARKS = ("<!-- keys: begin (written by python -m dynalign.config --write) -->", "<!-- keys: end -->")


def generated_files(root: str | Path = ".") -> dict[Path, str]:
    """Files that this model produces, with their content."""
    root = Path(root)
    readme = root / "config/README.md"
    text = readme.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in _MARKS):
        raise InputError(f"{readme}: must hold the two lines {_MARKS[0]!r} and {_MARKS[1]!r} once")
    before, after = text.split(_MARKS[0])[0], text.split(_MARKS[1])[1]
    return {
        root / "config/config.yaml": default_yaml(),
        root / "workflow/schemas/config.schema.json": json_schema(),
        readme: f"{before}{_MARKS[0]}\n\n{keys_table()}\n{_MARKS[1]}{after}",
    }


def main(argv: list[str] | None = None) -> None:
    """Command: check a configuration file, or write the files that this model produces."""
    parser = argparse.ArgumentParser(prog="dynalign.config", description=main.__doc__)
    parser.add_argument("--check", metavar="FILE", help="check a configuration file")
    parser.add_argument(
        "--write", action="store_true", help="write config.yaml, the schema and the table of keys"
    )
    args = parser.parse_args(argv)
    if args.write:
        for path, text in generated_files().items():
            write_text(path, text)
    if args.check:
        import yaml

        try:
            values = yaml.safe_load(Path(args.check).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{args.check}: not YAML: {' '.join(str(error).split())}") from None
        study = load(values)
        check_files(study)
        print(
            f"{args.check}: study {study.study!r}, {len(study.checkpoints)} checkpoints, {len(study.subjects)} subjects"
        )


if __name__ == "__main__":
    run(main)
