"""Downloads from a stand-in for the hub, served from this machine."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.hub import SOURCE, serve

from dynalign.config.model import Model
from dynalign.io.errors import InputError
from dynalign.models import checkpoints, tensors
from dynalign.tables.reader import read_table

TEXTS = {"config.json": b'{"model_type": "gpt_neox"}', "tokenizer.json": b"{}", "merges.txt": b"a b\n"}
WEIGHTS = {"model.safetensors": b"weights " * 1000}
OTHERS = {
    "pytorch_model.bin": b"a pickle",
    "README.md": b"#",
    ".gitattributes": b"",
    "onnx/model.safetensors": b"no",
    "training_args.safetensors": b"no",
}


@pytest.fixture
def hub():
    with serve() as running:
        yield running


@pytest.fixture
def command(hub, tmp_path):
    """Function that runs the command in a process of its own, because the hub's address is read at import."""

    def call(revision: str, *flags: str, source: str = SOURCE, **variables: str):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        environment |= {"PYTHONPATH": str(Path(checkpoints.__file__).parents[1]), **variables}
        arguments = ["--source", source, "--revision", revision, "--output-dir", str(tmp_path / "model"), *flags]
        return subprocess.run(
            [sys.executable, "-m", "dynalign.models.checkpoints", "fetch", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def record(hub, revision: str, weights: dict[str, bytes]) -> dict:
    return {
        "source": SOURCE,
        "revision": revision,
        "commit": hub.models[SOURCE][revision][0],
        "weights": {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()},
    }


def test_download_with_requests_that_fail_first(hub, command, tmp_path):
    hub.add("step1000", TEXTS | WEIGHTS | OTHERS)
    hub.failures = {"/revision/step1000": [(503, "")], "/config.json": [(503, "")], "/model.safetensors": [(429, "")]}
    result = command("step1000")
    assert result.returncode == 0, result.stderr
    assert "attempt 1 of 6 failed" in result.stderr
    assert not any(hub.failures.values()), "all of the failures were met"
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "step1000", WEIGHTS)
    assert found == TEXTS | WEIGHTS


def test_a_download_that_stops_halfway(hub, command, tmp_path):
    """Broken off for good, nothing stands in the folder's place; a rerun, itself broken off twice, ends whole."""
    hub.add("step8", TEXTS | WEIGHTS)
    hub.cuts["/model.safetensors"] = [10] * 50
    result = command("step8", "--attempts", "2")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"error: {SOURCE}, revision step8")
    assert not (tmp_path / "model").exists()
    hub.cuts["/model.safetensors"] = [4000, 100]
    result = command("step8", "--attempts", "4")
    assert result.returncode == 0, result.stderr
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "step8", WEIGHTS)
    assert found == TEXTS | WEIGHTS


def test_tokenizer_only(hub, command, tmp_path):
    hub.add("step0", TEXTS | OTHERS)
    result = command("step0", "--tokenizer-only")
    assert result.returncode == 0, result.stderr
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "step0", {})
    assert found == TEXTS


def test_branch_that_moved(hub, command, tmp_path):
    """Files of the old commit do not stay beside those of the new one."""
    hub.add("main", TEXTS | WEIGHTS | {"vocab.json": b"old"})
    assert command("main").returncode == 0
    shards = {"model-00001-of-00002.safetensors": b"1", "model-00002-of-00002.safetensors": b"2"}
    hub.add("main", TEXTS | {"config.json": b"new"} | shards | {"model.safetensors.index.json": b"{}"})
    assert command("main").returncode == 0
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "main", shards)
    new = TEXTS | {"config.json": b"new"} | shards | {"model.safetensors.index.json": b"{}"}
    assert found == new


def test_broken_weights_are_fetched_again(hub, command, tmp_path):
    hub.add("step8", TEXTS | WEIGHTS)
    hub.stated[WEIGHTS["model.safetensors"]] = 64 * "0"
    result = command("step8")
    assert result.returncode == 1
    assert "model.safetensors arrived with sha256" in result.stderr
    assert not (tmp_path / "model/checkpoint.json").exists()
    hub.stated.clear()
    hub.requests.clear()
    assert command("step8").returncode == 0
    fetched = Counter(path.split("/")[-1] for method, path in hub.requests if "/resolve/" in path and method == "GET")
    assert fetched == {"model.safetensors": 1}, "what had arrived whole is not fetched again"
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "step8", WEIGHTS)
    assert found == TEXTS | WEIGHTS


@pytest.mark.parametrize(
    ("revision", "source", "failures", "message"),
    [
        ("step7", SOURCE, [], "no such revision; see the model's branches"),
        ("step1", "EleutherAI/nothing", [], "no such model; correct model.source"),
        ("step1", "not a hub id", [], "no such model; correct model.source"),
        ("step1", SOURCE, [(403, "GatedRepo")], "ask for access on the model's page, then set HF_TOKEN"),
        ("step1", SOURCE, [(418, "")], "the hub refused: "),
        (
            "step1",
            SOURCE,
            [],
            "holds no weights of the kind model.weights: safetensors (it has .gitattributes, README.md",
        ),
    ],
    ids=["revision", "model", "no-hub-id", "gated", "refused", "no-safetensors"],
)
def test_what_the_hub_does_not_have(hub, command, tmp_path, revision, source, failures, message):
    hub.add("step1", TEXTS | OTHERS)
    hub.failures = {"/revision/step1": failures}
    result = command(revision, source=source)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {source}, revision {revision}")
    assert message in result.stderr
    assert not (tmp_path / "model").exists()


def test_no_network(command, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = command("step1", "--attempts", "2", HF_ENDPOINT=url)
    assert result.returncode == 1
    assert f"at {url}: cannot be reached (" in result.stderr
    assert "HF_HUB_OFFLINE=1" in result.stderr
    assert result.stderr.count("attempt 1 of 2 failed") == 1
    assert not (tmp_path / "model").exists()


def test_offline(hub, command, tmp_path):
    """Nothing is asked of the hub; what the Hugging Face cache holds is copied."""
    result = command("step2", HF_HUB_OFFLINE="1")
    assert result.returncode == 1
    assert "HF_HUB_OFFLINE is set, and the cache" in result.stderr
    assert f"hf download {SOURCE} --revision step2" in result.stderr

    commit = hub.add("step2", TEXTS | WEIGHTS | OTHERS)
    cache = tmp_path / "home/hub/models--EleutherAI--pythia-tiny"
    for name, content in (TEXTS | WEIGHTS | OTHERS).items():
        path = cache / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (cache / "refs").mkdir()
    (cache / "refs/step2").write_text(commit)
    result = command("step2", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, "step2", WEIGHTS)
    assert found == TEXTS | WEIGHTS
    assert hub.requests == []


def test_waits_double(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    waits = []
    monkeypatch.setattr(checkpoints.time, "sleep", waits.append)
    answers = [LocalEntryNotFoundError("down")] * 3

    def request():
        if answers:
            raise answers.pop()
        return "here"

    assert checkpoints.ask(request, SOURCE, "step1", attempts=4) == "here"
    assert waits == [1, 2, 4]
    answers[:] = [LocalEntryNotFoundError("down")] * 3
    with pytest.raises(InputError, match=r"cannot be reached \(down\)"):
        checkpoints.ask(request, SOURCE, "step1", attempts=3)
    assert waits == [1, 2, 4, 1, 2]
    with pytest.raises(InputError, match="--attempts 0: at least 1"):
        checkpoints.ask(request, SOURCE, "step1", attempts=0)


@pytest.mark.parametrize(
    ("kind", "revision", "fetched"),
    [
        ("any", "pickled", {"pytorch_model.bin": b"a pickle"}),
        ("any", "both", WEIGHTS),
        ("pytorch", "both", {"pytorch_model.bin": b"a pickle"}),
    ],
)
def test_pickles_are_fetched_only_where_they_are_allowed(hub, command, tmp_path, kind, revision, fetched):
    hub.add("pickled", TEXTS | OTHERS)
    hub.add("both", TEXTS | WEIGHTS | OTHERS)
    result = command(revision, "--weights", kind)
    assert result.returncode == 0, result.stderr
    found = contents(tmp_path / "model")
    assert json.loads(found.pop("checkpoint.json")) == record(hub, revision, fetched)
    assert found == TEXTS | fetched


def test_a_pinned_commit_is_fetched_though_the_branch_has_moved(hub, command, tmp_path):
    old = hub.add("step4", TEXTS | WEIGHTS)
    hub.add("step4", TEXTS | {"model.safetensors": b"another training"})
    result = command("step4", "--commit", old)
    assert result.returncode == 0, result.stderr
    found = contents(tmp_path / "model")
    assert json.loads(found["checkpoint.json"])["commit"] == old
    assert json.loads(found["checkpoint.json"])["revision"] == "step4"
    assert found["model.safetensors"] == WEIGHTS["model.safetensors"]
    missing = command("step4", "--commit", 40 * "0")
    assert missing.returncode == 1
    assert "no such revision" in missing.stderr


def fetched(folder: Path, revision: str, *weights: str) -> Path:
    """A folder as a download leaves it, with weights of these digests."""
    (folder / revision).mkdir(parents=True)
    sums = {f"model-{k}.safetensors": digest for k, digest in enumerate(weights)}
    content = {"source": SOURCE, "revision": revision, "commit": 40 * "c", "weights": sums}
    (folder / revision / "checkpoint.json").write_text(json.dumps(content))
    return folder / revision


def compare(tmp_path: Path, folders: dict[str, Path], *more: str) -> Path:
    names, paths = zip(*folders.items(), strict=True)
    output = tmp_path / "checkpoints.tsv"
    checkpoints.main(["compare", "--names", *names, "--folders", *map(str, paths), "--output", str(output), *more])
    return output


def test_checkpoints_of_a_study_are_listed(tmp_path):
    """Downloads by their record, other folders by the weights that lie in them."""
    local = tmp_path / "local"
    local.mkdir()
    (local / "model.safetensors").write_bytes(b"weights")
    (local / "pytorch_model.bin").write_bytes(b"not read")
    folders = {
        "step-0": fetched(tmp_path, "step0", 64 * "a", 64 * "b"),
        # The same shards the other way round are another model.
        "step-1": fetched(tmp_path, "step1", 64 * "b", 64 * "a"),
        "step-2": fetched(tmp_path, "step2", 64 * "a"),
        "step-8": local,
    }
    table = read_table(compare(tmp_path, folders), ["checkpoint", "step", "source", "revision", "commit"])
    assert table["checkpoint"].tolist() == list(folders)
    assert table["step"].tolist() == [0, 1, 2, 8]
    assert table["revision"].tolist() == ["step0", "step1", "step2", "local"]
    assert table["commit"].tolist() == 3 * [40 * "c"] + [""]
    assert table["sha256"].nunique() == 4
    assert table["sha256"].iloc[2] == 64 * "a"
    assert table["sha256"].iloc[3] == hashlib.sha256(b"weights").hexdigest()


def with_weights(tmp_path: Path, weights: dict[int, str]) -> dict[str, Path]:
    """Folders of steps whose weights have the digest of a letter."""
    return {f"step-{k}": fetched(tmp_path, f"step{k}", 64 * letter) for k, letter in weights.items()}


@pytest.mark.parametrize(
    ("weights", "same"),
    [
        ({3: "a", 4: "a", 5: "b"}, r"step-4 and step-3 \(sha256 a+…\)"),
        ({3: "a", 4: "b", 5: "a", 8: "b"}, r"step-5 and step-3 \(sha256 a+…\); step-8 and step-4 \(sha256 b+…\)"),
        # The start is step 0, without a break, to step 2.
        ({1: "a", 2: "a", 8: "b"}, r"step-2 and step-1 "),
        ({0: "a", 1: "b", 2: "a"}, r"step-2 and step-0 "),
        ({0: "a", 1: "b", 2: "b"}, r"step-2 and step-1 "),
        ({0: "a", 1: "a", 2: "a", 4: "a"}, r"step-4 and step-0 \(sha256 a+…\)\."),
        ({0: "a", 1: "a", 2: "b", 143000: "a"}, r"step-143000 and step-0 \(sha256 a+…\)\."),
    ],
)
def test_two_checkpoints_with_the_same_weights_stop_the_study(tmp_path, weights, same):
    with pytest.raises(
        InputError,
        match=r"pythia-tiny: checkpoints with the same weights: "
        + same
        + r".*model\.steps.*model\.commits.*model\.weights: pytorch",
    ):
        compare(tmp_path, with_weights(tmp_path, weights))
    assert not (tmp_path / "checkpoints.tsv").exists()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({0: "a", 1: "a", 2: "b", 4: "c"}, "step-0, step-1: the same weights"),
        ({0: "a", 1: "a", 2: "a", 4: "c"}, "step-0, step-1, step-2: the same weights"),
        # The order of the configuration is the reader's.
        ({4: "c", 2: "a", 0: "a"}, "step-0, step-2: the same weights"),
        ({0: "a", 1: "b", 2: "c"}, None),
        ({1000: "a", 2000: "b"}, None),
    ],
)
def test_weights_that_the_first_updates_leave_alone(tmp_path, capsys, weights, said):
    """With a learning rate of 0, as in every Pythia: it is said, and the table shows it."""
    table = read_table(compare(tmp_path, with_weights(tmp_path, weights)), ["checkpoint", "sha256"])
    assert table["sha256"].tolist() == [64 * letter for letter in weights.values()]
    told = capsys.readouterr().err
    assert said in told if said else "the same weights" not in told


def saved(folder: Path, tensors: dict[str, np.ndarray], shards: int = 1, **metadata: str) -> Path:
    """A local checkpoint of these tensors."""
    folder.mkdir()
    for k in range(shards):
        name = f"model-{k + 1:05d}-of-{shards:05d}.safetensors" if shards > 1 else "model.safetensors"
        part = {each: np.asarray(tensors[each]) for each in sorted(tensors)[k::shards]}
        save_file(part, folder / name, metadata=metadata)
    return folder


@pytest.fixture
def embedding() -> dict[str, np.ndarray]:
    """Tensors whose largest is larger than the sample that is read of it."""
    rng = np.random.default_rng(0)
    shapes = {"embed_in": (400, 96), "a.bias": (3,), "layers.0": (20, 8), "z.scale": ()}
    return {name: np.asarray(rng.standard_normal(shape), np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("shards", "metadata"), [(1, {"format": "pt"}), (3, {}), (2, {"format": "pt"})])
def test_equal_tensors_in_different_files_stop_the_study(tmp_path, embedding, shards, metadata):
    other = {name: values + 1 for name, values in embedding.items()}
    folders = {
        "step-4": saved(tmp_path / "step4", embedding),
        "step-8": saved(tmp_path / "step8", other),
        "step-16": saved(tmp_path / "step16", embedding, shards, **metadata),
    }
    with pytest.raises(
        InputError, match=r"with the same weights: step-16 and step-4 \(equal tensors in different files\)\. "
    ):
        compare(tmp_path, folders)
    # At the very start it is said, as for equal files.
    folders["step-0"], folders["step-1"] = folders.pop("step-4"), folders.pop("step-16")
    digests = read_table(compare(tmp_path, folders), ["sha256"])["sha256"]
    assert digests.nunique() == 3


@pytest.mark.parametrize("change", ["last value of the largest", "a small one", "name", "shape", "type"])
def test_tensors_that_differ_anywhere_are_two_checkpoints(tmp_path, embedding, change):
    other = {name: values.copy() for name, values in embedding.items()}
    if change == "last value of the largest":
        other["embed_in"][-1, -1] += 1
    elif change == "a small one":
        other["layers.0"][3, 3] += 1
    elif change == "name":
        other["layers.1"] = other.pop("layers.0")
    elif change == "shape":
        other["layers.0"] = other["layers.0"].reshape(8, 20)
    else:
        other["layers.0"] = other["layers.0"].view(np.int32)
    folders = {"step-4": saved(tmp_path / "step4", embedding), "step-8": saved(tmp_path / "step8", other, 2)}
    assert len(read_table(compare(tmp_path, folders), ["checkpoint"])) == 2


def a_run(seed: int, changes: dict[int, float]) -> dict[int, dict[str, np.ndarray]]:
    """Tensors of a run by step: the first ones, and those that a share of their variance has been changed in."""
    rng = np.random.default_rng(seed)
    shapes = {"embed_in": (90, 64), "layers.0": (64, 64), "layers.1": (64, 128)}
    first = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    steps = {}
    for step, share in changes.items():
        moved = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        steps[step] = {name: (1 - share) ** 0.5 * first[name] + share**0.5 * moved[name] for name in shapes}
        # Alike in all runs: scales that begin at 1, and the mean of a matrix.
        steps[step] = {name: values + 3 for name, values in steps[step].items()} | {"norm": np.ones(64)}
    return steps


def folders_of(
    tmp_path: Path, run: dict[int, dict[str, np.ndarray]], kind=np.float32, shards: int = 1
) -> dict[str, Path]:
    cast = {step: {name: values.astype(kind) for name, values in tensors.items()} for step, tensors in run.items()}
    return {f"step-{step}": saved(tmp_path / f"step{step}", tensors, shards) for step, tensors in cast.items()}


@pytest.mark.parametrize(("kind", "shards"), [(np.float32, 1), (np.float16, 3), (np.float64, 1)])
def test_a_run_that_descends_from_its_step_0_is_taken(tmp_path, kind, shards):
    folders = folders_of(tmp_path, a_run(0, {0: 0, 1: 0.001, 512: 0.7, 143000: 1}), kind, shards)
    assert len(read_table(compare(tmp_path, folders), ["checkpoint"])) == 4


def published(folder: Path) -> None:
    """A record as a download leaves it."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}
    content = {"source": SOURCE, "revision": folder.name, "commit": 40 * "c", "weights": files}
    (folder / "checkpoint.json").write_text(json.dumps(content))


def test_step_0_of_another_run_stops_the_study(tmp_path, capsys):
    run = a_run(0, {0: 0, 2: 0.01, 512: 0.7, 143000: 1})
    foreign = a_run(1, {0: 0, 2: 0.01})
    (tmp_path / "other").mkdir()
    mine = folders_of(tmp_path, run | {0: foreign[0]})
    (other,) = folders_of(tmp_path / "other", {0: run[0]}).values()
    says = r"step-2 does not descend from step-0: their weights correlate by -?0\.0\d\d"
    # A run of one's own, whatever it was trained with: it is said.
    compare(tmp_path, mine).unlink()
    assert re.search(says, capsys.readouterr().err)
    for folder in mine.values():
        published(folder)
    with pytest.raises(InputError, match=rf"pythia-tiny: {says}\. Take step 0 out of model\.steps"):
        compare(tmp_path, mine)
    assert not (tmp_path / "checkpoints.tsv").exists()
    with pytest.raises(InputError, match=rf"{says}, with those of \S+step0 by 0\.99\. Take"):
        compare(tmp_path, mine, "--others", str(other))
    # Without step 0 there is nothing to descend from; the same where it comes with the first ones.
    compare(tmp_path, {name: folder for name, folder in mine.items() if name != "step-0"})


def test_a_later_checkpoint_may_have_left_its_step_0_but_not_come_from_anothers(tmp_path):
    (tmp_path / "other").mkdir()
    others = folders_of(tmp_path / "other", a_run(1, {0: 0, 15000: 0.5}))
    mine = folders_of(tmp_path, a_run(0, {0: 0, 15000: 1}))
    assert len(read_table(compare(tmp_path, mine, "--others", str(others["step-0"])), ["checkpoint"])) == 2
    with pytest.raises(InputError, match=r"step-15000 does not descend .* with those of \S+other/step0 by 0\.7"):
        compare(tmp_path, mine | {"step-15000": others["step-15000"]}, "--others", str(others["step-0"]))


def test_numbers_in_bfloat16_are_read(tmp_path):
    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"a": {"dtype": "BF16", "shape": [64, 64], "data_offsets": [0, halves.nbytes]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + halves.tobytes())
    np.testing.assert_allclose(tensors._numbers("BF16", tensors.tensors([path])["a"][1]), values.ravel(), rtol=2**-7)
    assert tensors.likeness([path], [path]) == pytest.approx(1)
    # Nothing to compare: other types, no matrices, pickles.
    saved(tmp_path / "vectors", {"a": np.ones(4, np.float32)})
    for other in ("vectors/model.safetensors", "none.safetensors", "pytorch_model.bin"):
        assert tensors.likeness([path], [tmp_path / other]) is None


def test_of_checkpoints_that_differ_a_sample_is_read(tmp_path, embedding, monkeypatch):
    """Only where that is equal are the rest compared; of pickles and of what cannot be read nothing is."""
    compared = []
    monkeypatch.setattr(tensors.np, "array_equal", lambda *both: compared.append(both))
    files = {}
    for k in range(4):
        folder = saved(tmp_path / str(k), {name: values + k for name, values in embedding.items()})
        files[str(k)] = [folder / "model.safetensors"]
    files["pickle"] = [tmp_path / "pytorch_model.bin"]
    files["broken"] = [tmp_path / "broken.safetensors"]
    files["pickle"][0].write_bytes(files["0"][0].read_bytes())
    files["broken"][0].write_bytes(files["0"][0].read_bytes()[:100])
    assert tensors.equal_tensors(files) == {}
    assert compared == []
    monkeypatch.undo()
    assert tensors.equal_tensors(files | {"again": files["2"]}) == {"again": "2"}


def test_the_suite_of_pythia_is_taken_though_its_first_step_is_its_zeroth(tmp_path):
    steps = Model(steps="pythia-all").steps
    folders = {f"step-{k}": fetched(tmp_path, f"step{k}", f"{max(k, 1):064x}") for k in steps}
    assert read_table(compare(tmp_path, folders), ["checkpoint"])["checkpoint"].nunique() == 154


def test_folders_that_hold_no_checkpoint(tmp_path):
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(InputError, match=r"checkpoint\.json: broken; remove the folder"):
        checkpoints.describe(tmp_path, "safetensors")
    (tmp_path / "checkpoint.json").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match=r"no weights of the kind model\.weights: safetensors"):
        checkpoints.describe(tmp_path, "safetensors")
    assert checkpoints.describe(tmp_path, "any")["sha256"] == hashlib.sha256(b"a pickle").hexdigest()


def test_a_full_disk_is_no_network_problem():
    def request():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoints.ask(request, SOURCE, "step1", attempts=3)
