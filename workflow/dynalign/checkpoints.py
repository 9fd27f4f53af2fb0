"""Hub → a local folder: one revision of a model, pinned to its commit.

Where files come from is huggingface_hub's business: ``HF_ENDPOINT`` names another hub, ``HF_HUB_OFFLINE=1``
takes the files from the local Hugging Face cache, ``HF_TOKEN`` opens gated models.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from dynalign.cli import note, run
from dynalign.files import InputError, write_text

#: What configuration and tokenizer may consist of.
TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
#: The weights that transformers reads. Other formats hold pickles, which can run code when read.
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
WEIGHTS_INDEX = "model.safetensors.index.json"
#: The file that is written last: where it stands, the folder is whole.
RECORD = "checkpoint.json"


class Revision(NamedTuple):
    """A revision of a model on a hub.

    Attributes
    ----------
    source : str
        Hub id.
    name : str
        Branch, tag or commit, as asked for.
    commit : str
        The commit that it points to.
    files : dict of str to (str or None)
        Names in the repository's top folder, with the sha256 that the hub states for large files.
    """

    source: str
    name: str
    commit: str
    files: dict[str, str | None]


def is_weights(name: str) -> bool:
    """Whether a file of this name holds safetensors weights that transformers reads."""
    return WEIGHTS.fullmatch(name) is not None


def wanted_files(names: Iterable[str], tokenizer_only: bool = False) -> list[str]:
    """Choose configuration, tokenizer and (unless `tokenizer_only`) safetensors weights."""
    weights = () if tokenizer_only else (WEIGHTS_INDEX,)
    return sorted(
        name
        for name in names
        if name in TEXT_FILES or name in weights or (not tokenizer_only and is_weights(name))
    )


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ask(request: Callable, source: str, revision: str, attempts: int, wait: float = 1.0):
    """Make a request to the hub; where it may succeed later, try again after `wait`, 2·`wait`, 4·`wait`, … s.

    Parameters
    ----------
    request : callable
        Called without arguments.
    source, revision : str
        How messages name what is asked for.
    attempts : int
        Attempts in all.
    wait : float
        First wait in s.

    Returns
    -------
    What `request` returns.

    Raises
    ------
    InputError
        If the hub refuses, or cannot be reached in any attempt; says what to do.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{source}, revision {revision}, at {constants.ENDPOINT}"
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except RevisionNotFoundError:
            raise InputError(
                f"{what}: no such revision; see the model's branches, correct model.revision or model.steps"
            ) from None
        except GatedRepoError:
            raise InputError(f"{what}: ask for access on the model's page, then set HF_TOKEN") from None
        except (RepositoryNotFoundError, HFValidationError):
            raise InputError(
                f"{what}: no such model; correct model.source, or set HF_TOKEN if it is a private one"
            ) from None
        except (HTTPError, LocalEntryNotFoundError) as error:
            # huggingface_hub wraps what went wrong into "not found locally".
            reason = " ".join(str(error.__cause__ or error).split())
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
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


def look_up(source: str, revision: str) -> Revision:
    """Ask the hub which commit a revision is and which files it holds."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(source, revision=revision, files_metadata=True)
    files = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings}
    top = {name: digest for name, digest in files.items() if "/" not in name}
    return Revision(source, revision, info.sha, top)


def fetch(revision: Revision, names: Iterable[str], folder: Path, attempts: int) -> None:
    """Download the named files into `folder`; those that are whole there are not downloaded again."""
    from huggingface_hub import hf_hub_download

    for name in names:

        def request(name=name):
            return hf_hub_download(revision.source, name, revision=revision.commit, local_dir=folder)

        ask(request, revision.source, revision.name, attempts)


def look_up_cache(source: str, revision: str) -> tuple[Revision, Path]:
    """Find a revision in the local Hugging Face cache, without any request.

    Returns
    -------
    revision : Revision
    folder : Path
        Its folder in the cache.

    Raises
    ------
    InputError
        If it is not there.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            source, revision=revision, local_files_only=True, allow_patterns="config.json"
        )
    except (LocalEntryNotFoundError, HFValidationError):
        raise InputError(
            f"{source}, revision {revision}: HF_HUB_OFFLINE is set, and the cache {constants.HF_HUB_CACHE} "
            f"does not hold it; where there is a network, run `hf download {source} --revision {revision}` "
            "into that cache, or set model.source to a local folder"
        ) from None
    folder = Path(folder)
    files = {path.name: None for path in folder.iterdir() if path.is_file()}
    return Revision(source, revision, folder.name, files), folder


def check_weights(revision: Revision, names: Iterable[str], folder: Path) -> dict[str, str]:
    """Digest each file of weights and compare it with what the hub states.

    Returns
    -------
    dict of str to str
        SHA-256 of each file of weights.

    Raises
    ------
    InputError
        If one differs; it is removed.
    """
    digests = {name: sha256(folder / name) for name in names if is_weights(name)}
    for name, digest in digests.items():
        if revision.files[name] not in (None, digest):
            (folder / name).unlink()
            raise InputError(
                f"{revision.source}, revision {revision.name}: {name} arrived with sha256 {digest}, but the "
                f"hub states {revision.files[name]}; the broken file is removed, run again"
            )
    return digests


def download(
    source: str, revision: str, folder: str | Path, tokenizer_only: bool = False, attempts: int = 6
) -> dict:
    """Bring one revision of a model into `folder`.

    An interrupted download goes on with the files that are still missing.

    Parameters
    ----------
    source : str
        Hub id.
    revision : str
        Branch, tag or commit.
    folder : path-like
    tokenizer_only : bool
        Leave the weights.
    attempts : int
        Attempts per request, with doubling waits from 1 s.

    Returns
    -------
    dict
        What ``checkpoint.json`` in the folder records: `source`, `revision`, `commit`, and `weights`, the
        sha256 of each file of weights.

    Raises
    ------
    InputError
        If the model or the revision does not exist, holds no safetensors weights, cannot be reached, or
        arrives broken.
    """
    from huggingface_hub import constants

    folder = Path(folder)
    if constants.HF_HUB_OFFLINE:
        found, cached = look_up_cache(source, revision)
    else:
        found, cached = ask(lambda: look_up(source, revision), source, revision, attempts), None
    names = wanted_files(found.files, tokenizer_only)
    if not tokenizer_only and not any(map(is_weights, names)):
        raise InputError(
            f"{source}, revision {revision}: holds no model.safetensors (it has "
            f"{', '.join(sorted(found.files)) or 'no files'}); other formats can run code when read, so "
            "convert it once to safetensors and set model.source to that local folder"
        )
    # Named by the commit, so that what an earlier, interrupted download left is of this very commit.
    partial = folder / f".{found.commit}"
    partial.mkdir(parents=True, exist_ok=True)
    if cached is None:
        fetch(found, names, partial, attempts)
    else:
        for name in names:
            shutil.copyfile(cached / name, partial / name)
    digests = check_weights(found, names, partial)

    # Files of another commit may have other names (shards, say), and transformers would read them.
    for name in (RECORD, *wanted_files(os.listdir(folder))):
        (folder / name).unlink(missing_ok=True)
    for name in names:
        os.replace(partial / name, folder / name)
    shutil.rmtree(partial)
    record = {"source": source, "revision": revision, "commit": found.commit, "weights": digests}
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return record


def main(argv: list[str] | None = None) -> None:
    """Command: hub → ``resources/models/…``: one checkpoint's configuration, tokenizer and weights."""
    parser = argparse.ArgumentParser(prog="dynalign.checkpoints", description=main.__doc__)
    parser.add_argument("--source", required=True, help="hub id, e.g. EleutherAI/pythia-160m")
    parser.add_argument("--revision", required=True, help="branch, tag or commit, e.g. step1000")
    parser.add_argument("--output-dir", required=True, help="folder to fill; checkpoint.json comes last")
    parser.add_argument("--tokenizer-only", action="store_true", help="leave the weights")
    parser.add_argument("--attempts", type=int, default=6, help="attempts per request (waits 1, 2, 4, … s)")
    args = parser.parse_args(argv)
    record = download(args.source, args.revision, args.output_dir, args.tokenizer_only, args.attempts)
    note(f"{args.source} {args.revision}: commit {record['commit']} in {args.output_dir}")


if __name__ == "__main__":
    run(main)
