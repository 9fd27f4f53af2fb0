# Tables → what their columns mean; everything → one page.

#: Tables and figures of the study, with those that it asked for besides.
ALL_TABLES = TABLES + [path for path in [*ROI_RESULTS, *CEILING_RESULTS] if path.endswith(".tsv")]
ALL_FIGURES = FIGURES + MAPS + [path for path in [*ROI_RESULTS, *CEILING_RESULTS] if path.endswith(".png")]
#: The page shows what the report shows.
SHOWN = [entry for entry in REPORTED if entry["path"] in ALL_FIGURES and entry["path"].endswith((".png", ".html"))]
#: The numbers that figures draw.
NUMBERS = (
    [f"{R}/figures/{name}.tsv" for name in DRAWINGS]
    + [path for path in FIGURES if path.endswith(".tsv")]
    + [f"{path.removesuffix('.png')}.tsv" for path in [*ROI_RESULTS, *CEILING_RESULTS] if path.endswith(".png")]
)
PAGE = [f"{R}/index.html", f"{R}/tables/datapackage.json", f"{R}/figures/datapackage.json"]
#: What every column means.
SCHEMA = provenance.FOLDER / "tables" / "schema.yaml"
#: What the page names by hash besides the tables.
SOURCES = [f"{R}/story/words.tsv", f"{R}/story/trs.tsv"] + [f"{R}/brain/{name}.npy" for name in STUDY.subjects]


rule table_dictionary:
    input:
        tables=ALL_TABLES,
        figures=NUMBERS,
    output:
        tables=f"{R}/tables/datapackage.json",
        figures=f"{R}/figures/datapackage.json",
    log:
        f"{R}/logs/table_dictionary.log",
    localrule: True
    params:
        code=code("tables.datapackage"),
        schema=content(SCHEMA),
        study=STUDY.study,
        properties=PROPERTIES,
    shell:
        "python -m dynalign.tables.datapackage --tables {input.tables:q} {input.figures:q} --study {params.study}"
        " --properties {params.properties:q} --output {output:q} &> {log:q}"


rule page:
    input:
        tables=ALL_TABLES,
        figures=[entry["path"] for entry in SHOWN],
        sources=SOURCES,
    output:
        f"{R}/index.html",
    log:
        f"{R}/logs/page.log",
    localrule: True
    params:
        code=code("page.write"),
        schema=content(SCHEMA),
        assets=content(*sorted((provenance.FOLDER / "page" / "assets").iterdir())),
        captions=content(*sorted((provenance.FOLDER / "captions").iterdir())),
        study=section(STUDY, without=("threads",)),
        shown=lambda wildcards: json.dumps(SHOWN),
        # Where a module's `prefix:` put them.
        figures=lambda wildcards, input: json.dumps(
            [entry | {"path": path} for entry, path in zip(SHOWN, input.figures)]
        ),
    shell:
        "python -m dynalign.page.write --configuration {params.study:q} --tables {input.tables:q}"
        " --figures {params.figures:q} --inputs {input.sources:q} --output {output:q} &> {log:q}"
