# One layer, its removals and a subject's responses → scores of every arm.
rule brain:
    input:
        trs=f"{R}/story/trs.tsv",
        array=(
            [f"{STUDY.story.folder}/data_subject_{{subject}}.npy{RECORDED}"] if STUDY.story.layout == "arrays" else []
        ),
        images=(
            [STUDY.brain.images.replace("{run}", str(number + 1)) for number in range(len(STUDY.story.trs))]
            + [STUDY.brain.mask]
            if STUDY.story.layout == "table"
            else []
        ),
        voxels=STUDY.brain.voxels or [],
    output:
        f"{R}/brain/{{subject}}.npy",
    log:
        f"{R}/logs/brain/{{subject}}.log",
    # Responses that do not fit the story stop a study before hours are spent on its representations.
    priority: 100
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=8000,
    params:
        code=code("responses.recordings"),
        options=section(STUDY.brain),
        array=lambda wildcards, input: [path.removesuffix(RECORDED) for path in input.array],
    shell:
        "python -m dynalign.responses.recordings --trs {input.trs:q} --subject {wildcards.subject:q} --array {params.array:q}"
        " --options {params.options:q} --output {output:q} &> {log:q}"


rule encoding:
    input:
        representation=f"{R}/representation/{{ckpt}}.safetensors",
        labels=f"{R}/tables/labels.tsv",
        erasers=f"{R}/removal/{{ckpt}}/layer-{{layer}}.npz",
        words=f"{R}/story/words.tsv",
        trs=f"{R}/story/trs.tsv",
        responses=f"{R}/brain/{{subject}}.npy",
    # One file per arm, in one folder that appears whole: of tens of thousands of cells, Snakemake tracks the folders.
    output:
        directory(f"{R}/encoding/{{ckpt}}/layer-{{layer}}/{{subject}}"),
    log:
        f"{R}/logs/encoding/{{ckpt}}.layer-{{layer}}.{{subject}}.log",
    benchmark:
        f"{R}/benchmarks/encoding/{{ckpt}}.layer-{{layer}}.{{subject}}.tsv"
    conda:
        "../../envs/language.yaml"
    threads: STUDY.threads.encoding
    resources:
        mem_mb=4000,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=on_gpu(STUDY.encoding.device),
    params:
        code=code("encoding.encode"),
        properties=PROPERTIES,
        options=section(STUDY.encoding, without=("block_voxels", "device")),
        removal=section(STUDY.removal),
        seed=STUDY.seed,
        # Takes `input`, so that it is not tracked: it changes memory, not results.
        block_voxels=lambda wildcards, input: STUDY.encoding.block_voxels,
    shell:
        "python -m dynalign.encoding.encode --representation {input.representation:q} --layer {wildcards.layer}"
        " --labels {input.labels:q} --erasers {input.erasers:q} --words {input.words:q} --trs {input.trs:q}"
        " --responses {input.responses:q} --properties {params.properties:q} --options {params.options:q}"
        " --removal-options {params.removal:q} --seed {params.seed}"
        " --threads {threads} --gpus {resources.gpu} --block-voxels {params.block_voxels}"
        " --output-dir {output:q} &> {log:q}"
