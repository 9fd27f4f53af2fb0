"""Jobs, core-hours and disk that a study takes: rough, from the sizes of its arrays and speeds measured on one core.

The speeds are those of ordinary server cores; the true cost lies within a factor of about two.
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dynalign import folds
from dynalign.check.findings import Findings
from dynalign.check.inputs import Inputs
from dynalign.config.study import Study
from dynalign.encoding.scores import PARTS

#: Operations per s of one core: float32 products of large matrices, float64 factorisations, many small fits.
_PRODUCTS, _FACTORS, _FITS = 7e10, 2e11, 3e10
#: A job's start: Python, its packages.
_START_S = 3.0


def jobs(study: Study) -> dict[str, int]:
    """Jobs of the rules that take the time, by rule."""
    cells = sum(len(study.layers_of(name)) for name in study.checkpoints)
    return {
        "representation": len(study.model.steps),
        "baseline": len(study.baselines),
        "removal": cells,
        "probing": cells,
        "encoding": len(study.checkpoints) * len(study.subjects),
    }


def say_cost(models: Sequence[tuple[Study, Inputs]], found: Findings) -> None:
    """Note the numbers of jobs, and, as far as sizes are known, core-hours and disk; too little disk is a problem.

    `models` are the study with each of its models alone, and the inputs of each.
    """
    study = models[0][0]
    n = sum((Counter(jobs(one)) for one, _ in models), Counter())
    found.say("jobs", ", ".join(f"{count} {rule}" for rule, count in n.items() if count) + ", and those of the results")
    hours: dict[str, float] = defaultdict(float)
    sizes: dict[str, float] = defaultdict(float)
    for one, inputs in models:
        for total, parts in zip((hours, sizes), _cost(one, inputs), strict=True):
            for name, size in parts.items():
                total[name] += size
    # Every model is set against the same responses.
    if "responses" in sizes:
        sizes["responses"] /= len(models)
    if not hours:
        return
    found.say("cost", f"{_listed(hours, 'core-hours')}, within a factor of two")
    if sizes:
        found.say("", f"{_listed({name: size / 1e9 for name, size in sizes.items()}, 'GB')}")
    if unknown := [one.model_key for one, inputs in models if inputs.tokens is None]:
        whose = f" of {', '.join(unknown)}" if len(unknown) < len(models) else ""
        found.say("", f"representations and probing{whose}: known with the model's config.json")
    _check_disk(study, sum(sizes.values()), found)


def _cost(study: Study, inputs: Inputs) -> tuple[dict[str, float], dict[str, float]]:
    """Core-hours by rule and bytes by kind of a study of one model, as far as sizes are known."""
    n = jobs(study)
    seconds: dict[str, float] = {}
    sizes: dict[str, float] = {}
    if inputs.trs is not None and inputs.voxels:
        voxels = np.array(list(inputs.voxels.values()))
        layers = n["probing"] / len(study.checkpoints)
        seconds["encoding"] = layers * float(np.mean([_encoding(study, inputs, v) for v in voxels]))
        # Subjects with a problem count as the others.
        share = len(study.subjects) / len(voxels)
        sizes["scores"] = _scores(study, inputs) * voxels.sum() * share
        sizes["responses"] = 4 * int(inputs.trs["kept"].sum()) * voxels.sum() * share
    if inputs.tokens is not None:
        seconds |= {"representation": _representation(study, inputs), "probing": _probing(study, inputs)}
        width = 2 if study.model.storage == "float16" else 4
        layers = len(study.checkpoints) * (inputs.tokens.depth + 1)
        sizes["representations"] = layers * inputs.represented.size * inputs.tokens.hidden * width
    return {rule: n[rule] * (_START_S + each) / 3600 for rule, each in seconds.items()}, sizes


def _listed(parts: Mapping[str, float], unit: str) -> str:
    each = ", ".join(f"{name} {value:.2g}" for name, value in parts.items())
    return f"about {sum(parts.values()):.2g} {unit} ({each})"


def _check_disk(study: Study, size: float, found: Findings) -> None:
    folder = Path(study.results)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(there).free
    if size > free + held:
        found.problems.append(
            f"{folder}: the study takes about {size / 1e9:.2g} GB, but {free / 1e9:.2g} GB are free; make room, link "
            "results/ to another disk, or study fewer layers or checkpoints"
        )


def _representation(study: Study, inputs: Inputs) -> float:
    tokens = inputs.tokens
    parameters = 12 * tokens.depth * tokens.hidden**2
    return 2 * parameters * len(tokens.ids) * (tokens.context_tokens + len(tokens.bos)) / _PRODUCTS


def _probing(study: Study, inputs: Inputs) -> float:
    options, properties = study.probing, len(study.properties)
    grid = options.inner_folds * len(options.C) + 1
    fits = options.folds * properties * (2 * grid + options.permutations + 2 * len(study.removal.families) * grid)
    # Some 30 iterations of two products each.
    return 30 * 4 * fits * inputs.represented.size * inputs.tokens.hidden / _FITS


def _encoding(study: Study, inputs: Inputs, n_voxels: int) -> float:
    choices, n = study.encoding, int(inputs.trs["kept"].sum())
    outer = _outer(study, inputs)
    train = n * (outer - 1) / outer
    shared = bool(study.shared_with)
    products = 2 * outer * len(choices.alphas) * train**2 * n_voxels * (1 + 0.03 * len(study.arms)) * (1 + 2.6 * shared)
    factors = 20 * outer * (choices.inner_folds + 1) * train**3 * (1 + 3 * shared)
    return products / _PRODUCTS + factors / _FACTORS


def _scores(study: Study, inputs: Inputs) -> float:
    """Bytes of all scores of one subject's voxel: 3 numbers per fold, a half one per block, of every arm; shares."""
    blocks = len(folds.blocks(int(inputs.trs["kept"].sum()), study.statistics.block))
    per_cell = len(study.arms) * (12 * _outer(study, inputs) + 2 * blocks) + len(study.shared_with) * len(PARTS) * 16
    return sum(len(study.layers_of(name)) for name in study.checkpoints) * per_cell


def _outer(study: Study, inputs: Inputs) -> int:
    choice = study.encoding.folds
    kept = inputs.trs[inputs.trs["kept"] == 1]
    return kept[{"runs": "run", "stories": "story"}[choice]].nunique() if isinstance(choice, str) else choice
