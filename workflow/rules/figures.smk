# Tables → the paper's figures and tables and those beyond it.
from dynalign.figures.draw import FIGURES as DRAWINGS, PAPER_FIGURES

#: The tables that the study has.
THERE = {Path(entry["path"]).stem.replace("_", "-") for entry in REPORTED if entry["category"] == "Tables"}
DRAWINGS = {name: drawing for name, drawing in DRAWINGS.items() if THERE.issuperset(drawing.tables)}
#: The tables of each figure: those that it needs, and those that it shows where the study has them.
DRAWN_FROM = {
    name: [kind.replace("-", "_") for kind in (*drawing.tables, *drawing.optional) if kind in THERE]
    for name, drawing in DRAWINGS.items()
}

#: What nothing else asks for: figures for print, maps of scores.
PICTURES = for_models(
    *(f"{root_of(*tables)}/figures/{name}.{suffix}" for name, tables in DRAWN_FROM.items() for suffix in ("pdf", "svg"))
)

# One rule per figure, because a report's caption belongs to a rule.
for name, tables in DRAWN_FROM.items():
    root = root_of(*tables)
    _, number, *words = name.split("-")
    category = "Figures" if name in PAPER_FIGURES else "Figures beyond the paper"
    if any(schema.TABLES[kind].compares for kind in tables):
        category = COMPARISON

    rule:
        name:
            name.replace("-", "_")
        input:
            **{kind: path_of(kind) for kind in tables},
        output:
            drawn(name, category, "tsv", root=root, figure=number, shows=" ".join(words)),
        log:
            f"{root}/logs/figures/{name}.log",
        localrule: True
        params:
            code=code("figures.draw"),
            name=name,
            options=section(STUDY.figures),
            properties=PROPERTIES,
            removal=STUDY.removal.headline,
            published="resources/paper_values.json",
        shell:
            "python -m dynalign.figures.draw --figure {params.name} --tables {input:q} --options {params.options:q}"
            " --properties {params.properties:q} --removal {params.removal} --reference {params.published:q}"
            " --output {output:q} &> {log:q}"


#: The paper's tables: option and table that they are made from, what they show.
PAPER_TABLES = {
    "table-1-probing": ("probing", "probing", "probing before and after removal"),
    "table-2-correlations": ("correlations", "label_correlations", "correlations of labels"),
}

for name, (option, kind, shows) in PAPER_TABLES.items():
    root = root_of(kind)

    rule:
        name:
            name.replace("-", "_")
        input:
            **{option: path_of(kind)},
        output:
            tsv=f"{root}/figures/{name}.tsv",
            html=reported(f"{root}/figures/{name}.html", "Figures", figure=f"Table {name.split('-')[1]}", shows=shows),
        log:
            f"{root}/logs/figures/{name}.log",
        localrule: True
        params:
            code=code("figures.paper_tables"),
            name=name,
            table=by_option,
        shell:
            "python -m dynalign.figures.paper_tables {params.name} {params.table:q} --output {output:q} &> {log:q}"
