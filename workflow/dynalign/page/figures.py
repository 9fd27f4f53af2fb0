"""Figures as the page shows them: image or table, heading, caption, files, and the numbers drawn."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from pydantic import BaseModel, RootModel

from dynalign.figures import paper_tables, style
from dynalign.io.errors import InputError
from dynalign.page.data import MOST_FIGURE_ROWS, table_view
from dynalign.tables import reader

CAPTIONS = Path(__file__).parents[1] / "captions"

#: A vector image above this size is embedded as PNG, so that the page stays small (bytes).
LARGEST_SVG = 300_000

#: Figures that may stand at the top; the first that the study has does.
HEADLINES = ("emergence", "figure-04-", "figure-11-")

#: Subjects whose maps the page holds; those of more are files beside it, so that it stays small.
MOST_MAPS = 6

MIME = {".png": "image/png", ".svg": "image/svg+xml"}


class Figure(BaseModel):
    """One result of the report."""

    #: A ``.png`` (with an ``.svg`` beside it, perhaps), or the ``.html`` of one of the paper's tables; the numbers
    #: drawn lie beside it under the same name, ``.tsv``.
    path: Path
    #: File of its caption, empty for none.
    caption: str = ""
    category: str = "Figures"
    #: What the report filters by, and what the caption may name besides the configuration.
    labels: dict[str, str] = {}
    wildcards: dict[str, str] = {}

    @property
    def heading(self) -> str:
        """Made from the labels: ``Figure 4: best layer alignment``, ``Subject F``."""
        parts = []
        # A page is of one model, or of all.
        for key, value in ((key, value) for key, value in self.labels.items() if key != "model"):
            named = key == "shows" or (key == "figure" and not value[:1].isdigit())
            parts.append(value if named else f"{key} {value}")
        text = ": ".join(parts) or style.label(self.path.stem.replace("-", "_"))
        return text[:1].upper() + text[1:]


Figures = RootModel[list[Figure]]


def caption_html(path: Path, configuration: Mapping, wildcards: Mapping[str, str]) -> str:
    """A caption as HTML: Jinja, then reStructuredText, as Snakemake's report renders it, with raw HTML refused.

    An `InputError` says that the file is missing, or asks for something that the configuration lacks.
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
        **{"raw_enabled": False, "file_insertion_enabled": False, "_disable_config": True, "embed_stylesheet": False},
        **{"report_level": 5, "halt_level": 5, "initial_header_level": 3},
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


def figure_view(figure: Figure, configuration: Mapping, folder: Path, captions: Path) -> dict:
    """What the template shows of a figure; an `InputError` if its file is of no known kind, or missing.

    Of subjects beyond :data:`MOST_MAPS` the files are named alone.
    """
    path, numbers = figure.path, figure.path.with_suffix(".tsv")
    files = [path.with_suffix(suffix) for suffix in (".png", ".svg", ".pdf", ".html", ".tsv")]
    links = {file.suffix[1:].upper(): os.path.relpath(file, folder) for file in files if file.is_file()}
    named = {"name": path.stem, "category": figure.category, "heading": figure.heading, "files": links}
    if figure.wildcards.get("subject") in configuration["subjects"][MOST_MAPS:]:
        return named | {"folded": True}
    properties = list(configuration["properties"])
    view: dict = named | {
        "folded": False,
        "caption": caption_html(captions / figure.caption, configuration, figure.wildcards) if figure.caption else "",
        "table": table_view(numbers, properties, folder, MOST_FIGURE_ROWS) if numbers.is_file() else None,
    }
    if path.suffix == ".html" and path.stem in paper_tables.BODIES:
        # Built anew from the tidy table: its cells are escaped there.
        view["html"] = paper_tables.BODIES[path.stem](reader.read_table(numbers, kind=path.stem))
    elif path.suffix in MIME:
        view["image"] = image_uri(path)
    else:
        raise InputError(f"{path}: the page shows .png and .svg figures and the paper's tables")
    return view


def headline(views: Sequence[dict]) -> dict | None:
    """The figure for the top of the page: of those that suit it best, the first; None where none does."""
    return next((view for part in HEADLINES for view in views if part in view["name"]), None)


def categories(views: Sequence[dict]) -> list[tuple[str, list[dict]]]:
    """Figures by category; categories by name, as in the report's menu."""
    names = sorted({view["category"] for view in views})
    return [(name, [view for view in views if view["category"] == name]) for name in names]
