# Tables → the paper's figures and tables and those beyond it.
from dynalign.figures.draw import FIGURES as DRAWINGS, PAPER_FIGURES

PUBLISHED = "resources/paper_values.json"
#: Which files a drawing's tables are.
TABLE_FILES = {
    kind: f"{R}/tables/{kind.replace('-', '_')}.tsv" for drawing in DRAWINGS.values() for kind in drawing.tables
}
TABLES = [
    f"{R}/tables/{name}.tsv"
    for name in (
        "checkpoints",
        "labels",
        "class_counts",
        "label_correlations",
        "perplexity",
        "probing",
        "alignment",
        "removal_effects",
        "removal_effects_group",
        "emergence",
        "perplexity_alignment",
    )
]
FIGURES = [f"{R}/figures/{name}.{suffix}" for name in DRAWINGS for suffix in ("png", "pdf", "svg")]
FIGURES += [
    f"{R}/figures/{name}.{suffix}" for name in ("table-1-probing", "table-2-correlations") for suffix in ("tsv", "html")
]


# One rule per figure, because a report's caption belongs to a rule.
for name, drawing in DRAWINGS.items():

    rule:
        name:
            name.replace("-", "_")
        input:
            **{kind.replace("-", "_"): TABLE_FILES[kind] for kind in drawing.tables},
        output:
            reported(
                f"{R}/figures/{name}.png",
                "Figures" if name in PAPER_FIGURES else "Figures beyond the paper",
                figure=name.split("-")[1],
                shows=" ".join(name.split("-")[2:]),
            ),
            f"{R}/figures/{name}.pdf",
            f"{R}/figures/{name}.svg",
            f"{R}/figures/{name}.tsv",
        log:
            f"{R}/logs/figures/{name}.log",
        localrule: True
        params:
            code=code("figures.draw"),
            name=name,
            options=section(STUDY.figures),
            properties=PROPERTIES,
            removal=STUDY.removal.headline,
            published=PUBLISHED,
        shell:
            "python -m dynalign.figures.draw --figure {params.name} --tables {input:q} --options {params.options:q}"
            " --properties {params.properties:q} --removal {params.removal} --reference {params.published:q}"
            " --output {output:q} &> {log:q}"


rule table_1_probing:
    input:
        f"{R}/tables/probing.tsv",
    output:
        tsv=f"{R}/figures/table-1-probing.tsv",
        html=reported(
            f"{R}/figures/table-1-probing.html", "Figures", figure="Table 1", shows="probing before and after removal"
        ),
    log:
        f"{R}/logs/figures/table-1-probing.log",
    localrule: True
    params:
        code=code("figures.paper_tables"),
    shell:
        "python -m dynalign.figures.paper_tables table-1-probing --probing {input:q} --output {output:q} &> {log:q}"


rule table_2_correlations:
    input:
        f"{R}/tables/label_correlations.tsv",
    output:
        tsv=f"{R}/figures/table-2-correlations.tsv",
        html=reported(
            f"{R}/figures/table-2-correlations.html", "Figures", figure="Table 2", shows="correlations of labels"
        ),
    log:
        f"{R}/logs/figures/table-2-correlations.log",
    localrule: True
    params:
        code=code("figures.paper_tables"),
    shell:
        "python -m dynalign.figures.paper_tables table-2-correlations --correlations {input:q} --output {output:q} &> {log:q}"
