# Once there are tokens and labels, folds and classes can be checked: before hours are spent.
rule check:
    input:
        # Runs of each subject's own are laid out anew: another subject's are no reason to remove anything again.
        words=[] if RECORDINGS else HEARD,
        trs=[] if RECORDINGS else TRS,
        tokens=f"{M}/representation/tokens.npz",
        labels=path_of("labels"),
    output:
        f"{M}/check.txt",
    log:
        f"{M}/logs/check.log",
    priority: 200
    localrule: True
    params:
        # Takes `input`, so that it is not tracked: an option that is checked here is checked at the start of later runs.
        study=lambda wildcards, input: study_of(wildcards).model_dump_json(),
        made=lambda wildcards, input: [part for name, path in input.items() if path for part in (f"--{name}", path)],
    shell:
        "python -m dynalign.check --study {params.study:q} {params.made:q} --output {output:q} &> {log:q}"


# Labels and one layer → small affine maps, one per method and property; what a probe reads before and after them.
rule removal:
    input:
        **LAYERS,
        labels=path_of("labels"),
        checked=f"{M}/check.txt",
    output:
        erasers=f"{M}/removal/{{ckpt}}/layer-{{layer}}.npz",
        digest=f"{M}/removal/{{ckpt}}/layer-{{layer}}.npz.sha256",
    log:
        f"{M}/logs/removal/{{ckpt}}.layer-{{layer}}.log",
    resources:
        mem_mb=grows(4000),
    params:
        code=code("removal.fit"),
        properties=PROPERTIES,
        options=section(STUDY.removal),
    shell:
        "python -m dynalign.removal.fit --representation {input.representation:q} --layer {wildcards.layer}"
        " --labels {input.labels:q} --properties {params.properties:q} --options {params.options:q}"
        " --output {output.erasers:q} &> {log:q}"


rule probing:
    input:
        **LAYERS,
        **ERASERS,
        labels=path_of("labels"),
    output:
        table=f"{M}/probing/{{ckpt}}/layer-{{layer}}.tsv",
        right=f"{M}/probing/{{ckpt}}/layer-{{layer}}.npz",
    log:
        f"{M}/logs/probing/{{ckpt}}.layer-{{layer}}.log",
    benchmark:
        f"{M}/benchmarks/probing/{{ckpt}}.layer-{{layer}}.tsv"
    # Probes are many small fits: a second BLAS thread slows them down.
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        code=code("removal.probing"),
        properties=PROPERTIES,
        options=section(STUDY.probing),
        removal=section(STUDY.removal),
        seed=STUDY.seed,
        step=lambda wildcards: step_of(wildcards.ckpt),
    shell:
        "python -m dynalign.removal.probing --representation {input.representation:q} --layer {wildcards.layer}"
        " --labels {input.labels:q} --erasers {input.erasers:q} --properties {params.properties:q}"
        " --options {params.options:q} --removal-options {params.removal:q} --seed {params.seed}"
        " --checkpoint {wildcards.ckpt} --step={params.step} --output {output.table:q} --right {output.right:q} &> {log:q}"
