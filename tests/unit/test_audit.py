"""What the hub's file lists tell of checkpoints: each published fault, planted in a stand-in for the hub."""

import json
import re

import pytest
from huggingface_hub import constants
from tests.hub import SOURCE, serve

from dynalign.config.model import Model
from dynalign.io.errors import InputError
from dynalign.models import audit, checkpoints
from dynalign.tables.reader import read_table

INDEX = "model.safetensors.index.json"


@pytest.fixture
def hub(monkeypatch):
    with serve() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


def weights(*contents: str) -> dict[str, bytes]:
    """Files of a checkpoint, of 60 bytes at least: one of weights, or several shards with their index."""
    parts = [content.ljust(60 // len(contents), ".").encode() for content in contents]
    names = [f"model-{k:05d}-of-{len(parts):05d}.safetensors" for k in range(1, len(parts) + 1)]
    if len(parts) == 1:
        return {"config.json": b"{}", "model.safetensors": parts[0]}
    return {"config.json": b"{}", INDEX: b"{}"} | dict(zip(names, parts, strict=True))


def audited(tmp_path, *arguments: str):
    """Run the audit; its table, and the message of its refusal (empty: none)."""
    output, message = tmp_path / "tables/audit.tsv", ""
    output.parent.mkdir(exist_ok=True)
    try:
        audit.main(["--source", SOURCE, "--output", str(output), "--attempts", "1", *arguments])
    except InputError as error:
        message = str(error)
    return read_table(output, kind="audit").set_index("step"), message


def test_a_clean_suite_gives_no_finding(hub, tmp_path, capsys):
    """The digests are those that stand in tables/checkpoints.tsv after the download, of one file as of several."""
    commits = {0: hub.add("step0", weights("zero")), 1: hub.add("step1", weights("o", "n", "e"))}
    hub.requests.clear()
    table, message = audited(tmp_path, "--steps", "0", "1")
    assert message == ""
    assert table["finding"].tolist() == ["", ""]
    assert table["refused"].tolist() == [0, 0]
    assert table["commit"].tolist() == [commits[0], commits[1]]
    assert table["n_files"].tolist() == [1, 3]
    assert table["size"].tolist() == [60, 60]
    assert "2 checkpoints, 1.2e-07 GB of weights; no finding" in capsys.readouterr().err
    # A request for each revision, of its list alone.
    asked = [path for _, path in hub.requests if SOURCE in path]
    assert asked == [f"/api/models/{SOURCE}/revision/step{k}" for k in (0, 1)]
    for step in (0, 1):
        folder = tmp_path / f"step{step}"
        folder.mkdir()
        for name, content in hub.models[SOURCE][f"step{step}"][1].items():
            (folder / name).write_bytes(content)
        assert table.loc[step, "sha256"] == checkpoints.describe(folder, "safetensors")["sha256"]


def test_whole_duplicates(hub, tmp_path):
    """As 86 of the 154 branches of pythia-2.8b: they serve the final weights."""
    for step in range(1000, 7000, 1000):
        hub.add(f"step{step}", weights("fin", "al") if step in (2000, 4000, 6000) else weights(f"a{step}", f"b{step}"))
    table, message = audited(tmp_path, "--steps", *map(str, range(1000, 7000, 1000)))
    said = f"step-2000, step-4000, step-6000: the same weights (sha256 {table.loc[6000, 'sha256'][:12]}…)"
    assert message == (
        f"{SOURCE}: by the hub's file lists, checkpoints are not what their names say: {said}. Of each that is wrong: "
        "take it out of model.steps, name another commit in model.commits, or, if the branch's pytorch_model.bin is "
        "right, set model.weights: pytorch"
    )
    assert table["finding"].tolist() == ["", said] * 3
    assert table["refused"].tolist() == [0, 1] * 3


def test_many_duplicates_are_counted(hub, tmp_path):
    steps = [*range(1000, 13000, 1000)]
    for step in steps:
        hub.add(f"step{step}", weights("final"))
    _, message = audited(tmp_path, "--steps", *map(str, steps))
    assert "step-1000, step-2000, step-3000 … step-12000 (12 checkpoints): the same weights" in message


def test_a_duplicated_first_shard(hub, tmp_path):
    """As pythia-12b at steps 50000 and 58000."""
    shards = {50000: ("same", "b1", "c1"), 57000: ("a2", "b2", "c2"), 58000: ("same", "b3", "c3")}
    for step, contents in shards.items():
        hub.add(f"step{step}", weights(*contents))
    table, message = audited(tmp_path, "--steps", *map(str, shards))
    said = "step-50000, step-58000: the same model-00001-of-00003.safetensors, though other files differ"
    assert f"names say: {said}. Of each" in message
    assert table["finding"].to_dict() == {50000: said, 57000: "", 58000: said}
    assert table["refused"].to_dict() == {50000: 1, 57000: 0, 58000: 1}
    assert table["sha256"].nunique() == 3


def test_three_equal_branches_whose_names_follow_no_pattern_of_steps_alone(hub, tmp_path):
    """As three of OLMo-2-7B."""
    names = {step: f"stage1-step{step}-tokens{k}B" for k, step in enumerate((1000, 2000, 3000, 4000), 5)}
    for step, name in names.items():
        hub.add(name, weights("other" if step == 4000 else "equal"))
    model = json.dumps({"source": SOURCE, "steps": list(names), "revision": names})
    with pytest.raises(
        InputError, match=r"say: step-1000, step-2000, step-3000: the same weights \(sha256 \w{12}…\)\."
    ):
        audit.main(["--model", model])


@pytest.mark.parametrize(
    ("contents", "said", "refused"),
    [
        ({0: "a", 1: "a", 2: "c"}, "step-0, step-1: the same weights", ""),
        ({0: "a", 1: "a", 2: "a", 4: "d"}, "step-0, step-1, step-2: the same weights", ""),
        # What is the start, and what is not, is told as after the download.
        ({0: "a", 1: "b", 2: "b"}, "", "step-1, step-2: the same weights"),
        ({0: "a", 1: "a", 143000: "a"}, "", "step-0, step-1, step-143000: the same weights"),
    ],
)
def test_equal_weights_at_the_very_start_are_said(hub, tmp_path, capsys, contents, said, refused):
    for step, content in contents.items():
        hub.add(f"step{step}", weights(content, content * 2))
    table, message = audited(tmp_path, "--steps", *map(str, contents))
    assert bool(message) == bool(refused)
    assert refused in message
    told = capsys.readouterr().err
    assert said in told
    assert ("the first updates have a learning rate of 0" in told) == bool(said)
    assert table["finding"].str.contains("the same weights").sum() == max(said.count("step-"), refused.count("step-"))
    assert not table["finding"].str.contains("though other files differ").any()


@pytest.mark.parametrize(
    ("lost", "finding"),
    [
        ("model-00002-of-00003.safetensors", "lacks model-00002-of-00003.safetensors"),
        ("model-00003-of-00003.safetensors", "lacks model-00003-of-00003.safetensors"),
        (INDEX, f"lacks {INDEX}"),
        ("model", "no weights of the kind model.weights: safetensors (it has config.json)"),
    ],
)
def test_missing_weights(hub, tmp_path, lost, finding):
    hub.add("step1", weights("a", "b", "c"))
    files = {name: content for name, content in weights("d", "e", "f").items() if not name.startswith(lost)}
    hub.add("step2", files)
    table, message = audited(tmp_path, "--steps", "1", "2")
    assert table["finding"].tolist() == ["", f"step-2: {finding}"]
    assert f"say: step-2: {finding}. Of each" in message


def test_shards_of_an_earlier_upload_beside_a_whole_set_are_no_finding():
    shards = [*weights("a", "b", "c")]
    assert audit.missing_files([*shards, "model-00001-of-00002.safetensors"]) == []
    assert audit.missing_files(["model.safetensors", "model-00001-of-00002.safetensors"]) == []
    assert audit.missing_files(["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"]) == [
        "pytorch_model-00002-of-00002.bin"
    ]


def test_a_size_that_jumps_is_said(hub, tmp_path, capsys):
    for step, size in {1: 1000, 2: 1004, 3: 1000, 4: 2000, 8: 1000, 16: 1000}.items():
        hub.add(f"step{step}", weights(str(step) * size))
    table, message = audited(tmp_path, "--steps", "1", "2", "3", "4", "8", "16")
    assert message == ""
    said = "step-4, step-16: weights of 2,000 bytes, against 1,000: of another precision, or not whole"
    assert table["finding"].tolist() == ["", "", "", said, "", said]
    assert said in capsys.readouterr().err
    assert not table["refused"].any()


def test_a_revision_that_is_not_there(hub, tmp_path):
    hub.add("step1", weights("a"))
    table, message = audited(tmp_path, "--steps", "1", "999", "1001")
    said = "step-999, step-1001: no such revision; see the model's branches"
    assert f"say: {said}. Of each" in message
    assert table["finding"].tolist() == ["", said, said]
    assert table["commit"].tolist()[1:] == ["", ""]
    assert table["size"].isna().tolist() == [False, True, True]


def test_what_stops_the_whole_audit_is_said_once(hub, tmp_path):
    hub.models.clear()
    with pytest.raises(InputError, match=r"no such model; correct model\.source"):
        audit.main(["--source", SOURCE, "--steps", "0", "1"])


def test_the_kind_of_weights_and_the_commits_that_a_study_fetches(hub, tmp_path):
    """Broken safetensors beside right pickles, or a branch that moved, are what the message leads to."""
    old = hub.add("step2", weights("b"))
    hub.add("step1", weights("a") | {"pytorch_model.bin": b"one"})
    hub.add("step2", weights("a") | {"pytorch_model.bin": b"two"})
    assert "step-1, step-2: the same weights" in audited(tmp_path, "--steps", "1", "2")[1]
    assert audited(tmp_path, "--steps", "1", "2", "--weights", "pytorch")[1] == ""
    config = tmp_path / "mine.yaml"
    config.write_text(f"model: {{source: {SOURCE}, steps: [1, 2], commits: {{2: {old}}}}}")
    audit.main(["--configfile", str(config)])


def test_the_audit_looks_at_every_model_of_a_study(hub, tmp_path):
    for step, content in ((0, "a"), (5, "b"), (6, "b")):
        hub.add(f"step{step}", weights(content))
    config = tmp_path / "mine.yaml"
    text = "model: {{source: {0}}}\nmodels: {{good: {{steps: [0, 5]}}, bad: {{steps: [5, 6]}}}}\n"
    config.write_text(text.format(SOURCE), encoding="utf-8")
    with pytest.raises(InputError, match=r"step-5, step-6: the same weights") as refused:
        audit.main(["--configfile", str(config)])
    assert "step-0" not in str(refused.value)
    with pytest.raises(InputError, match=r"a table of one model, but .* has 2"):
        audit.main(["--configfile", str(config), "--output", str(tmp_path / "audit.tsv")])


def test_tokens_seen_and_all_steps_of_a_suite(hub, monkeypatch, tmp_path):
    asked = []

    def listing(source, revision, commit, attempts):
        asked.append((source, revision))
        return 40 * "c", {"model.safetensors": (10, f"{len(asked):064d}")}

    monkeypatch.setattr(checkpoints, "listed_files", listing)
    table, _ = audited(tmp_path, "--source", "pythia-70m-seed3")
    assert len(table) == 154
    assert asked[-1] == ("EleutherAI/pythia-70m-seed3", "step143000")
    assert table.loc[[0, 1, 143000], "tokens"].tolist() == [0, 2_097_152, 299_892_736_000]


def test_offline_it_says_that_it_cannot(hub, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    table, message = audited(tmp_path, "--steps", "0", "1")
    assert message == ""
    assert (
        "HF_HUB_OFFLINE is set, so what the hub lists of its 2 checkpoints cannot be checked" in capsys.readouterr().err
    )
    assert table["finding"].str.fullmatch(r"step-0, step-1: not checked: HF_HUB_OFFLINE was set").all()
    assert hub.requests == []


def test_a_model_that_is_no_hubs_has_nothing_to_audit(tmp_path, capsys):
    audit.main(["--source", str(tmp_path), "--steps", "1"])
    assert re.search(r"is no model of the hub: nothing is downloaded", capsys.readouterr().err)
    assert Model().source == "EleutherAI/pythia-160m"
