# Words → parse → labels.
#: The user's own parse and tables of labels; else the record of models that are fetched. Models that were there are no
#: input.
OWN_PARSE = [STUDY.annotation.file] if STUDY.annotation.file else []
OWN_LABELS = [entry.table for entry in STUDY.properties.values() if entry.table is not None]
FETCHED_MODELS = [f"{STUDY.annotation.models}/fetched.json"] if STUDY.annotation.download else []


if STUDY.annotation.download:

    rule fetch_stanza:
        output:
            given(*FETCHED_MODELS),
        log:
            f"{R}/logs/fetch_stanza.log",
        retries: 2
        localrule: True
        params:
            models=STUDY.annotation.models,
            options=section(STUDY.annotation, "package", "processors"),
        shell:
            "python -m dynalign.stimulus.parser --download-only --models {params.models:q} --options {params.options:q}"
            " --output {output:q} &> {log:q}"


rule annotate:
    input:
        words=f"{R}/story/words.tsv",
        parse=given(*(OWN_PARSE or FETCHED_MODELS)),
    output:
        f"{R}/annotation/story.conllu",
    log:
        f"{R}/logs/annotate.log",
    benchmark:
        f"{R}/benchmarks/annotate.tsv"
    resources:
        mem_mb=grows(6000),
        runtime=grows(60),
    params:
        code=code("stimulus.parser"),
        options=section(STUDY.annotation, "package", "processors", "file"),
        models=lambda wildcards: STUDY.annotation.models,
        content=content(*OWN_PARSE),
    shell:
        "python -m dynalign.stimulus.parser --words {input.words:q} --models {params.models:q}"
        " --options {params.options:q} --output {output:q} &> {log:q}"


rule properties:
    input:
        words=f"{R}/story/words.tsv",
        annotation=f"{R}/annotation/story.conllu",
        tables=ancient(given(*OWN_LABELS)),
    output:
        labels=table("labels", "labels"),
        counts=table("class_counts", "class counts"),
        correlations=table("label_correlations", "label correlations"),
    log:
        f"{R}/logs/properties.log",
    localrule: True
    params:
        code=code("stimulus.properties"),
        properties=lambda wildcards: json.dumps(STUDY.model_dump(mode="json")["properties"]),
        seed=STUDY.seed,
        content=content(*OWN_LABELS),
    shell:
        "python -m dynalign.stimulus.properties --words {input.words:q} --annotation {input.annotation:q}"
        " --properties {params.properties:q} --seed {params.seed} --labels {output.labels:q}"
        " --class-counts {output.counts:q} --correlations {output.correlations:q} &> {log:q}"
