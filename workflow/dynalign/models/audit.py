"""``python -m dynalign.models.audit``: what the hub's file lists alone tell of a model's checkpoints.

One request per revision, no download. Published branches have served another step's weights, or one shard of them
(METHOD section 11).
"""

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from dynalign.cli import command, note, progress, run
from dynalign.config.model import Model, is_local
from dynalign.config.study import load
from dynalign.config.suites import suite_of
from dynalign.io.errors import InputError
from dynalign.io.yaml import read_yaml
from dynalign.models import checkpoints
from dynalign.tables.writer import write_table

#: Weights whose size differs from that of most by more than this share are of another kind. Headers differ by less.
SIZE_SHARE = 0.01

_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.(safetensors|bin)")


@dataclass
class Listed:
    """A checkpoint as the hub lists it; without a commit there is no such revision."""

    step: int
    revision: str
    commit: str = ""
    #: Size in bytes and sha256 of each file of weights that a study would fetch.
    weights: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"step-{self.step}"

    @property
    def sums(self) -> dict[str, str | None]:
        """sha256 of each file; an index of shards holds no weights."""
        return {name: digest for name, (_, digest) in self.weights.items() if not name.endswith(".json")}

    @property
    def sha256(self) -> str:
        """As ``tables/checkpoints.tsv`` has it after the download; empty where the hub states none."""
        return checkpoints.joint_digest(self.sums) if self.sums and all(self.sums.values()) else ""

    @property
    def size(self) -> int | None:
        sizes = [self.weights[name][0] for name in self.sums]
        return sum(sizes) if sizes and None not in sizes else None


@dataclass(frozen=True)
class Finding:
    """What is odd about some checkpoints, and whether a study with them is refused."""

    names: tuple[str, ...]
    text: str
    refused: bool = True

    def __str__(self) -> str:
        return f"{listed(self.names)}: {self.text}"


def listed(names: Iterable[str]) -> str:
    """Names in words; of many, the first and the last ones and their number."""
    names = list(names)
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:3])} … {names[-1]} ({len(names)} checkpoints)"


def ask_hub(model: Model, attempts: int = 6) -> list[Listed]:
    """List every checkpoint of a model at the hub; InputError if the hub refuses or cannot be reached."""
    found = []
    for step in progress(model.steps, "revisions"):
        one = Listed(step, model.revision_of(step))
        try:
            files = checkpoints.listed_files(model.source, one.revision, model.commits.get(step), attempts)
        except checkpoints.NoSuchRevision:
            pass
        else:
            one.commit = files[0]
            one.weights = {name: files[1][name] for name in checkpoints.weight_files(files[1], model.weights)}
            one.others = tuple(sorted(files[1]))
        found.append(one)
    return found


def find(found: list[Listed], kind: str = "safetensors") -> list[Finding]:
    """Everything that is odd: revisions and weights that are missing, equal weights, equal shards, sizes that jump."""
    return [*_missing(found, kind), *_same_weights(found), *_same_shards(found), *_sizes(found)]


def _missing(found: list[Listed], kind: str) -> list[Finding]:
    absent = tuple(one.name for one in found if not one.commit)
    findings = [Finding(absent, "no such revision; see the model's branches")] if absent else []
    for one in found:
        if one.commit and not one.sums:
            held = ", ".join(one.others) or "no files"
            findings.append(Finding((one.name,), f"no weights of the kind model.weights: {kind} (it has {held})"))
        elif lacking := missing_files(one.weights):
            findings.append(Finding((one.name,), f"lacks {listed(lacking)}"))
    return findings


def missing_files(names: Iterable[str]) -> list[str]:
    """Shards, by the count in the names of the others (``-00001-of-00003``), and the index of shards, that lack."""
    names = set(names)
    sets: dict[tuple[str, str, str], list[str]] = {}
    for match in filter(None, map(_SHARD.fullmatch, names)):
        sets.setdefault((match[1], match[3], match[4]), []).append(match[2])
    lacking = []
    for (stem, total, ending), numbers in sets.items():
        width = len(numbers[0])
        shards = {f"{stem}-{k:0{width}d}-of-{total}.{ending}" for k in range(1, int(total) + 1)}
        lacking.append(sorted(shards - names) + sorted({f"{stem}.{ending}.index.json"} - names))
    # What an earlier upload left beside a whole set does no harm.
    whole = not lacking or [] in lacking or any(re.fullmatch(r"\w+\.(safetensors|bin)", name) for name in names)
    return [] if whole else min(lacking, key=len)


def _groups(pairs: Iterable[tuple[str | None, str]]) -> dict[str, tuple[str, ...]]:
    """Names that share a key, by the key; each once, keys of one name and empty keys left out."""
    groups: dict[str, dict[str, None]] = {}
    for key, name in pairs:
        if key:
            groups.setdefault(key, {})[name] = None
    return {key: tuple(names) for key, names in groups.items() if len(names) > 1}


def _same_weights(found: list[Listed]) -> list[Finding]:
    import pandas as pd

    rows = [(one.name, one.step, one.sha256) for one in found if one.sha256]
    start = set(checkpoints.at_the_start(pd.DataFrame(rows, columns=["checkpoint", "step", "sha256"])))
    findings = []
    for digest, names in _groups((one.sha256, one.name) for one in found).items():
        text = f"the same weights (sha256 {digest[:12]}…)"
        if set(names) <= start:
            text += ", as where the first updates have a learning rate of 0"
        findings.append(Finding(names, text, not set(names) <= start))
    return findings


def _same_shards(found: list[Listed]) -> list[Finding]:
    whole = {one.name: one.sha256 or one.name for one in found}
    files: dict[tuple[str, ...], list[str]] = {}
    for digest, names in _groups((digest, one.name) for one in found for digest in one.sums.values()).items():
        # Where all files are equal that is said already.
        if len({whole[name] for name in names}) > 1:
            first = next(one for one in found if one.name == names[0])
            files.setdefault(names, []).append(next(name for name, own in first.sums.items() if own == digest))
    return [Finding(names, f"the same {listed(shards)}, though other files differ") for names, shards in files.items()]


def _sizes(found: list[Listed]) -> list[Finding]:
    whole = [one for one in found if one.size and not missing_files(one.weights)]
    if not whole:
        return []
    usual = statistics.median_low(one.size for one in whole)
    others: dict[int, list[str]] = {}
    for one in whole:
        if abs(one.size / usual - 1) > SIZE_SHARE:
            others.setdefault(one.size, []).append(one.name)
    text = "weights of {:,} bytes, against {:,}: of another precision, or not whole"
    return [Finding(tuple(names), text.format(size, usual), refused=False) for size, names in others.items()]


def audit_table(model: Model, found: list[Listed], findings: list[Finding]):
    """``tables/audit.tsv``, a row for each checkpoint."""
    import pandas as pd

    suite = suite_of(model.source)
    rows = [
        {
            "checkpoint": one.name,
            "step": one.step,
            "tokens": one.step * suite.tokens_per_step if suite else None,
            "source": model.source,
            "revision": one.revision,
            "commit": one.commit,
            "n_files": len(one.sums) or None,
            "size": one.size,
            "sha256": one.sha256,
            "finding": "; ".join(str(finding) for finding in findings if one.name in finding.names),
            "refused": int(any(finding.refused for finding in findings if one.name in finding.names)),
        }
        for one in found
    ]
    numbers = {name: "float64" for name in ("tokens", "n_files", "size")}
    return pd.DataFrame(rows).astype(numbers)


@command
def main(
    configfile: str | None = None,
    model: Model | None = None,
    source: str | None = None,
    steps: list[str] | None = None,
    revision: str | None = None,
    weights: checkpoints.Weights = "safetensors",
    output: str | None = None,
    attempts: int = 6,
) -> None:
    """Check the checkpoints of models by what the hub lists of their files, before anything is downloaded.

    Refused (status 1): checkpoints with the same weights or a same shard, weights or shards that are missing,
    revisions that do not exist. Said: equal weights at the very start, where the first updates have a learning rate
    of 0, and weights of another size than those of most.

    Parameters
    ----------
    configfile, model
        A file of the configuration, whose models are checked; or its section `model` as JSON; without any, the
        paper's study.
    source, steps, revision, weights
        In place of these: `model.source`, `model.steps` (default: `all` of the suite) and so on, as they would stand
        there.
    output
        ``tables/audit.tsv`` to write, also where something is refused.
    attempts
        Per request, with waits of 1, 2, 4, … s between them.
    """
    if source:
        # A suite's name is a word, numbers are several.
        chosen = steps[0] if steps and not steps[0].isdigit() else steps or "all"
        values = {"source": source, "steps": chosen, "weights": weights} | ({"revision": revision} if revision else {})
        chosen_models = [load({"model": values}).model]
    elif model is None:
        study = load((read_yaml(configfile) or {}) if configfile else {})
        chosen_models = [one.model for one in study.by_model]
    else:
        chosen_models = [model]
    if output and len(chosen_models) > 1:
        raise InputError(f"{output}: a table of one model, but {configfile} has {len(chosen_models)}; give --source")
    if refused := list(filter(None, (audit(one, output, attempts) for one in chosen_models))):
        raise InputError("\n  ".join(refused))


def audit(model: Model, output: str | None, attempts: int) -> str | None:
    """Check one model's checkpoints; the parameters are those of :func:`main`. What is refused, in one line, if any."""
    from huggingface_hub import constants

    if model.source == "trained" or is_local(model.source):
        note(f"model.source: {model.source} is no model of the hub: nothing is downloaded")
        return None
    n = len(model.steps)
    if constants.HF_HUB_OFFLINE:
        note(f"{model.source}: HF_HUB_OFFLINE is set, so what the hub lists of its {n} checkpoints cannot be checked")
        found = [Listed(step, model.revision_of(step)) for step in model.steps]
        findings = [Finding(tuple(one.name for one in found), "not checked: HF_HUB_OFFLINE was set", refused=False)]
    else:
        found = ask_hub(model, attempts)
        findings = find(found, model.weights)
        total = sum(one.size or 0 for one in found) / 1e9
        note(f"{model.source}: {n} checkpoints, {total:.3g} GB of weights; {len(findings) or 'no'} finding(s)")
    for finding in findings:
        note(str(finding))
    if output:
        write_table(audit_table(model, found, findings), output)
    if not (wrong := [str(finding) for finding in findings if finding.refused]):
        return None
    return (
        f"{model.source}: by the hub's file lists, checkpoints are not what their names say: {'; '.join(wrong)}. "
        f"Of each that is wrong: {checkpoints.WAYS_OUT}"
    )


if __name__ == "__main__":
    run(main)
