"""Downloads and representations shared between workflows (Snakemake's --cache)."""

import numpy as np
import pytest

from dynalign.io.images import write_image
from tests.hub import SOURCE, serve
from tests.workflow.conftest import copy_repository, snakemake

WORDS = "The owl sat by the old lamp, and nobody saw it fly away at night. " * 8


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has one checkpoint of a tiny GPT-NeoX."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from dynalign.models.training import train_tokenizer

    folder = tmp_path / "published"
    train_tokenizer([WORDS], 300).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=300, max_position_embeddings=64, **shape)).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with serve() as running:
        running.add("step8", files)
        running.add("main", files)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
        (tmp_path / "cache").mkdir()
        yield running


def run(folder, study: str, **model):
    """Run a study up to its representation, in a copy of the repository."""
    if not folder.exists():
        copy_repository(folder)
    rows = [f"{1 + 1.3 * k:.1f}\t1\t{word}" for k, word in enumerate(WORDS.split())]
    (folder / "words.tsv").write_text("\n".join(["onset\trun\tword", *rows]) + "\n")
    write_image(folder / "S_1.nii.gz", np.zeros((2, 2, 2, 80), dtype=np.float32), np.eye(4), 2.0)
    write_image(folder / "S_mask.nii.gz", np.arange(8, dtype=np.uint8).reshape(2, 2, 2) // 4, np.eye(4))
    config = {
        "study": study,
        "subjects": ["S"],
        "story": {
            "layout": "table",
            "download": None,
            "words": "words.tsv",
            "tr": 2.0,
            "trs": [80],
            "trim": {"start": 0, "end": 0},
        },
        "brain": {"images": "{subject}_{run}.nii.gz", "mask": "{subject}_mask.nii.gz"},
        "annotation": {"models": "resources/stanza-mini", "download": False},
        "model": {"source": SOURCE, "steps": [8], "depth": 2, "layers": [2], "context_tokens": 10, "device": "cpu"}
        | model,
        "threads": {"representation": 1},
        "encoding": {"folds": 2, "inner_folds": 2},
        "probing": {"folds": 2, "inner_folds": 2},
        "removal": {"folds": 2},
    }
    target = f"results/{study}/representation/step-8.safetensors"
    result = snakemake(folder, target, "--cores", "1", "--show-failed-logs", "--cache", config=config)
    assert result.status == 0, result.output[-4000:]
    log = folder / f"results/{study}/logs/representation/step-8.log"
    return (folder / target).read_bytes(), log.stat().st_size > 0


def test_a_second_study_elsewhere_neither_downloads_nor_computes_again(hub, tmp_path):
    first, computed = run(tmp_path / "mine", "one")
    assert computed
    assert any("/resolve/" in path for _, path in hub.requests)
    hub.requests.clear()
    second, computed = run(tmp_path / "colleagues", "other")
    assert second == first
    assert not computed
    assert hub.requests == []
    # What the result depends on is part of what is looked up.
    third, computed = run(tmp_path / "colleagues", "other", storage="float16")
    assert computed
    assert len(third) < 0.6 * len(first)
    assert hub.requests == []
