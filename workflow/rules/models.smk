# What several models have → tables of the whole study.
if STUDY.models:

    #: Tables that a model has of its own: label in the report, and the models that have them.
    OF_MODELS = {}
    for entry in REPORTED:
        if entry["category"] == "Tables" and "model" in entry["wildcards"]:
            name = Path(entry["path"]).stem
            OF_MODELS.setdefault(name, (entry["labels"]["table"], []))[1].append(entry["wildcards"]["model"])

    # Significant subjects are counted anew, as their p is adjusted over all models.
    COUNTED = "removal_effects_group"

    for name, (label, models) in OF_MODELS.items():
        if name == COUNTED:
            continue

        rule:
            name:
                f"models_{name}_table"
            input:
                tables=expand(path_of(name), model=models),
            output:
                reported(f"{R}/tables/{name}.tsv", "Tables", caption="put-together.rst", table=label),
            log:
                f"{R}/logs/{name}_table.log",
            localrule: True
            params:
                code=code("tables.collect"),
                models=models,
                fdr=["--fdr", STUDY.statistics.alpha] if "p_fdr" in schema.TABLES[name].columns else [],
            shell:
                "python -m dynalign.tables.collect --tables {input.tables:q} --models {params.models:q} {params.fdr:q}"
                " --output {output:q} &> {log:q}"

    rule models_removal_effects_group_table:
        input:
            tables=expand(path_of(COUNTED), model=STUDY.models),
            effects=f"{R}/tables/removal_effects.tsv",
        output:
            reported(f"{R}/tables/{COUNTED}.tsv", "Tables", caption="put-together.rst", table=OF_MODELS[COUNTED][0]),
        log:
            f"{R}/logs/{COUNTED}_table.log",
        localrule: True
        params:
            code=code("statistics.group", "collect"),
            models=list(STUDY.models),
            level=STUDY.statistics.alpha,
        shell:
            "python -m dynalign.statistics.group collect --tables {input.tables:q} --models {params.models:q}"
            " --effects {input.effects:q} --fdr {params.level} --output {output:q} &> {log:q}"
