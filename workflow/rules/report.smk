# Tables → what their columns mean; everything → one page.
from snakemake.io import apply_wildcards, get_flag_value, is_flagged

#: What the page shows is what the report shows: the outputs marked `report`, with the captions, categories and
#: labels given there.
TARGETS = {str(path) for path in (*TABLES, *FIGURES, *MAPS)}


def reported(suffixes):
    """Outputs marked for the report of the rules that this study runs, one by one.

    Returns
    -------
    list of dict
        path, caption (file name), category, labels, wildcards.
    """
    found = []
    for one in workflow.rules:
        if not one.wildcard_names <= {"subject"}:
            continue
        for subject in STUDY.subjects if "subject" in one.wildcard_names else [""]:
            wildcards = {"subject": subject} if subject else {}
            paths = {path: apply_wildcards(str(path), wildcards) for path in one.output}
            if not TARGETS & set(paths.values()):
                continue
            for path, filled in paths.items():
                if is_flagged(path, "report") and Path(filled).suffix in suffixes:
                    marked = get_flag_value(path, "report")
                    found.append(
                        {
                            "path": filled,
                            "caption": Path(marked.caption.get_path_or_uri(secret_free=True)).name,
                            "category": marked.category,
                            "labels": {
                                key: apply_wildcards(text, wildcards) for key, text in marked.labels.items()
                            },
                            "wildcards": wildcards,
                        }
                    )
    return found


PAGE = [f"{R}/index.html", f"{R}/tables/datapackage.json"]
SHOWN = reported({".png", ".html"})
#: Small inputs of the tables that the page names by hash.
SOURCES = [f"{R}/story/words.tsv", f"{R}/story/trs.tsv"] + [
    f"{R}/brain/{name}.npy" for name in STUDY.subjects
]


rule table_dictionary:
    input:
        TABLES,
    output:
        f"{R}/tables/datapackage.json",
    log:
        f"{R}/logs/table_dictionary.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        code=code("dictionary"),
        study=STUDY.study,
        properties=PROPERTIES,
    shell:
        "python -m dynalign.dictionary {input:q} --study {params.study} --properties {params.properties:q}"
        " --output {output:q} &> {log:q}"


rule page:
    input:
        tables=TABLES,
        figures=[entry["path"] for entry in SHOWN],
        sources=SOURCES,
    output:
        f"{R}/index.html",
    log:
        f"{R}/logs/page.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        runtime=15,
        gpu=0,
    params:
        code=code("page"),
        assets=content(*sorted((WORKFLOW / "dynalign" / "assets").iterdir())),
        captions=content(*sorted((WORKFLOW / "report").glob("*.rst"))),
        study=section(STUDY, without=("threads",)),
        shown=lambda wildcards: json.dumps(SHOWN),
    shell:
        "python -m dynalign.page --configuration {params.study:q} --tables {input.tables:q}"
        " --figures {params.shown:q} --inputs {input.sources:q} --output {output:q} &> {log:q}"
