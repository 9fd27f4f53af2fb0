# A checkpoint's layers, their removals and a subject's responses → scores of every arm. One job for all layers: it
# reads responses once, and a plan of all checkpoints of a suite stays small.
rule encoding:
    input:
        **LAYERS,
        **RESPONSES,
        erasers=erasers("npz"),
        digests_of_erasers=erasers("npz.sha256"),
        labels=path_of("labels"),
        words=HEARD,
        trs=TRS,
        features=[FEATURES] if "nuisance" in STUDY.shared_with else [],
        surprisal=surprisal_of,
    # One file per layer and arm, in one folder that appears whole. Its digests stand for it in the rules that read it:
    # Snakemake knows a folder by its time stamp alone, which a copy does not keep.
    output:
        scores=directory(f"{M}/encoding/{{ckpt}}/{{subject}}"),
        digests=f"{M}/encoding/{{ckpt}}/{{subject}}.sha256",
    log:
        f"{M}/logs/encoding/{{ckpt}}.{{subject}}.log",
    benchmark:
        f"{M}/benchmarks/encoding/{{ckpt}}.{{subject}}.tsv"
    threads: STUDY.threads.encoding
    resources:
        mem_mb=grows(4000),
        runtime=lambda wildcards, attempt: 30 * attempt * (1 + len(study_of(wildcards).layers_of(wildcards.ckpt))),
        gpu=on_gpu(STUDY.encoding.device),
    params:
        code=code("encoding.encode"),
        layers=lambda wildcards: list(study_of(wildcards).layers_of(wildcards.ckpt)),
        properties=PROPERTIES,
        options=section(STUDY.encoding, without=("block_voxels", "device")),
        removal=section(STUDY.removal),
        seed=STUDY.seed,
        shares=section(STUDY.shares),
        delays=lambda wildcards: json.dumps(FEATURE_DELAYS),
        more=lambda wildcards, input: [
            part for name in ("features", "surprisal") for path in input[name] for part in (f"--{name}", path)
        ],
        block=STUDY.statistics.block,
        # Takes `input`, so that it is not tracked: it changes memory, not results.
        block_voxels=lambda wildcards, input: STUDY.encoding.block_voxels,
    shell:
        "python -m dynalign.encoding.encode --representation {input.representation:q} --layers {params.layers}"
        " --labels {input.labels:q} --erasers {input.erasers:q} --words {input.words:q} --trs {input.trs:q}"
        " --responses {input.responses:q} --properties {params.properties:q} --options {params.options:q}"
        " --removal-options {params.removal:q} --seed {params.seed} --block {params.block}"
        " --threads {threads} --gpus {resources.gpu} --block-voxels {params.block_voxels}"
        " --output-dir {output.scores:q} --digests {output.digests:q}"
        " --shares {params.shares:q} --feature-delays {params.delays:q} {params.more:q} &> {log:q}"
