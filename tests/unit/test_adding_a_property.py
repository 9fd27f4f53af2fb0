"""config/README.md, "Adding a property": what it says to do is done here, word by word."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.helpers import flags

from dynalign import provenance
from dynalign.config.figures import Figures
from dynalign.config.study import load
from dynalign.figures import data, draw, style
from dynalign.stimulus import properties
from dynalign.tables import reader

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "config/README.md").read_text(encoding="utf-8").split("## Adding a property")[1]
YAMLS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)]
(FUNCTION,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)

CONLLU = """\
# constituency = (ROOT (S (NP (NNS Hens)) (VP (VBP do) (RB n't) (VP (VB fly.)))))
1\tHens\then\tNOUN\tNNS\tNumber=Plur\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\tTense=Pres\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\tPolarity=Neg\t4\tadvmod\t_\t_
4\tfly.\tfly\tVERB\tVB\t_\t0\troot\t_\t_

# constituency = (ROOT (S (NP (NNS Birds)) (VP (VBP do.))))
1\tBirds\tbird\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t_\t_
2\tdo.\tdo\tVERB\tVBP\tTense=Pres\t0\troot\t_\t_

"""
WORDS = ["Hens", "don't", "fly.", "Birds", "do."]


@pytest.fixture
def story(tmp_path):
    """A story of two sentences, and the tables that the example names."""
    (tmp_path / "story.conllu").write_text(CONLLU, encoding="utf-8")
    rows = [f"{i}\t{word}\t{int(i > 2)}\t1\t{i / 2}\t0\t0" for i, word in enumerate(WORDS)]
    table = ["word_index\tword\tsentence\trun\tonset\ttr\tdropped", *rows]
    (tmp_path / "words.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    (tmp_path / "config").mkdir()
    for name, labels in (
        ("animacy", ["animate", "other", "other", "animate", "other"]),
        ("concreteness", ["4.5", "1", "3", "4.8", "1.2"]),
    ):
        rows = "".join(f"{i}\t{label}\n" for i, label in enumerate(labels))
        (tmp_path / f"config/{name}.tsv").write_text(f"word_index\tlabel\n{rows}", encoding="utf-8")
    return tmp_path


def arguments(folder, section):
    outputs = {"labels": folder / "labels.tsv", "class_counts": folder / "class_counts.tsv"}
    inputs = {"words": folder / "words.tsv", "annotation": folder / "story.conllu"}
    return flags(**inputs, **outputs, correlations=folder / "correlations.tsv", properties=json.dumps(section))


def panels(counts, names):
    """Names of the panels that the four figures of class counts have."""
    shown = {}
    with style.context():
        for number in (2, 3, 9, 10):
            name = draw.figure_name(str(number))
            figure_data = data.FigureData({"class-counts": counts}, Figures(), tuple(names))
            figure, _ = draw.FIGURES[name].draw(figure_data)
            shown[number] = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    return shown


def test_by_thresholds_classes_and_tables(story, monkeypatch):
    section = dict(YAMLS[0]["properties"])
    study = load({"properties": section, "figures": {"properties": ["animacy"]}})
    assert list(study.properties) == ["long_sentence", "content_word", "animacy", "concreteness"]
    monkeypatch.chdir(story)
    section["long_sentence"] = section["long_sentence"] | {"thresholds": [2]}  # this story is short
    properties.main(arguments(story, section))
    labels = reader.read_table(story / "labels.tsv")
    assert labels["long_sentence"].tolist() == [1, 1, 1, 0, 0]
    assert labels["content_word"].tolist() == [0, 3, 1, 0, 1]
    assert labels["animacy"].tolist() == [0, 1, 1, 0, 1]
    assert labels["concreteness"].tolist() == [2, 0, 1, 2, 0]
    shown = panels(reader.read_table(story / "class_counts.tsv"), section)
    assert shown[2] == shown[9] == ["long sentence"]
    assert shown[3] == ["content word", "animacy", "concreteness"]


def test_by_a_function_of_ten_lines(story):
    assert len(FUNCTION.strip().splitlines()) <= 10
    (entry,) = re.findall(r'`("negation": \(.*?\),)`', SECTION)
    package = story / "package/dynalign"
    shutil.copytree(ROOT / "workflow/dynalign", package, ignore=shutil.ignore_patterns("__pycache__"))
    module, settings = package / "stimulus/raw_values.py", package / "config/properties.py"
    start = "#: Raw value → level"
    text = module.read_text(encoding="utf-8").replace(start, f"{FUNCTION}\n\n{start}", 1)
    text = re.sub(r"(RAW: dict.*? = \{\n)", rf"\g<1>    {entry}\n", text, count=1)
    module.write_text(text, encoding="utf-8")
    text = settings.read_text(encoding="utf-8").replace("RAW_VALUES = (", 'RAW_VALUES = (\n    "negation",', 1)
    settings.write_text(text, encoding="utf-8")

    command = [sys.executable, "-m", "dynalign.stimulus.properties", *arguments(story, YAMLS[1]["properties"])]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(package.parent)}, cwd=story)
    labels = reader.read_table(story / "labels.tsv")
    assert labels["negation"].tolist() == [0, 0, 0, 1, 1]
    assert labels["negation_raw"].tolist() == ["Neg"] * 3 + ["UNDEF"] * 2
    counts = reader.read_table(story / "class_counts.tsv")
    assert counts["value"].tolist() == ["Neg", "other", "Neg", "UNDEF"]
    shown = panels(counts, ["negation"])
    assert shown[2] == shown[9] == ["negation"]
    # The labels are computed again; never the parse, the representations, or what only reads labels.
    assert provenance.digest("stimulus.properties", folder=package) != provenance.digest("stimulus.properties")
    for step in ("stimulus.parser", "models.tokens", "removal.fit", "removal.probing", "encoding.encode"):
        assert provenance.digest(step, folder=package) == provenance.digest(step), step
