"""Captions say what the configuration says, and read well, rendered as Snakemake's report renders them."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from dynalign.config.study import load
from dynalign.statistics.summaries import MOST_NAMED

ROOT = Path(__file__).parents[2]
CAPTIONS = sorted((ROOT / "workflow/dynalign/captions").glob("*.rst"))
FRONT = ROOT / "workflow/dynalign/captions/workflow.rst"
STUDIES = {
    "paper": {},
    "demo": yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8")),
    "seeds": yaml.safe_load((ROOT / "config/seeds.yaml").read_text(encoding="utf-8")),
    "published-code": yaml.safe_load((ROOT / "config/published-code.yaml").read_text(encoding="utf-8")),
    "surfaces": {
        "subjects": ["F"],
        "story": {"layout": "table", "download": None, "words": "words.tsv", "tr": 2.0, "trs": [300]},
        "brain": {"images": "{subject}_{hemi}.func.gii", "mesh": "fsaverage5"},
    },
    "stories": {
        "subjects": ["F", "M"],
        "story": {"layout": "recordings", "download": None, "words": "words.tsv", "tr": 2.0},
        "recordings": "recordings.tsv",
        "encoding": {"folds": "stories"},
        "noise_ceiling": {"compute": True},
    },
    "many": {"subjects": [f"s{k}" for k in range(MOST_NAMED + 1)]},
    "plain": {
        "subjects": ["F"],
        "baselines": [],
        "encoding": {"folds": "runs"},
        "shares": {"compute": True},
        "figures": {"step_axis": "log", "reference": True},
    },
}


def render(path: Path, values: dict, **wildcards: str) -> str:
    """Text of a caption; Snakemake trims the line break after a block."""
    study = load(values).model_dump(mode="json")
    job = SimpleNamespace(config=study, wildcards=SimpleNamespace(subject="F", **wildcards), params=SimpleNamespace())
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False)
    return environment.from_string(path.read_text(encoding="utf-8")).render(snakemake=job)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_a_caption_renders_without_a_warning_and_without_run_together_sentences(path, study):
    text = render(path, STUDIES[study])
    publish_parts(text, writer="html", settings_overrides={"halt_level": 2, "report_level": 2})
    # "mean.The", "random:Layers": a line break lost after a block.
    assert not re.findall(r"[a-z)][.:][A-Z]", text)


def test_the_front_page_names_what_was_run():
    html = publish_parts(render(FRONT, STUDIES["demo"]), writer="html")["body"]
    fields = dict(re.findall(r'<th class="field-name">(\w+):</th><td class="field-body">(.*?)</td>', html))
    assert fields["Checkpoints"] == "steps 0, 32, 128, 512; baselines: random"
    assert fields["Layers"].startswith("0, 2, 4")
    assert "simulated" in fields["Participants"]
    assert fields["Seed"] == "0"
    assert "one outer fold per story, 10 inner folds" in render(FRONT, STUDIES["stories"])
    assert "one outer fold per run, 10 inner folds" in render(FRONT, STUDIES["plain"])
    backwards = render(FRONT, STUDIES["published-code"])
    assert "warning::" in backwards
    assert "warning::" not in render(FRONT, {})


def test_a_caption_of_one_model_of_several_states_that_models_choices():
    models = {"a": {"steps": [0, 7], "layers": [0, 9]}, "b": {"source": "org/b", "steps": [0, 8], "layers": [3]}}
    values = {"model": {"source": "org/a"}, "models": models}
    for name, source, steps, layers in (
        ("a", "org/a", "steps 0, 7", "of 0, 9;"),
        ("b", "org/b", "steps 0, 8", "of 3;"),
    ):
        texts = {path.stem: " ".join(render(path, values, model=name).split()) for path in CAPTIONS}
        assert source in texts["figure-01-perplexity"]
        assert steps in texts["figure-01-perplexity"]
        assert layers in texts["figure-05-best-layer"]
        assert f"``{source}``" in texts["checkpoints-table"]
    front = " ".join(render(FRONT, values).split())
    assert "It follows 2 models (a, b) through their training" in front
    assert ":Model b: org/b; steps 0, 8; layers 3 of 12; contexts of 50 tokens" in front
    together = render(FRONT.with_name("put-together.rst"), values)
    assert "The tables of 2 models (a, b) put together" in together


def test_every_figure_has_a_caption():
    from dynalign.figures.draw import FIGURES

    assert {f"{name}.rst" for name in (*FIGURES, "table-1-probing", "table-2-correlations")} <= {
        path.name for path in CAPTIONS
    }


@pytest.mark.parametrize("kind", ["04-best-layer-alignment", "05-best-layer", "14-layer-step"])
def test_captions_say_how_many_participants_are_drawn(kind):
    path = FRONT.with_name(f"figure-{kind}.rst")
    told = {
        n: " ".join(render(path, {"subjects": [f"s{k}" for k in range(n)]}).split())
        for n in (MOST_NAMED, MOST_NAMED + 1)
    }
    crowd = {"04": "Thin lines: participants.", "05": "area of a circle is the number", "14": "Shown is the mean of"}[
        kind[:2]
    ]
    assert [crowd in text for text in told.values()] == [False, True]


@pytest.mark.parametrize("changes", [{}, {"figures": {"steps": [5], "reference": True}, "subjects": ["A"]}])
def test_captions_state_the_configuration_used(changes):
    settings = {"model": {"source": "org/model", "steps": [0, 77, 154], "layers": [0, 3], "context_tokens": 33}}
    texts = {path.stem[:9]: " ".join(render(path, settings | changes).split()) for path in CAPTIONS}
    assert "steps 0, 77, 154" in texts["figure-01"]
    assert "33 tokens" in texts["figure-01"]
    assert "layers 0, 3" in texts["figure-11"]
    assert "org/model" in texts["figure-04"]
    assert ("published by Bakalova" in texts["figure-04"]) == bool(changes)
    assert ("1 participant (A)" if changes else "3 participants (F, M, H)") in texts["figure-08"]
    assert "the first, the middle and the last trained checkpoint" in texts["figure-07"]
    assert "step 154" in texts["table-1-p"]
    # Below the interval nothing can be read either.
    assert "bold where the accuracy is not above the interval of 50 permutations" in texts["table-1-p"]
    assert "``removed``: the crossfit accuracy is not above it" in texts["probing-t"]
