"""One page for a study: figures with captions, tables, what was run, and an explorer. It needs nothing beside itself.

The page's template, scripts and style lie in ``assets/``; captions are the report's own (``captions/*.rst``),
filled in with the configuration as Snakemake does it. The explorer's charts are Vega-Lite's, which the installed
vl-convert-python brings along. The bytes depend on the inputs and the installed versions alone.

Nothing that a study names (properties, subjects, words) can become markup or script: the template escapes, data are
JSON with ``<``, ``>``, ``&`` escaped, the page's own scripts only ever create text nodes, and its
Content-Security-Policy lets no script run but those that it names by hash, evaluates no text as code and fetches
nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from dynalign import __version__, provenance
from dynalign.cli import command, note, run
from dynalign.config.study import Study
from dynalign.io import atomic, digests
from dynalign.io.errors import InputError
from dynalign.page.data import embedded_json, explorer, table_view
from dynalign.page.figures import CAPTIONS, Figure, Figures, caption_html, categories, figure_view, headline
from dynalign.page.highlights import compared_models, highlights, participants

ASSETS = Path(__file__).parent / "assets"

#: The page's own script: its parts, one after the other.
SCRIPTS = ("base.js", "tables.js", "charts.js", "explorer.js")

#: Steps whose code is named by its digest.
STEPS = (
    *("stimulus.timing", "stimulus.parser", "stimulus.properties", "stimulus.features"),
    *("responses.recordings", "models.tokens", "models.representation", "models.baselines"),
    *("removal.fit", "removal.probing", "encoding.encode"),
    *("statistics.effects", "statistics.shares", "statistics.contrasts", "statistics.emergence", "statistics.maps"),
    *("figures.draw", "figures.paper_tables"),
)

#: Packages that decide the numbers.
PACKAGES = (
    *("snakemake", "torch", "transformers", "tokenizers", "safetensors", "stanza", "wordfreq", "concept-erasure"),
    *("numpy", "scipy", "scikit-learn", "pandas", "nibabel", "matplotlib"),
)


def without_absolute_paths(value):
    """A configuration in which an absolute path is its last part: where a machine keeps its files is no result."""
    if isinstance(value, Mapping):
        return {key: without_absolute_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_absolute_paths(entry) for entry in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return Path(value).name
    return value


def versions() -> dict[str, str]:
    """The versions that decide numbers, of what is installed here."""
    found = {"dynalign": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file; an `InputError` if it cannot be read."""
    try:
        return digests.sha256(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def asset(name: str) -> str:
    """The text of one of the page's own files; an `InputError` if the package was installed without it."""
    try:
        return (ASSETS / name).read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"{ASSETS / name}: a file of the page is missing; install the package whole") from None


@functools.cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed with all that they need, as one script, with a notice of whose work it is."""
    import vl_convert

    licence = metadata.distribution("vl-convert-python").read_text("licenses/LICENSE")
    notice = (
        f"Vega {vl_convert.get_vega_version()}, Vega-Lite {vl_convert.get_vegalite_versions()[-1]} and Vega-Embed "
        f"{vl_convert.get_vega_embed_version()}: Copyright University of Washington Interactive Data Lab, under the "
        "BSD 3-Clause License; D3: Copyright Mike Bostock, under the ISC License; bundled by vl-convert-python, "
        f"whose own BSD 3-Clause License reads:\n\n{licence}"
    )
    return f"/*! {notice} */\n" + vl_convert.javascript_bundle("globalThis.vegaEmbed = vegaEmbed;")


def policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy that allows these scripts and nothing else but styles and embedded images."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; script-src "
        + " ".join(f"'sha256-{value}'" for value in hashes)
    )


def study_page(
    configuration: Mapping,
    tables: Sequence[Path],
    figures: Sequence[Figure],
    inputs: Sequence[Path],
    folder: Path,
    captions: Path = CAPTIONS,
    overview: Study | None = None,
    home: str = "",
) -> str:
    """The page, which will lie in `folder`: links are relative to it.

    `overview` is the study, for the page that leads to those of its models; `home` leads from these to that one. The
    others are the parameters of :func:`main`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    configuration = without_absolute_paths(configuration)
    properties = list(configuration["properties"])
    views = {path.stem: table_view(path, properties, folder) for path in tables}
    frames = {name: view["frame"] for name, view in views.items()}
    drawn = [figure_view(figure, configuration, folder, captions) for figure in figures]
    explorable = len(frames.get("alignment", ())) > 0 and not overview
    scripts = [chart_library()] * explorable + ["".join(map(asset, SCRIPTS))]
    if any("</script" in script.lower() for script in scripts):
        raise ValueError("a script of the page holds the end of its own element")
    whole = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(ASSETS), **whole)
    environment.filters["markup"] = Markup
    return environment.get_template("index.html.j2").render(
        policy=policy(scripts),
        configuration=configuration,
        introduction=caption_html(captions / "workflow.rst", configuration, {}),
        headline=headline(drawn),
        highlights=[] if overview else list(highlights(frames, configuration)),
        home=home,
        models=compared_models(frames, overview, configuration) if overview else [],
        categories=categories(drawn),
        tables=list(views.values()),
        participants=participants(frames, configuration["subjects"]),
        provenance={
            "Versions where this page was written": versions(),
            "SHA-256 of inputs and tables": {os.path.relpath(p, folder): digest(p) for p in (*inputs, *tables)},
            "Digest of the code of every step": {step: provenance.digest(step) for step in STEPS},
        },
        explorer=embedded_json(explorer(configuration, frames["alignment"])) if explorable else "",
        scripts=scripts,
        css=asset("page.css"),
    )


@command
def main(
    configuration: Study,
    tables: list[Path],
    output: Path,
    figures: Figures = Figures([]),
    inputs: tuple[Path, ...] = (),
    captions: Path = CAPTIONS,
    overview: bool = False,
) -> None:
    """Write a study's page, ``index.html``, from the study as JSON and its tables.

    `figures` is a JSON list of {path, caption, category, labels, wildcards}, in the order in which they are shown;
    `inputs` are further files to name with their SHA-256, and `captions` is the folder of the captions. `overview`:
    the page of a study with several models, whose tables are put together; it leads to the models' own pages.
    """
    study = configuration.model_dump(mode="json")
    whole = configuration if overview else None
    home = f"{os.path.relpath(configuration.results, configuration.model_results)}/index.html"
    home = home if configuration.models and not overview else ""
    text = study_page(study, tables, figures.root, inputs, output.parent, captions, whole, home)
    atomic.write_text(output, text)
    note(f"{output}: {len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
