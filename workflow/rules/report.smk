# Tables → what their columns mean; everything → one page, and with several models one for each.
#: Pages show what the report shows.
MARKED = [entry["path"] for entry in REPORTED]
PAGE = for_models(
    *(path for root in dict.fromkeys((M, R)) for path in (f"{root}/index.html", *packages(root).values()))
)


rule table_dictionary:
    input:
        tables=tables_of,
        figures=numbers_of,
    output:
        **packages(M),
    log:
        f"{M}/logs/table_dictionary.log",
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
        tables=tables_of,
        figures=lambda wildcards: [entry["path"] for entry in shown_of(wildcards)],
        sources=[
            f"{R}/story/words.tsv",
            *expand(TRS, subject=STUDY.subjects),
            *ancient([f"{R}/brain/{name}.npy" for name in STUDY.subjects]),
        ],
        digests=[f"{R}/brain/{name}.npy.sha256" for name in STUDY.subjects],
    output:
        f"{M}/index.html",
    log:
        f"{M}/logs/page.log",
    localrule: True
    params:
        code=code("page.write"),
        schema=content(schema.FILE),
        assets=content(*sorted((provenance.FOLDER / "page" / "assets").iterdir())),
        captions=content(*sorted((provenance.FOLDER / "captions").iterdir())),
        study=section(lambda study: study, without=("threads",)),
        shown=lambda wildcards: json.dumps(shown_of(wildcards)),
        # Where a module's `prefix:` put them.
        figures=lambda wildcards, input: json.dumps(
            [entry | {"path": path} for entry, path in zip(shown_of(wildcards), input.figures)]
        ),
        overview=lambda wildcards: ["--overview"] if STUDY.models and not model_of(wildcards) else [],
    shell:
        "python -m dynalign.page.write --configuration {params.study:q} --tables {input.tables:q}"
        " --figures {params.figures:q} --inputs {input.sources:q} {params.overview:q} --output {output:q} &> {log:q}"


if STUDY.models:

    use rule table_dictionary as models_dictionary with:
        output:
            **packages(R),
        log:
            f"{R}/logs/table_dictionary.log",

    use rule page as models_page with:
        output:
            f"{R}/index.html",
        log:
            f"{R}/logs/page.log",
