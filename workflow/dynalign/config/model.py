"""The section `model`: a language model and the checkpoints of its training."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dynalign.config.fields import FilePath, Natural, Positive, Section, unique
from dynalign.config.suites import suite_of, suites


def _revision_name(name: str) -> str:
    # It names a folder too: of the downloads, or inside a local model.
    parts = name.split("/")
    if not re.fullmatch(r"[\w+.=/-]+", name) or any(part in ("", ".", "..") or part[0] == "-" for part in parts):
        raise ValueError(
            f"revision: {name!r} is no revision: use letters, digits, '-', '_', '.', '+', '=', '/', no part "
            "that is empty, '.' or '..' or begins with '-'"
        )
    return name


def _published_steps(steps):
    """The steps that `pythia-all` stands for; anything else as it is."""
    if isinstance(steps, str) and steps != "pythia-all":
        raise ValueError("no such suite; give a list of steps, or one of: all, pythia-all")
    return suites()["pythia-160m"].steps if isinstance(steps, str) else steps


Steps = Annotated[
    tuple[Natural, ...],
    Field(min_length=1),
    AfterValidator(unique),
    BeforeValidator(_published_steps, json_schema_input_type=tuple[Natural, ...] | Literal["all", "pythia-all"]),
]

#: Whether windows begin with the special token that a tokenizer puts first.
Bos = Literal["auto", "always", "never"]

Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


class Model(Section):
    """The language model and the checkpoints of its training."""

    source: FilePath = Field(
        "EleutherAI/pythia-160m",
        description="hub id, a local folder, `trained` (by the section `training`), or the name of a suite, e.g. "
        "`pythia-70m-seed3`, which sets `source`, `revision` and `depth`, and `layers` to every second one",
    )
    revision: str | dict[Natural, str] = Field(
        "step{step}",
        description="a step's hub revision or sub-folder: a pattern with {step} (`checkpoint-{step}`; "
        "`step{step:06d}` pads with zeros), or each step's name, e.g. {20000: step20000-tokens84B}",
    )
    commits: dict[Natural | Literal["tokenizer"], Commit] = Field(
        {}, description="commits fetched in place of what revisions point to now, by step, and of `tokenizer`"
    )
    weights: Literal["safetensors", "any", "pytorch"] = Field(
        "safetensors",
        description="files of weights: `safetensors`; `any`: pytorch_model.bin where there is no other; "
        "`pytorch`: pytorch_model.bin. The latter are pickles, read with torch's weights-only loader",
    )
    steps: Steps = Field(
        (0, 1000, 15000, 43000, 72000, 100000, 143000),
        description="training steps of the checkpoints; `all`: those that the suite of `source` publishes; "
        "`pythia-all`: the 154 that Pythia publishes",
    )
    depth: Positive = Field(12, description="transformer layers of the model; checked against its config.json")
    layers: Annotated[tuple[Natural, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        (0, 2, 4, 6, 8, 10, 12), description="layers studied: 0 = embeddings … depth = last hidden state"
    )
    context_tokens: Annotated[int, Field(ge=2)] = Field(50, description="tokens that the model sees, up to the word")
    bos: Bos = Field(
        "auto",
        description="a special token (BOS) before them, not counted among them: `auto`, if the tokenizer puts one "
        "first (Gemma, Llama); `always`, also if a converted tokenizer has lost that; `never`",
    )
    batch_tokens: Positive | None = Field(
        None,
        description="tokens per forward pass (memory and speed); null: 1,500 on a CPU, as its caches hold, "
        "65,536 on a GPU; halved where memory does not suffice",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="numbers that the model computes with; the relative error of `bfloat16` is measured"
    )
    storage: Literal["float32", "float16"] = Field(
        "float32", description="numbers that representations are kept in; the error of `float16` is measured"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: a GPU if this machine has one")
    seed: Natural | None = Field(
        None, description="`trained`: seed of its first parameters and batches; null: the study's `seed`"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_suite(cls, values):
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return _of_suite(values, defaults) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _fits_together(self):
        if unknown := [layer for layer in self.layers if layer > self.depth]:
            raise ValueError(f"layers: unknown layer {unknown[0]}; allowed are 0 to {self.depth} (depth)")
        if isinstance(self.revision, dict):
            if absent := [step for step in self.steps if step not in self.revision]:
                raise ValueError(f"revision: names no revision for step {absent[0]}; add it, or drop the step")
        else:
            try:
                self.revision.format(step=0)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f"revision: {self.revision!r} is no pattern ({type(error).__name__}: {error}); the only "
                    "field is {step}"
                ) from None
            # What else a format can hold ({step!r}, {step.real}, {{) is no name.
            if re.search(r"[{}]", re.sub(r"\{step(:0?\d{0,2}d?)?\}", "0", self.revision)):
                raise ValueError(
                    f"revision: {self.revision!r}: the only field is {{step}}, or {{step:06d}} padded with zeros"
                )
        names = [_revision_name(self.revision_of(step)) for step in self.steps]
        if twice := [(name, step) for name, step in zip(names, self.steps, strict=True) if names.count(name) > 1]:
            raise ValueError(
                f"revision: {twice[0][0]!r} would be the checkpoint of step {twice[0][1]} and of another one; a "
                "pattern needs {step}, a map needs a name for each step"
            )
        if unknown := [step for step in self.commits if step not in ("tokenizer", *self.steps)]:
            raise ValueError(f"commits: {unknown[0]} is none of model.steps; allowed are these and `tokenizer`")
        return self

    def revision_of(self, step: int) -> str:
        """Hub revision or sub-folder of a step."""
        return self.revision[step] if isinstance(self.revision, dict) else self.revision.format(step=step)


def _of_suite(values: dict, defaults: Mapping) -> dict:
    """Keys of the section, with what a suite's name in `source` stands for and the steps that `all` are."""
    source, steps = values.get("source", defaults["source"]), values.get("steps", defaults["steps"])
    suite = suite_of(source) if isinstance(source, str) and not is_local(source) else None
    if steps == "all":
        if suite is None:
            close = difflib.get_close_matches(str(source), suites(), n=3) or ["pythia-160m"]
            raise ValueError(
                f"steps: `all` are those of a suite, and {source!r} is none; list them, or name a suite of "
                f"config/README.md, e.g. {', '.join(close)}"
            )
        if not suite.steps:
            raise ValueError(f"steps: which steps {suite.source} has is not known here; list some of its branches")
        values = values | {"steps": (steps := suite.steps)}
    if suite is None or source == suite.source:
        return values
    if "steps" not in values and suite.steps and not set(steps) <= set(suite.steps):
        raise ValueError(f"steps: needed for {source}; list some, or say `all` ({len(suite.steps)})")
    filled = {"depth": suite.depth, "layers": tuple(range(0, suite.depth + 1, 2))}
    # Steps of another kind are refused by their own check.
    if "revision" not in values and isinstance(steps, list | tuple) and all(isinstance(one, int) for one in steps):
        filled["revision"] = suite.revision(tuple(steps))
    return filled | values | {"source": suite.source}


def is_local(source: str, root: str | Path = ".") -> bool:
    """Whether a model source is a folder rather than a hub id."""
    return source.startswith((".", "/")) or (Path(root) / source).is_dir()


#: Folder of what is fetched from the hub; studies share it.
DOWNLOADS = "resources/models"


def hub_folder(source: str) -> str:
    """Folder that a hub model's checkpoints are fetched into."""
    return f"{DOWNLOADS}/{source.replace('/', '--')}"


def fetched_folder(model: Model, step: int) -> str:
    """Name of a step's folder of downloads: studies share it exactly where they fetch the same."""
    kind = "" if model.weights == "safetensors" else f"+{model.weights}"
    return "--".join(Path(model.revision_of(step)).parts) + _at(model, step) + kind


def _at(model: Model, what) -> str:
    return f"@{model.commits[what]}" if what in model.commits else ""


def checkpoint_folder(model: Model, step: int, results: str, root: str | Path = ".") -> str:
    """Folder of a step's config.json and weights; `results` is that of the study, ``results/<study>``."""
    if model.source == "trained":
        return f"{results}/model/step-{step}"
    if is_local(model.source, root):
        return f"{model.source}/{model.revision_of(step)}"
    return f"{hub_folder(model.source)}/{fetched_folder(model, step)}"


def tokenizer_folder(model: Model, results: str, root: str | Path = ".") -> str:
    """Folder of the tokenizer and the model's config.json: apart, so that a new checkpoint leaves it alone.

    Of a local model it is ``tokenizer/``, or else the first step's.
    """
    if model.source == "trained":
        return f"{results}/model/tokenizer"
    if is_local(model.source, root):
        own = f"{model.source}/tokenizer"
        return own if (Path(root) / own).is_dir() else checkpoint_folder(model, model.steps[0], results, root)
    return f"{hub_folder(model.source)}/tokenizer{_at(model, 'tokenizer')}"
