# Scores → alignment, effects of removal.
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
        folder=lambda wildcards, input: str(Path(input[0]).parents[1]),
        layers=lambda wildcards: list(STUDY.layers_of(wildcards.ckpt)),
        arms=ARMS,
        gap=STUDY.encoding.gap,
    shell:
        "python -m dynalign.statistics.effects cell --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subject {wildcards.subject:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap}"
        " --alignment {output.alignment:q} --effects {output.effects:q} &> {log:q}"


rule alignment_table:
    input:
        expand(
            f"{R}/statistics/{{ckpt}}/{{subject}}.alignment.tsv",
            ckpt=STUDY.checkpoints,
            subject=STUDY.subjects,
        ),
    output:
        reported(f"{R}/tables/alignment.tsv", "Tables", table="alignment"),
    log:
        f"{R}/logs/alignment_table.log",
    localrule: True
    params:
        code=code("statistics.effects"),
    shell:
        "python -m dynalign.statistics.effects collect {input:q} --output {output:q} &> {log:q}"


rule removal_effects_table:
    input:
        expand(
            f"{R}/statistics/{{ckpt}}/{{subject}}.effects.tsv",
            ckpt=STUDY.checkpoints,
            subject=STUDY.subjects,
        ),
    output:
        reported(f"{R}/tables/removal_effects.tsv", "Tables", table="removal effects"),
    log:
        f"{R}/logs/removal_effects_table.log",
    localrule: True
    params:
        code=code("statistics.effects"),
        level=STUDY.statistics.alpha,
    shell:
        "python -m dynalign.statistics.effects collect {input:q} --fdr {params.level} --output {output:q} &> {log:q}"


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
        code=code("statistics.effects"),
        options=section(STUDY.statistics, "alpha", "block"),
        step=lambda wildcards: step_of(wildcards.ckpt),
        folder=lambda wildcards, input: str(Path(input[0]).parents[1]),
        layers=lambda wildcards: list(STUDY.layers_of(wildcards.ckpt)),
        subjects=list(STUDY.subjects),
        arms=ARMS,
        gap=STUDY.encoding.gap,
    shell:
        "python -m dynalign.statistics.effects group --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subjects {params.subjects:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap}"
        " --output {output:q} &> {log:q}"


rule removal_effects_group_table:
    input:
        cells=expand(f"{R}/statistics/{{ckpt}}/group.tsv", ckpt=STUDY.checkpoints),
        effects=f"{R}/tables/removal_effects.tsv",
    output:
        reported(f"{R}/tables/removal_effects_group.tsv", "Tables", table="removal effects, all subjects"),
    log:
        f"{R}/logs/removal_effects_group_table.log",
    localrule: True
    params:
        code=code("statistics.effects"),
        level=STUDY.statistics.alpha,
    shell:
        "python -m dynalign.statistics.effects collect-group {input.cells:q} --effects {input.effects:q}"
        " --fdr {params.level} --output {output:q} &> {log:q}"


rule perplexity_table:
    input:
        expand(f"{R}/representation/{{ckpt}}.perplexity.tsv", ckpt=STEPS),
    output:
        reported(f"{R}/tables/perplexity.tsv", "Tables", table="perplexity"),
    log:
        f"{R}/logs/perplexity_table.log",
    localrule: True
    params:
        code=code("statistics.effects"),
    shell:
        "python -m dynalign.statistics.effects collect {input:q} --output {output:q} &> {log:q}"
