# Words → parse → labels.
#: What stands for the models: the record of a download, or what a folder of models holds.
STANZA_MODELS = f"{STUDY.annotation.models}/{'fetched' if STUDY.annotation.download else 'resources'}.json"


if STUDY.annotation.download:

    rule fetch_stanza:
        output:
            STANZA_MODELS,
        log:
            f"{R}/logs/fetch_stanza.log",
        retries: 2
        localrule: True
        conda:
            "../../envs/language.yaml"
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            models=STUDY.annotation.models,
            options=section(STUDY.annotation, "package", "processors"),
        shell:
            "python -m dynalign.stimulus.parser --download-only --models {params.models:q} --options {params.options:q}"
            " --output {output:q} &> {log:q}"


rule annotate:
    input:
        words=f"{R}/story/words.tsv",
        parse=(
            STUDY.annotation.file
            if STUDY.annotation.file is not None
            else STANZA_MODELS if STUDY.annotation.download else ancient(STANZA_MODELS)
        ),
    output:
        f"{R}/annotation/story.conllu",
    log:
        f"{R}/logs/annotate.log",
    benchmark:
        f"{R}/benchmarks/annotate.tsv"
    conda:
        "../../envs/language.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        code=code("stimulus.parser"),
        options=section(STUDY.annotation, "package", "processors", "file"),
        models=lambda wildcards: STUDY.annotation.models,
    shell:
        "python -m dynalign.stimulus.parser --words {input.words:q} --models {params.models:q}"
        " --options {params.options:q} --output {output:q} &> {log:q}"


rule properties:
    input:
        words=f"{R}/story/words.tsv",
        annotation=f"{R}/annotation/story.conllu",
        tables=[entry.table for entry in STUDY.properties.values() if entry.table is not None],
    output:
        labels=table("labels", "labels"),
        counts=table("class_counts", "class counts"),
        correlations=table("label_correlations", "label correlations"),
    log:
        f"{R}/logs/properties.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("stimulus.properties"),
        # A function, because Snakemake would expand braces in a plain string: a class may be called anything.
        properties=lambda wildcards: json.dumps(
            {name: entry.model_dump(mode="json") for name, entry in STUDY.properties.items()}
        ),
        seed=STUDY.seed,
    shell:
        "python -m dynalign.stimulus.properties --words {input.words:q} --annotation {input.annotation:q}"
        " --properties {params.properties:q} --seed {params.seed} --labels {output.labels:q}"
        " --class-counts {output.counts:q} --correlations {output.correlations:q} &> {log:q}"
