"""One page for a study: figures with captions, tables, what was run, and an explorer. It needs nothing beside itself.

``python -m dynalign.page.write --configuration JSON --figures JSON --tables tables/*.tsv --output index.html``.
The page's template, script and style lie in ``assets/``; captions are the report's own
(``captions/*.rst``), filled in with the configuration as Snakemake does it. The bytes depend on the inputs
and the installed versions alone.

Nothing that a study names (properties, subjects, words) can become markup or script: the template escapes, data are
JSON with ``<``, ``>``, ``&`` escaped, the script only ever creates text nodes, and the page's Content-Security-Policy
lets no script run but its own and nothing be fetched.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

from dynalign import __version__, provenance
from dynalign.cli import note, run
from dynalign.figures import paper_tables, style
from dynalign.io import atomic
from dynalign.io.errors import InputError
from dynalign.page.data import MOST_FIGURE_ROWS, embedded_json, explorer, table_view
from dynalign.statistics import summaries
from dynalign.tables import reader

ASSETS = Path(__file__).parent / "assets"
CAPTIONS = Path(__file__).parents[1] / "captions"

#: A vector image above this size is embedded as PNG, so that the page stays small (bytes).
LARGEST_SVG = 300_000

#: Figures that may stand at the top; the first that the study has does.
HEADLINES = ("emergence", "figure-04-", "figure-11-")

#: Steps whose code is named by its digest.
STEPS = (
    *("stimulus.timing", "stimulus.parser", "stimulus.properties", "responses.recordings", "models.tokens"),
    *("models.representation", "models.baselines", "removal.fit", "removal.probing", "encoding.encode"),
    *("statistics.effects", "statistics.emergence", "statistics.maps", "figures.draw", "figures.paper_tables"),
)

#: Packages that decide the numbers.
PACKAGES = (
    *("snakemake", "torch", "transformers", "tokenizers", "safetensors", "stanza", "concept-erasure"),
    *("numpy", "scipy", "scikit-learn", "pandas", "nibabel", "matplotlib"),
)

MIME = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Figure:
    """One result of the report.

    Parameters
    ----------
    path : Path
        A ``.png`` (with an ``.svg`` beside it, perhaps), or the ``.html`` of one of the paper's tables; the numbers
        drawn lie beside it under the same name, ``.tsv``.
    caption : str
        File of its caption, empty for none.
    category : str
    labels : mapping of str to str
        As the report filters by.
    wildcards : mapping of str to str
        What the caption may name besides the configuration.
    """

    path: Path
    caption: str = ""
    category: str = "Figures"
    labels: Mapping[str, str] = field(default_factory=dict)
    wildcards: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem


def without_absolute_paths(value):
    """A configuration in which an absolute path is its last part: where a machine keeps its files is no result."""
    if isinstance(value, Mapping):
        return {key: without_absolute_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_absolute_paths(entry) for entry in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return Path(value).name
    return value


def caption_html(path: Path, configuration: Mapping, wildcards: Mapping[str, str]) -> str:
    """A caption as HTML: Jinja, then reStructuredText, as Snakemake's report renders it, with raw HTML refused.

    Raises
    ------
    InputError
        If the file is missing, or asks for something that the configuration lacks.
    """
    from docutils.core import publish_parts
    from jinja2 import Environment, StrictUndefined, TemplateError

    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False)
    job = SimpleNamespace(config=configuration, wildcards=SimpleNamespace(**wildcards))
    try:
        text = environment.from_string(path.read_text(encoding="utf-8")).render(snakemake=job)
    except (OSError, TemplateError) as error:
        raise InputError(f"{path}: the caption cannot be rendered: {error}") from None
    settings = {
        "raw_enabled": False,
        "file_insertion_enabled": False,
        "_disable_config": True,
        "embed_stylesheet": False,
        "report_level": 5,
        "halt_level": 5,
        "initial_header_level": 3,
    }
    return publish_parts(text, writer="html5", settings_overrides=settings)["body"]


def image_uri(path: Path) -> str:
    """An image as a data URI: the vector drawing where there is one that is not too large."""
    vector = path.with_suffix(".svg")
    if path.suffix == ".png" and vector.is_file() and vector.stat().st_size <= LARGEST_SVG:
        path = vector
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the figure cannot be read: {error.strerror}") from None
    return f"data:{MIME[path.suffix]};base64,{base64.b64encode(content).decode()}"


def heading(figure: Figure) -> str:
    """A figure's heading from its labels: ``Figure 4: best layer alignment``, ``Subject F``."""
    parts = []
    for key, value in figure.labels.items():
        named = key == "shows" or (key == "figure" and not value[:1].isdigit())
        parts.append(value if named else f"{key} {value}")
    text = ": ".join(parts) or style.label(figure.name.replace("-", "_"))
    return text[:1].upper() + text[1:]


def figure_view(
    figure: Figure, configuration: Mapping, properties: Sequence[str], folder: Path, captions: Path
) -> dict:
    """What the template shows of a figure.

    Raises
    ------
    InputError
        If the file is of no known kind, or missing.
    """
    numbers = figure.path.with_suffix(".tsv")
    view: dict = {
        "name": figure.name,
        "heading": heading(figure),
        "caption": caption_html(captions / figure.caption, configuration, figure.wildcards) if figure.caption else "",
        "table": table_view(numbers, properties, folder, MOST_FIGURE_ROWS)[0] if numbers.is_file() else None,
        "files": [
            {"suffix": path.suffix[1:].upper(), "href": os.path.relpath(path, folder)}
            for path in (figure.path.with_suffix(suffix) for suffix in (".png", ".svg", ".pdf", ".html"))
            if path.is_file()
        ],
    }
    if figure.path.suffix == ".html" and figure.name in paper_tables.PAPER_TABLES:
        # Built anew from the tidy table: its cells are escaped there.
        columns = paper_tables.PAPER_TABLES[figure.name]
        view["html"] = columns.body(reader.read_table(numbers, columns.keys))
    elif figure.path.suffix in MIME:
        view["image"] = image_uri(figure.path)
    else:
        raise InputError(f"{figure.path}: the page shows .png and .svg figures and the paper's tables")
    return view


def categories(views: Sequence[tuple[str, dict]]) -> list[tuple[str, list[dict]]]:
    """Figures by category; categories by name, as in the report's menu."""
    found: dict[str, list[dict]] = {}
    for category, view in views:
        found.setdefault(category, []).append(view)
    return sorted(found.items())


def is_headline(name: str) -> int:
    """How well a figure suits the top of the page: 0 best; ``len(HEADLINES)`` for none."""
    return next((k for k, part in enumerate(HEADLINES) if part in name), len(HEADLINES))


def highlights(tables: Mapping[str, object]) -> list[dict[str, str]]:
    """The study in a few numbers, each with what it says; only those that its tables can give."""
    found = []
    if "alignment" in tables and len(tables["alignment"]):
        best = summaries.over_subjects(summaries.best_layers(tables["alignment"]))
        line = summaries.trained(best)
        if len(line):
            first, last = line.iloc[0], line.iloc[-1]
            found.append(
                {
                    "value": f"{last['mean_r']:.3f}",
                    "label": f"alignment at step {style.step_label(last['step'])} (mean r at each subject's best "
                    f"layer, mean of subjects); {first['mean_r']:.3f} at step {style.step_label(first['step'])}",
                }
            )
        for row in best[best["step"].isna()].itertuples():
            found.append(
                {
                    "value": f"{row.mean_r:.3f}",
                    "label": f"alignment of the baseline {style.label(row.checkpoint)}, chosen the same way",
                }
            )
    if "perplexity" in tables and len(tables["perplexity"]):
        line = summaries.trained(tables["perplexity"])
        first, last = line.iloc[0], line.iloc[-1]
        found.append(
            {
                "value": f"{last['perplexity']:,.1f}",
                "label": f"perplexity at step {style.step_label(last['step'])}; {first['perplexity']:,.0f} at step "
                f"{style.step_label(first['step'])}",
            }
        )
    if "removal_effects" in tables and len(tables["removal_effects"]):
        effects = tables["removal_effects"]
        found.append(
            {
                "value": f"{int(effects['significant'].sum()):,} of {len(effects):,}",
                "label": "effects of a removal that are significant by the calibrated test; "
                f"{int(effects['significant_paper'].sum()):,} by the paper's, which rejects far too often",
            }
        )
    if "probing" in tables and len(tables["probing"]):
        probing = tables["probing"]
        above = int((probing["crossfit_position"] == "above").sum())
        found.append(
            {
                "value": f"{above:,} of {len(probing):,}",
                "label": "probes that can still read their property after its removal (crossfit)",
            }
        )
    return found


def subjects_view(tables: Mapping[str, object], subjects: Sequence[str]) -> list[dict]:
    """Each subject with its voxels, and those without a score."""
    if "alignment" not in tables:
        return [{"subject": subject} for subject in subjects]
    by_subject = summaries.original(tables["alignment"]).groupby("subject")
    voxels, invalid = by_subject["n_voxels"].max(), by_subject["n_invalid"].max()
    return [
        {
            "subject": subject,
            "voxels": f"{int(voxels[subject]):,}" if subject in voxels else "",
            "invalid": f"{int(invalid[subject]):,}" if subject in voxels else "",
        }
        for subject in subjects
    ]


def versions() -> list[tuple[str, str]]:
    """The versions that decide numbers, of what is installed here."""
    found = [("dynalign", __version__), ("python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, read in pieces."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def asset(name: str) -> str:
    """The text of one of the page's own files.

    Raises
    ------
    InputError
        If the package was installed without it.
    """
    try:
        return (ASSETS / name).read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{ASSETS / name}: a file of the page is missing; install the package whole") from None


def study_page(
    configuration: Mapping,
    tables: Sequence[Path],
    figures: Sequence[Figure],
    inputs: Sequence[Path],
    folder: Path,
    captions: Path = CAPTIONS,
) -> str:
    """The page.

    Parameters
    ----------
    configuration : mapping
        The study (:class:`dynalign.config.writers.Study`) as JSON has it.
    tables : sequence of Path
    figures : sequence of Figure
        In the order in which they are shown.
    inputs : sequence of Path
        Files named with their SHA-256, besides the tables.
    folder : Path
        Where the page will lie: links are relative to it.
    captions : Path
        Folder of the captions.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    configuration = without_absolute_paths(configuration)
    properties = list(configuration["properties"])
    views = {path.stem: table_view(path, properties, folder) for path in tables}
    frames = {name: frame for name, (_, frame) in views.items()}
    drawn = [(figure.category, figure_view(figure, configuration, properties, folder, captions)) for figure in figures]
    best = min((view for _, view in drawn), key=lambda view: is_headline(view["name"]), default=None)
    headline = best if best and is_headline(best["name"]) < len(HEADLINES) else None
    script = asset("page.js")
    if "</script" in script.lower():
        raise ValueError("page.js holds the end of its own element")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markup"] = Markup
    return environment.get_template("index.html.j2").render(
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'",
        configuration=configuration,
        introduction=caption_html(captions / "workflow.rst", configuration, {}),
        headline=headline,
        highlights=highlights(frames),
        categories=categories(drawn),
        tables=[view for view, _ in views.values()],
        subjects=subjects_view(frames, configuration["subjects"]),
        explorable="alignment" in views and views["alignment"][0].rows > 0,
        versions=versions(),
        hashes=[(os.path.relpath(path, folder), sha256(path)) for path in (*inputs, *tables)],
        code=[(step, provenance.digest(step)) for step in STEPS],
        explorer=Markup(embedded_json(explorer(configuration, properties))),
        script=Markup(script),
        css=Markup(asset("page.css")),
        swatches=style.marks(properties),
    )


def figures_from_json(text: str) -> list[Figure]:
    """Figures from a JSON list of objects with the fields of :class:`Figure`."""
    try:
        entries = json.loads(text)
        return [Figure(**(entry | {"path": Path(entry["path"])})) for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f"must be a JSON list of objects with path, caption, category, labels, wildcards: {error}"
        ) from None


def configuration_from_json(text: str) -> dict:
    """A study as JSON, checked and completed with the defaults."""
    from dynalign.config import study

    try:
        return study.load(json.loads(text)).model_dump(mode="json")
    except (json.JSONDecodeError, InputError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: list[str] | None = None) -> None:
    """Write a study's page."""
    parser = argparse.ArgumentParser(prog="python -m dynalign.page.write", description=main.__doc__)
    parser.add_argument("--configuration", type=configuration_from_json, required=True, help="the study as JSON")
    parser.add_argument("--tables", nargs="+", type=Path, default=[], help="the study's tables")
    parser.add_argument(
        "--figures",
        type=figures_from_json,
        default=[],
        help="JSON list of {path, caption, category, labels, wildcards}",
    )
    parser.add_argument("--inputs", nargs="*", type=Path, default=[], help="further files to name with hash")
    parser.add_argument("--captions", type=Path, default=CAPTIONS, help="folder of the captions")
    parser.add_argument("--output", type=Path, required=True, help="index.html")
    args = parser.parse_args(argv)
    text = study_page(args.configuration, args.tables, args.figures, args.inputs, args.output.parent, args.captions)
    atomic.write_text(args.output, text)
    note(f"{args.output}: {len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
