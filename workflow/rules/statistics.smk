# Scores → alignment, effects of removal, by subject and over subjects; tables of cells → tables of the study.
rule cell_statistics:
    input:
        lambda wildcards: expand(
            f"{R}/encoding/{{ckpt}}/layer-{{layer}}/{{subject}}.sha256",
            ckpt=wildcards.ckpt,
            layer=STUDY.layers_of(wildcards.ckpt),
            subject=wildcards.subject,
        ),
    output:
        alignment=f"{R}/statistics/{{ckpt}}/{{subject}}.alignment.tsv",
        effects=f"{R}/statistics/{{ckpt}}/{{subject}}.effects.tsv",
    log:
        f"{R}/logs/cell_statistics/{{ckpt}}.{{subject}}.log",
    resources:
        mem_mb=4000,
    params:
        code=code("statistics.effects"),
        options=section(STUDY.statistics),
        step=lambda wildcards: step_of(wildcards.ckpt),
        folder=lambda wildcards, input: str(Path(input[0]).parents[2]),
        layers=lambda wildcards: list(STUDY.layers_of(wildcards.ckpt)),
        arms=ARMS,
        gap=STUDY.encoding.gap,
    shell:
        "python -m dynalign.statistics.effects --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subject {wildcards.subject:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap}"
        " --alignment {output.alignment:q} --effects {output.effects:q} &> {log:q}"


rule group_statistics:
    input:
        lambda wildcards: expand(
            f"{R}/encoding/{{ckpt}}/layer-{{layer}}/{{subject}}.sha256",
            ckpt=wildcards.ckpt,
            layer=STUDY.layers_of(wildcards.ckpt),
            subject=STUDY.subjects,
        ),
    output:
        f"{R}/statistics/{{ckpt}}/group.tsv",
    log:
        f"{R}/logs/group_statistics/{{ckpt}}.log",
    resources:
        mem_mb=4000,
    params:
        code=code("statistics.group", "cells"),
        options=section(STUDY.statistics, "alpha", "block"),
        step=lambda wildcards: step_of(wildcards.ckpt),
        folder=lambda wildcards, input: str(Path(input[0]).parents[2]),
        layers=lambda wildcards: list(STUDY.layers_of(wildcards.ckpt)),
        subjects=list(STUDY.subjects),
        arms=ARMS,
        gap=STUDY.encoding.gap,
    shell:
        "python -m dynalign.statistics.group cells --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subjects {params.subjects:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap}"
        " --output {output:q} &> {log:q}"


rule removal_effects_group_table:
    input:
        cells=expand(f"{R}/statistics/{{ckpt}}/group.tsv", ckpt=STUDY.checkpoints),
        effects=f"{R}/tables/removal_effects.tsv",
    output:
        table("removal_effects_group", "removal effects, all subjects"),
    log:
        f"{R}/logs/removal_effects_group_table.log",
    localrule: True
    params:
        code=code("statistics.group", "collect"),
        level=STUDY.statistics.alpha,
    shell:
        "python -m dynalign.statistics.group collect --tables {input.cells:q} --effects {input.effects:q}"
        " --fdr {params.level} --output {output:q} &> {log:q}"


#: Tables put together from those of cells: label in the report, tables of cells, whether p is adjusted over all rows.
COLLECTED = {
    "perplexity": ("perplexity", cells_of("representation/{ckpt}.perplexity", STEPS), False),
    "probing": ("probing", cells_of("probing/{ckpt}/layer-{layer}"), False),
    "alignment": ("alignment", cells_of("statistics/{ckpt}/{subject}.alignment"), False),
    "removal_effects": ("removal effects", cells_of("statistics/{ckpt}/{subject}.effects"), True),
}
if STUDY.rois is not None:
    COLLECTED["roi_alignment"] = ("alignment by region", cells_of("rois/{subject}.alignment"), False)
    COLLECTED["roi_effects"] = ("removal effects by region", cells_of("rois/{subject}.effects"), True)
if STUDY.noise_ceiling.compute:
    COLLECTED["noise_ceiling"] = ("noise ceiling", cells_of("ceiling/{subject}.ceiling"), False)
    COLLECTED["alignment_to_ceiling"] = ("alignment / noise ceiling", cells_of("ceiling/{subject}.ratio"), False)

for name, (label, cells, adjusted) in COLLECTED.items():

    rule:
        name:
            f"{name}_table"
        input:
            cells,
        output:
            table(name, label),
        log:
            f"{R}/logs/{name}_table.log",
        localrule: True
        params:
            code=code("tables.collect"),
            fdr=["--fdr", str(STUDY.statistics.alpha)] if adjusted else [],
        shell:
            "python -m dynalign.tables.collect --tables {input:q} {params.fdr:q} --output {output:q} &> {log:q}"


rule emergence_table:
    input:
        alignment=f"{R}/tables/alignment.tsv",
        probing=f"{R}/tables/probing.tsv",
        perplexity=f"{R}/tables/perplexity.tsv",
        labels=f"{R}/tables/labels.tsv",
    output:
        table("emergence", "emergence"),
    log:
        f"{R}/logs/emergence_table.log",
    localrule: True
    params:
        code=code("statistics.emergence", "steps"),
    shell:
        "python -m dynalign.statistics.emergence steps --alignment {input.alignment:q} --probing {input.probing:q}"
        " --perplexity {input.perplexity:q} --labels {input.labels:q} --output {output:q} &> {log:q}"


rule perplexity_alignment_table:
    input:
        alignment=f"{R}/tables/alignment.tsv",
        perplexity=f"{R}/tables/perplexity.tsv",
    output:
        table("perplexity_alignment", "perplexity and alignment"),
    log:
        f"{R}/logs/perplexity_alignment_table.log",
    localrule: True
    params:
        code=code("statistics.emergence", "correlation"),
        level=STUDY.statistics.alpha,
        seed=STUDY.seed,
    shell:
        "python -m dynalign.statistics.emergence correlation --alignment {input.alignment:q}"
        " --perplexity {input.perplexity:q} --level {params.level} --seed {params.seed} --output {output:q} &> {log:q}"
