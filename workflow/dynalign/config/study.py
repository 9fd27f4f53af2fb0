"""A whole study: all sections, and how they fit together."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from dynalign.config.brain import Brain, Rois
from dynalign.config.embedded import Simulation, Training
from dynalign.config.encoding import Encoding
from dynalign.config.features import BASELINES, BUILT_IN, CONTROLS, Feature, check_known, check_names
from dynalign.config.fields import FilePath, Name, Natural, Positive, Section, need_placeholders, unique
from dynalign.config.figures import Figures
from dynalign.config.model import Model
from dynalign.config.properties import RAW_VALUES, Property, paper_properties
from dynalign.config.removal import Probing, Removal
from dynalign.config.shares import NUISANCE, Shares, check_ratios
from dynalign.config.statistics import NoiseCeiling, Statistics
from dynalign.config.story import Annotation, Story
from dynalign.io.errors import InputError


class Threads(Section):
    """CPU threads per job; results do not depend on them beyond rounding."""

    representation: Positive = Field(4, description="threads of a representation job")
    encoding: Positive = Field(4, description="threads of an encoding job")
    training: Positive = Field(2, description="threads of the training job")


class Study(Section):
    """A whole study."""

    study: Name = Field("paper", description="name of the study; results go to results/<study>")
    seed: Natural = Field(0, description="seed of everything random")
    subjects: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        ("F", "M", "H"), description="fMRI subjects"
    )
    story: Story = Field(Story(), description="the stimulus")
    brain: Brain = Field(Brain(), description="the responses")
    recordings: FilePath | None = Field(
        None,
        description="layout `recordings`: a table with a row per run of each subject: subject, run (1, 2, …), story, "
        "images, perhaps start (s of the story at which the run's first TR starts; default 0), repeat (1, 2, … of a "
        "stretch heard again), tr (s), mask, confounds (a table)",
    )
    annotation: Annotation = Field(Annotation(), description="parsing")
    properties: Annotated[dict[Name, Property], Field(min_length=1)] = Field(
        default_factory=paper_properties, description="linguistic properties, each with its classes"
    )
    model: Model = Field(Model(), description="the language model")
    models: dict[Name, Model] = Field(
        {},
        description="several models (training runs) in place of one: names, each with the keys of `model` that "
        "differ; `model` holds what they share. Each has its results in results/<study>/models/<name>",
    )
    baselines: Annotated[tuple[Name, ...], AfterValidator(unique)] = Field(
        ("random",),
        description="baselines beside the checkpoints: `random`, a seeded normal tensor; `random_types`, one "
        "normal vector per word type; `controls`, word rate, length, log frequency, position in sentence and "
        "in run (with a table of recordings: in the story); names of `features` (these and `controls` have no "
        "layers and stand as layer 0)",
    )
    features: dict[Name, Feature] = Field({}, description="nuisance features of your own")
    removal: Removal = Field(Removal(), description="removal of properties")
    shares: Shares = Field(Shares(), description="shares of variance")
    probing: Probing = Field(Probing(), description="probing")
    encoding: Encoding = Field(Encoding(), description="encoding models")
    statistics: Statistics = Field(Statistics(), description="statistics")
    rois: Rois | None = Field(None, description="regions of interest: alignment and effects in each")
    competence: FilePath | None = Field(
        None,
        description="scores of the checkpoints on tasks, set beside alignment: a table of step, task, score and, of "
        "several models, model (the source or its last part); `python -m dynalign.models.competence` makes it of "
        "Pythia's published evaluations",
    )
    noise_ceiling: NoiseCeiling = Field(NoiseCeiling(), description="intersubject noise ceiling")
    figures: Figures = Field(Figures(), description="figures")
    threads: Threads = Field(Threads(), description="CPU threads per job")
    training: Training | None = Field(None, description="train the model inside the workflow (see config/demo.yaml)")
    simulation: Simulation | None = Field(None, description="simulate the subjects (see config/demo.yaml)")

    @model_validator(mode="before")
    @classmethod
    def _fill_models(cls, values):
        """Complete each of `models` from `model`, which is then the first of them."""
        models = values.get("models") if isinstance(values, dict) else None
        shared = values.get("model", {}) if models else None
        if not (isinstance(models, dict) and isinstance(shared, dict)):
            return values
        filled = {name: shared | one if isinstance(one, dict) else one for name, one in models.items()}
        return values | {"models": filled, "model": next(iter(filled.values()))}

    @model_validator(mode="after")
    def _fits_together(self):
        story, brain, training = self.story, self.brain, self.training
        labelled = self.rois is not None and self.rois.image is not None
        allowed = f"allowed: {', '.join(self.properties)}"
        for one in self.by_model:
            self._trained(one.model_key, one.model)
        seeded = [
            (name, one.model_copy(update={"seed": self.of(name).training_seed})) for name, one in self.models.items()
        ]
        for number, (name, one) in enumerate(seeded):
            if twins := [other for other, before in seeded[:number] if before == one]:
                raise ValueError(f"models: {name!r} is the same as {twins[0]!r}; give a key that differs, or drop one")
        if self.simulation is not None:
            if story.layout != "table" or not (brain.images and brain.mask):
                raise ValueError("simulation: needs story.layout 'table', brain.images and brain.mask (see demo.yaml)")
            if brain.kind != "nifti":
                raise ValueError(f"simulation: simulates NIfTI volumes; brain.images is {brain.images!r}")
            written = {"story.words": story.words, "brain.images": brain.images, "brain.mask": brain.mask}
            if labelled:
                written |= {"rois.image": self.rois.image, "rois.labels": self.rois.labels}
            for key, path in written.items():
                if not path.startswith(f"results/{self.study}/") or ".." in path.split("/"):
                    raise ValueError(f"simulation: writes {key}, which must be in results/{self.study}/, not {path!r}")
            if training is None:
                raise ValueError("simulation: needs the section `training` (its text drives voxels)")
            need_placeholders(brain, "brain.", mask=("subject",))
            if "{" in story.words:
                raise ValueError(
                    f"simulation: writes one table of words, so story.words takes no {{run}}: {story.words!r}"
                )
            if labelled:
                need_placeholders(self.rois, "rois.", image=("subject",), labels=("subject",))
            driving = filter(None, (*self.simulation.properties, self.simulation.brain_only))
            if unknown := [name for name in driving if name not in self.properties]:
                raise ValueError(f"simulation: unknown property {unknown[0]!r}; {allowed}")
        elif story.layout == "table" and not (brain.images and (brain.mask or brain.kind != "nifti")):
            raise ValueError("story.layout 'table' needs brain.images and, for NIfTI images, brain.mask")
        if (story.layout == "recordings") != (self.recordings is not None):
            raise ValueError("story.layout 'recordings' and the table `recordings` go together")
        if self.recordings is not None:
            self._recorded()
        elif self.encoding.folds == "stories":
            raise ValueError(
                "encoding.folds: 'stories' goes with a table of recordings, which names them; say 'runs', or a number"
            )
        if story.layout == "table" and len(story.trs) > 1:
            need_placeholders(brain, "brain.", images=("run",))
            if brain.confounds is not None:
                need_placeholders(brain.confounds, "brain.confounds.", files=("run",))
        if story.layout == "table" and brain.confounds is not None and brain.confounds.files is None:
            raise ValueError("brain.confounds.files: layout 'table' needs the path of each run's table")
        if self.recordings is None and brain.confounds is not None and "scrub" in brain.confounds.strategy:
            raise ValueError(
                "brain.confounds.strategy: `scrub` leaves volumes of one subject out, which goes with a table of "
                "recordings, where each has TRs of its own; give one (layout 'recordings'), or leave `scrub` out"
            )
        if story.layout == "arrays" and brain.mesh is not None:
            raise ValueError("brain.mesh: goes with images on surfaces (GIFTI, CIFTI), not with layout 'arrays'")
        if story.layout == "arrays" and brain.confounds is not None:
            raise ValueError(
                "brain.confounds: goes with layout 'table'; clean arrays before, or give them as `features`"
            )
        if story.layout == "table" and brain.voxels is not None:
            raise ValueError("brain.voxels: goes with layout 'arrays'; brain.mask chooses the voxels of images")
        # Of what kind recorded images are, their table says.
        if labelled and (story.layout == "arrays" or (brain.images is not None and brain.kind != "nifti")):
            raise ValueError("rois.image: goes with NIfTI images; give rois.arrays and rois.names")
        # With a table of recordings, a subject may have repeats instead of others.
        if self.noise_ceiling.compute and len(self.subjects) < 2 and self.recordings is None:
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
        for name, meaning in (("original", "the representation without removal"), (NUISANCE, "nuisance features")):
            if name in self.properties:
                raise ValueError(f"properties: {name!r} names {meaning}")
        if unknown := [name for name in self.figures.properties if name not in self.properties]:
            raise ValueError(f"figures.properties: unknown {', '.join(map(repr, unknown))}; {allowed}")
        return self

    def _trained(self, key: str, model: Model) -> None:
        """Whether a model goes with the section `training`."""
        training = self.training
        if (model.source == "trained") != (training is not None):
            raise ValueError(f"{key}.source: 'trained' and the section `training` go together")
        if training is None:
            if model.seed is not None:
                raise ValueError(f"{key}.seed: seeds the section `training`, which this study has not; leave it out")
            return
        if training.depth != model.depth:
            raise ValueError(f"{key}.depth is {model.depth}, but training.depth {training.depth}")
        if absent := [step for step in model.steps if step not in training.saved_steps]:
            saved = list(training.saved_steps)
            raise ValueError(f"{key}.steps: training saves no step {absent[0]}; it saves {saved}")

    def _recorded(self) -> None:
        """What does not go with runs of each subject's own."""
        for key in ("images", "mask", "voxels"):
            if getattr(self.brain, key) is not None:
                raise ValueError(f"brain.{key}: not read with a table of recordings; leave the key out")
        if self.brain.confounds is not None and self.brain.confounds.files is not None:
            raise ValueError(
                "brain.confounds.files: not read with a table of recordings, whose column `confounds` names the tables"
            )

    @model_validator(mode="after")
    def _features_fit(self):
        check_names(self.features, self.properties)
        check_known("baselines", self.baselines, BASELINES, self.features)
        check_known("shares.nuisance", self.shares.nuisance, BUILT_IN, self.features)
        if self.shares.compute:
            check_ratios(self.shares.ratios, self.encoding.alphas)
        components = self.encoding.pca_components or 0
        # How many columns a table has is known where they are chosen; else the encoding says so.
        sizes = {"controls": len(CONTROLS)} | {
            name: len(one.columns) for name, one in self.features.items() if one.columns
        }
        for name in self.baselines:
            if sizes.get(name, components) < components:
                raise ValueError(
                    f"baselines: `{name}` has {sizes[name]} dimensions, encoding.pca_components asks for {components}; "
                    "drop one of the two"
                )
        return self

    @property
    def results(self) -> str:
        """Root of the study's results: the one place for this path."""
        return f"results/{self.study}"

    @property
    def model_key(self) -> str:
        """Where the configuration has the model, of several the first: ``model`` or ``models.<name>``."""
        return ".".join(["models", *self.models][:2]) if self.models else "model"

    @property
    def model_results(self) -> str:
        """Root of what belongs to the model, of several the first: `results`, or a folder for each of `models`."""
        return f"{self.results}/{self.model_key.replace('.', '/', 1)}" if self.models else self.results

    @property
    def training_seed(self) -> int:
        """Seed of the model's training."""
        return self.seed if self.model.seed is None else self.model.seed

    @cached_property
    def _alone(self) -> dict[str, "Study"]:
        return {
            name: self.model_copy(update={"model": model, "models": {name: model}})
            for name, model in self.models.items()
        }

    def of(self, name: str) -> "Study":
        """The study with one of its `models` alone; with an empty name, where it has no `models`, the study itself."""
        return self._alone[name] if name else self

    @property
    def by_model(self) -> tuple["Study", ...]:
        """The study with each of its models alone."""
        return tuple(self._alone.values()) or (self,)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Names of all checkpoints and baselines, in order: step-0, …, random."""
        return (*(f"step-{step}" for step in self.model.steps), *self.baselines)

    def layers_of(self, checkpoint: str) -> tuple[int, ...]:
        """Layers studied of a checkpoint or baseline; `controls` and own features have none and stand as layer 0."""
        return (0,) if checkpoint in ("controls", *self.features) else self.model.layers

    @property
    def shared_with(self) -> tuple[str, ...]:
        """What shares of variance are computed for: the properties, and ``nuisance`` if there is any."""
        nuisance = (NUISANCE,) if self.shares.nuisance else ()
        return (*self.properties, *nuisance) if self.shares.compute else ()

    @property
    def arms(self) -> tuple[tuple[str, str], ...]:
        """Encoding arms (removal, property): the original first, then removal × property."""
        return (("none", "original"), *((removal, name) for removal in self.removal.arms for name in self.properties))


def load(values: dict) -> Study:
    """Check a configuration, a dictionary as read from YAML; an `InputError` names every wrong key and its value."""
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(map(_explain, _located(error.errors(), values)))
        raise InputError("\n  ".join(["the configuration cannot be used:", *problems])) from None


def _located(problems: Sequence, values: Mapping) -> list[dict]:
    """Problems of `models` where they stand in the configuration: in `model`, unless one of `models` has the key."""
    models = values.get("models")
    if not (isinstance(models, Mapping) and models):
        return list(problems)
    shared = values.get("model", {})
    found = []
    for problem in problems:
        first, *rest = problem["loc"] or ("",)
        if first == "models" and len(rest) > 1 and rest[1] in shared and rest[1] not in models[rest[0]]:
            found.append({**problem, "loc": ("model", *rest[1:])})
        # `model` stands for the first of them, whose problems are told.
        elif first != "model" or not isinstance(shared, Mapping):
            found.append(dict(problem))
    return found


def _explain(problem: Mapping) -> str:
    """One line for one validation error: key, value, what is allowed."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        section: type[Section] = Study
        for part in problem["loc"][:-1]:
            # The name of a property is no field.
            if part in section.model_fields:
                section = section_of(section.model_fields[part].annotation)
        allowed = list(section.model_fields)
        close = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{key}: unknown key (value {problem['input']!r}){hint} allowed here: {', '.join(allowed)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    got = "" if isinstance(problem["input"], dict) or len(shown) > 120 else f" (got {shown})"
    return f"{key}: {message}{got}" if key else message


def section_of(annotation) -> type[Section] | None:
    """The section in a field's type, also where the field may be null or holds several."""
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
