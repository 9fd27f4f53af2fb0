# What several models have → tables of the whole study.
if STUDY.models:

    #: Tables that a model has of its own: label in the report, and the models that have them.
    OF_MODELS = {}
    for entry in REPORTED:
        if entry["category"] == "Tables" and "model" in entry["wildcards"]:
            name = Path(entry["path"]).stem
            OF_MODELS.setdefault(name, (entry["labels"]["table"], []))[1].append(entry["wildcards"]["model"])

    for name, (label, models) in OF_MODELS.items():
        # Significant subjects are counted anew, as their p is adjusted over all models.
        counted = {"effects": f"{R}/tables/removal_effects.tsv"} if name == "removal_effects_group" else {}

        rule:
            name:
                f"models_{name}_table"
            input:
                **counted,
                tables=expand(path_of(name), model=models),
            output:
                reported(f"{R}/tables/{name}.tsv", "Tables", caption="put-together.rst", table=label),
            log:
                f"{R}/logs/{name}_table.log",
            localrule: True
            params:
                code=code("statistics.group", "collect") if counted else code("tables.collect"),
                command=["statistics.group", "collect"] if counted else ["tables.collect"],
                tables=by_option,
                models=models,
                fdr=["--fdr", STUDY.statistics.alpha] if "p_fdr" in schema.TABLES[name].columns else [],
            shell:
                "python -m dynalign.{params.command:q} {params.tables:q} --models {params.models:q} {params.fdr:q}"
                " --output {output:q} &> {log:q}"
