# Labels and one layer → small affine maps, one per method and property.
rule removal:
    input:
        representation=f"{R}/representation/{{ckpt}}.safetensors",
        labels=f"{R}/tables/labels.tsv",
    output:
        f"{R}/removal/{{ckpt}}/layer-{{layer}}.npz",
    log:
        f"{R}/logs/removal/{{ckpt}}.layer-{{layer}}.log",
    resources:
        mem_mb=4000,
    params:
        code=code("removal.fit"),
        properties=PROPERTIES,
        options=section(STUDY.removal),
    shell:
        "python -m dynalign.removal.fit --representation {input.representation:q} --layer {wildcards.layer}"
        " --labels {input.labels:q} --properties {params.properties:q} --options {params.options:q}"
        " --output {output:q} &> {log:q}"
