"""Hub → a local folder: one revision of a model at one commit; and what a study's checkpoints are.

Where files come from is huggingface_hub's business: ``HF_ENDPOINT`` names another hub, ``HF_HUB_OFFLINE=1``
takes the files from the local Hugging Face cache, ``HF_TOKEN`` opens gated models.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from dynalign.cli import commands, note, run
from dynalign.io.atomic import atomic_folder, write_text
from dynalign.io.digests import sha256
from dynalign.io.errors import InputError
from dynalign.models.tensors import equal_tensors, likeness
from dynalign.tables.writer import write_table

#: What configuration and tokenizer may consist of.
TEXT_FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"),
)

#: Weights that transformers reads, by format, each with the index of its shards.
SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")

#: Pickles can run code when read. Only torch's weights-only loader opens these, and only where allowed.
PICKLES = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?")

#: `model.weights` of the configuration; `any` takes pickles where there are no safetensors.
Weights = Literal["safetensors", "any", "pytorch"]

#: What was fetched: beside the files, in the same folder.
RECORD = "checkpoint.json"


class NoSuchRevision(InputError):
    """The hub has the model, but not this revision."""


def weight_files(names: Iterable[str], kind: Weights) -> list[str]:
    """Choose the files of weights among a folder's, with the index of shards; sorted, empty where there are none."""
    names = sorted(names)
    safe = [name for name in names if SAFETENSORS.fullmatch(name)]
    pickled = [name for name in names if PICKLES.fullmatch(name)]
    return {"safetensors": safe, "any": safe or pickled, "pytorch": pickled}[kind]


def ask(request: Callable, source: str, revision: str, attempts: int, wait: float = 1.0):
    """Return what a request to the hub returns; where it may succeed later, try again after `wait`, 2·`wait`, … s.

    It is an InputError, which says what to do, if the hub refuses or cannot be reached in any of the `attempts`.
    """
    from huggingface_hub import constants, errors

    what = f"{source}, revision {revision}, at {constants.ENDPOINT}"
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except errors.RevisionNotFoundError:
            problem = "no such revision; see the model's branches, correct model.revision or model.steps"
            raise NoSuchRevision(f"{what}: {problem}") from None
        except errors.GatedRepoError:
            raise InputError(f"{what}: ask for access on the model's page, then set HF_TOKEN") from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            problem = "no such model; correct model.source, or set HF_TOKEN if it is a private one"
            raise InputError(f"{what}: {problem}") from None
        except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:
            # huggingface_hub wraps what went wrong into "not found locally".
            reason = " ".join(str(error.__cause__ or error).split())
            status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
            if status is not None and status < 500 and status not in (408, 429):
                raise InputError(f"{what}: the hub refused: {reason}") from None
            if attempt == attempts:
                raise InputError(
                    f"{what}: cannot be reached ({reason}); check the network, name a mirror in HF_ENDPOINT, "
                    "or set HF_HUB_OFFLINE=1 if the model is in the Hugging Face cache, or model.source to a "
                    "local folder"
                ) from None
        note(f"{what}: attempt {attempt} of {attempts} failed ({reason}); again in {wait:.0f} s")
        time.sleep(wait)
        wait *= 2
    raise InputError(f"--attempts {attempts}: at least 1")


def listed_files(
    source: str, revision: str, commit: str | None = None, attempts: int = 6
) -> tuple[str, dict[str, tuple[int | None, str | None]]]:
    """What the hub lists of a revision: its commit, and size and sha256 of each file of the top folder.

    The hub states the sha256 of large files, such as weights. Downloads nothing; errors are those of :func:`ask`.
    """
    from huggingface_hub import HfApi

    request = functools.partial(HfApi().model_info, source, revision=commit or revision, files_metadata=True)
    info = ask(request, source, revision, attempts)
    return info.sha, {
        file.rfilename: (file.size, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings
        if "/" not in file.rfilename
    }


def snapshot(source: str, commit: str, names: list[str], folder: Path) -> None:
    """Download the named files into `folder`; those that are whole there are not downloaded again."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    snapshot_download(source, revision=commit, allow_patterns=names, local_dir=folder)
    if not all((folder / name).is_file() for name in names):
        # Where the hub does not answer, some versions are content with what an earlier request left.
        raise LocalEntryNotFoundError("the hub sent only a part of the files")


def cached_folder(source: str, revision: str) -> Path:
    """Find a revision in the local Hugging Face cache, without any request; the folder's name is the commit."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, revision=revision, local_files_only=True, allow_patterns="config.json"))
    except (LocalEntryNotFoundError, HFValidationError):
        raise InputError(
            f"{source}, revision {revision}: HF_HUB_OFFLINE is set, and the cache {constants.HF_HUB_CACHE} "
            f"does not hold it; where there is a network, run `hf download {source} --revision {revision}` "
            "into that cache, or set model.source to a local folder"
        ) from None


def digests(folder: str | Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file of weights among `names` (an index of shards holds none)."""
    return {name: sha256(Path(folder) / name) for name in names if not name.endswith(".json")}


def _fetch(
    source: str,
    revision: str,
    output_dir: Path,
    commit: str | None = None,
    weights: Weights = "safetensors",
    tokenizer_only: bool = False,
    attempts: int = 6,
) -> None:
    """Bring one revision of a model from the hub into a folder, which appears whole or not at all.

    An interrupted download goes on with the files that are still missing.

    Parameters
    ----------
    source, revision
        Hub id, e.g. EleutherAI/pythia-160m; branch, tag or commit, e.g. step1000.
    output_dir
        Folder to write, or to replace; ``checkpoint.json`` in it records `source`, `revision`, `commit`, and
        `weights`, the sha256 of each file of weights.
    commit
        Take this commit, whatever the revision points to now.
    weights, tokenizer_only
        Which weights, `model.weights`; or none, only configuration and tokenizer.
    attempts
        Per request, with waits of 1, 2, 4, … s between them.
    """
    from huggingface_hub import constants

    wanted = commit or revision
    # With the sha256 that the hub states for large ones.
    files: dict[str, str | None]
    if constants.HF_HUB_OFFLINE:
        cached = cached_folder(source, wanted)
        commit, files = cached.name, {path.name: None for path in cached.iterdir() if path.is_file()}
    else:
        commit, listed = listed_files(source, revision, commit, attempts)
        files = {name: digest for name, (_, digest) in listed.items()}
    chosen = [] if tokenizer_only else weight_files(files, weights)
    if not (chosen or tokenizer_only):
        raise InputError(
            f"{source}, revision {revision}: holds no weights of the kind model.weights: {weights} (it has "
            f"{', '.join(sorted(files)) or 'no files'}); pickles (pytorch_model.bin) can run code when "
            "read: if that is all there is, model.weights: any reads them with torch's weights-only loader"
        )
    names = sorted([*chosen, *(name for name in files if name in TEXT_FILES)])
    # Named by the commit, so that what an earlier, interrupted download left is of this very commit.
    partial = output_dir.parent / f".{output_dir.name}.{commit}"
    partial.mkdir(parents=True, exist_ok=True)
    if constants.HF_HUB_OFFLINE:
        for name in names:
            shutil.copyfile(cached / name, partial / name)
    else:
        ask(lambda: snapshot(source, commit, names, partial), source, revision, attempts)
    sums = digests(partial, chosen)
    for name, digest in sums.items():
        if files[name] not in (None, digest):
            (partial / name).unlink()
            raise InputError(
                f"{source}, revision {revision}: {name} arrived with sha256 {digest}, but the hub states "
                f"{files[name]}; the broken file is removed, run again"
            )
    record = {"source": source, "revision": revision, "commit": commit, "weights": sums}
    with atomic_folder(output_dir) as whole:
        for name in names:
            os.replace(partial / name, whole / name)
        write_text(whole / RECORD, json.dumps(record, indent=2) + "\n")
    shutil.rmtree(partial)
    note(f"{source} {revision}: commit {commit} in {output_dir}")


def _read_record(folder: Path) -> dict[str, Any]:
    """What :func:`_fetch` noted, which must be whole."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {key: record[key] for key in ("source", "revision", "commit")} | {"weights": dict(record["weights"])}
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / RECORD}: broken; remove the folder and run again") from None


def check_download(folder: str | Path) -> None:
    """Check that the weights of a downloaded checkpoint are there and still those that were downloaded."""
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        return
    for name, digest in _read_record(folder)["weights"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            what = "missing, or damaged since it was downloaded"
            raise InputError(f"{folder / name}: {what}; remove the folder and run again")


def joint_digest(sums: Mapping[str, str]) -> str:
    """One digest for a checkpoint's files of weights: of several, that of their digests, in the order of names."""
    digest, *others = values = [sums[name] for name in sorted(sums)]
    return hashlib.sha256("\n".join(values).encode()).hexdigest() if others else digest


def describe(folder: str | Path, kind: Weights) -> dict:
    """What a checkpoint's folder holds: `source`, `revision`, `commit`, `sha256` and `files` of its weights.

    A folder that was not downloaded has no source and no commit, and its weights are digested now. `sha256` is the
    :func:`joint_digest`. No weights, or a broken record: InputError.
    """
    folder = Path(folder)
    record: dict[str, Any] = {"source": "", "revision": folder.name, "commit": ""}
    if (folder / RECORD).is_file():
        record = _read_record(folder)
        sums = record.pop("weights")
    else:
        sums = digests(folder, weight_files(os.listdir(folder), kind) if folder.is_dir() else [])
    if not sums:
        raise InputError(f"{folder}: holds no weights of the kind model.weights: {kind}")
    return record | {"sha256": joint_digest(sums), "files": [folder / name for name in sorted(sums)]}


def at_the_start(table) -> list[str]:
    """Checkpoints of a study that rightly have the weights of its step 0: those that follow it, to step 2.

    The first update's learning rate is 0 in Pythia and elsewhere (METHOD section 11). `table` is
    ``tables/checkpoints.tsv``.
    """
    early = table[table["step"] <= 2].sort_values("step")
    if 0 not in set(early["step"]):
        return []
    alike = early["sha256"] == early["sha256"].iloc[0]
    return early.loc[alike.cummin(), "checkpoint"].tolist()


#: What to do about checkpoints that are not what they say.
WAYS_OUT = (
    "take it out of model.steps, name another commit in model.commits, or, if the branch's pytorch_model.bin is right, "
    "set model.weights: pytorch"
)


#: Until this step the weights of a run still correlate with those that it began with, whatever it learns: in the
#: embedded study by .997 (median over matrices) at step 8, .81 at step 64, .52 at step 512. There the sum of learning
#: rates is 42 standard deviations of the first weights; at step 1000 of Pythia-70m and -160m it is about 12 and 9.
EARLY = 1000

#: Weights that correlate less are of two runs: two seeds of the embedded study do by .002 at most, at any step.
UNRELATED = 0.05


def foreign(table, others: Mapping[str, Iterable[Path]]) -> tuple[str, bool]:
    """What is wrong where a run does not descend from its own step 0, as in published seeds, and whether it is refused.

    `table` has `checkpoint`, `step`, `source` and `files` (of weights); `others` are the weights of other runs' step 0,
    by name. Checkpoints up to :data:`EARLY` are looked at, and the first after step 0. Refused is a published one, and
    one that is like another run's step 0; of a run of one's own, whose learning rate may be any, it is said. A later
    one may have left its beginnings. Weights that are no safetensors, or have no matrices, tell nothing.
    """
    rows = table.sort_values("step")
    if len(rows) < 2 or rows["step"].iloc[0] != 0:
        return "", False
    start, later = rows.iloc[0], rows.iloc[1:]
    for row in later[(later["step"] <= EARLY) | (later["step"] == later["step"].iloc[0])].itertuples():
        own = likeness(row.files, start["files"])
        if own is None or own >= UNRELATED:
            continue
        alike = {name: likeness(row.files, files) for name, files in others.items()}
        alike = {name: value for name, value in alike.items() if value is not None and value >= UNRELATED}
        if not alike and row.step > EARLY:
            continue
        also = "".join(f", with those of {name} by {value:.2f}" for name, value in alike.items())
        text = f"{row.checkpoint} does not descend from {start['checkpoint']}: their weights correlate by {own:.3f}"
        return text + also, bool(alike or row.source)
    return "", False


def _compare(
    names: list[str], folders: list[Path], output: str, weights: Weights = "safetensors", others: tuple[Path, ...] = ()
) -> None:
    """List a study's checkpoints, after a check that no two have the same weights (but :func:`at_the_start`).

    Published branches have served another step's weights: such a study would show no change where there was one.
    Files of safetensors that differ are looked into: all tensors of two checkpoints may be equal all the same. Nor may
    step 0 be that of another run (:func:`foreign`).

    Parameters
    ----------
    names, folders
        Checkpoints, ``step-<n>``, and their folders, in order.
    output
        ``tables/checkpoints.tsv`` to write.
    weights
        `model.weights`.
    others
        Folders of step 0 of the study's other models.
    """
    import pandas as pd

    table = pd.DataFrame(
        {"checkpoint": name, "step": int(name.removeprefix("step-")), **describe(folder, weights)}
        for name, folder in zip(names, folders, strict=True)
    )
    distinct = table.drop_duplicates("sha256")
    alike = equal_tensors(dict(zip(distinct["sha256"], distinct["files"], strict=True)))
    digest = table["sha256"].replace(alike)
    first = table.groupby(digest)["checkpoint"].transform("first")
    unchanged = at_the_start(table.assign(sha256=digest))
    if len(unchanged) > 1:
        note(f"{', '.join(unchanged)}: the same weights, as where the first updates have a learning rate of 0")
    same = [
        f"{name} and {other} ({'equal tensors in different files' if own in alike else f'sha256 {own[:12]}…'})"
        for name, other, own in zip(names, first, table["sha256"], strict=True)
        if name != other and not {name, other} <= set(unchanged)
    ]
    if same:
        raise InputError(
            f"{table['source'][0] or folders[0].parent}: checkpoints with the same weights: "
            f"{'; '.join(same)}. One of each pair is not what its name says: {WAYS_OUT}"
        )
    wrong, refused = foreign(table, {str(folder): describe(folder, weights)["files"] for folder in others})
    if wrong:
        wrong = f"{table['source'][0] or folders[0].parent}: {wrong}"
        if refused:
            raise InputError(f"{wrong}. Take step 0 out of model.steps, or name its right commit in model.commits")
        note(wrong)
    write_table(table.drop(columns="files"), output)


main = commands(_fetch, _compare)

if __name__ == "__main__":
    run(main)
