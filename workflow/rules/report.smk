# Tables → what their columns mean; everything → one page.
from dynalign.tables import schema

#: The page shows what the report shows.
SHOWN = [entry for entry in REPORTED if entry["category"] != "Tables"]
MARKED = [entry["path"] for entry in REPORTED]
#: The study's tables, in the schema's order, and the numbers that figures draw; maps have none.
TABLES = [path for name in schema.TABLES if (path := f"{R}/tables/{name}.tsv") in MARKED]
NUMBERS = [str(Path(entry["path"]).with_suffix(".tsv")) for entry in SHOWN if not entry["wildcards"]]
PACKAGES = {"tables": f"{R}/tables/datapackage.json", "figures": f"{R}/figures/datapackage.json"}
PAGE = [f"{R}/index.html", *PACKAGES.values()]


rule table_dictionary:
    input:
        tables=TABLES,
        figures=NUMBERS,
    output:
        **PACKAGES,
    log:
        f"{R}/logs/table_dictionary.log",
    localrule: True
    params:
        code=code("tables.datapackage"),
        schema=content(schema.FILE),
        study=STUDY.study,
        properties=PROPERTIES,
    shell:
        "python -m dynalign.tables.datapackage --tables {input.tables:q} {input.figures:q} --study {params.study}"
        " --properties {params.properties:q} --output {output:q} &> {log:q}"


rule page:
    input:
        tables=TABLES,
        figures=[entry["path"] for entry in SHOWN],
        sources=[
            f"{R}/story/words.tsv",
            *expand(TRS, subject=STUDY.subjects),
            *ancient([f"{R}/brain/{name}.npy" for name in STUDY.subjects]),
        ],
        digests=[f"{R}/brain/{name}.npy.sha256" for name in STUDY.subjects],
    output:
        f"{R}/index.html",
    log:
        f"{R}/logs/page.log",
    localrule: True
    params:
        code=code("page.write"),
        schema=content(schema.FILE),
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
