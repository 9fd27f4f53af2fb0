# Checkpoints → all layers of all words, and perplexity.
#: Page faults are a third of torch's time on a CPU unless freed memory is kept.
MALLOC = "MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456"


if TRAINED:

    if not STUDY.training.texts:

        rule generate_text:
            input:
                lexicon=ancient(STUDY.training.lexicon),
            output:
                f"{R}/model/corpus.txt",
            log:
                f"{R}/logs/generate_text.log",
            conda:
                "../../envs/analysis.yaml"
            resources:
                mem_mb=1000,
                runtime=5,
                gpu=0,
            params:
                code=code("corpus"),
                lexicon=content(STUDY.training.lexicon),
                characters=STUDY.training.characters,
                seed=STUDY.seed,
            shell:
                "python -m dynalign.corpus --lexicon {input.lexicon:q} --characters {params.characters}"
                " --seed {params.seed} --output {output:q} &> {log:q}"

    rule train_model:
        input:
            TRAINING_TEXTS,
        output:
            weights=[f"{R}/model/step-{step}/model.safetensors" for step in STUDY.training.saved_steps],
            tokenizer=f"{R}/model/tokenizer/tokenizer.json",
        log:
            f"{R}/logs/train_model.log",
        benchmark:
            f"{R}/benchmarks/train_model.tsv"
        conda:
            "../../envs/language.yaml"
        threads: STUDY.threads.training
        resources:
            mem_mb=4000,
            runtime=120,
            gpu=0,
        params:
            code=code("training"),
            texts=content(*STUDY.training.texts),
            options=section(STUDY.training, without=("texts", "lexicon", "characters")),
            seed=STUDY.seed,
            folder=lambda wildcards: f"{R}/model",
            malloc=MALLOC,
        shell:
            "{params.malloc} python -m dynalign.training --texts {input:q} --options {params.options:q} --seed {params.seed}"
            " --threads {threads} --output-dir {params.folder:q} &> {log:q}"

elif not LOCAL_MODEL:

    rule fetch_checkpoint:
        output:
            f"{HUB_FOLDER}/{{revision}}/checkpoint.json",
        log:
            f"{R}/logs/fetch_checkpoint/{{revision}}.log",
        wildcard_constraints:
            revision="|".join(re.escape(Path(folder_of(name)).name) for name in STEPS),
        conda:
            "../../envs/language.yaml"
        resources:
            mem_mb=2000,
            runtime=120,
            gpu=0,
        params:
            source=STUDY.model.source,
            folder=lambda wildcards, output: str(Path(output[0]).parent),
        shell:
            "python -m dynalign.checkpoints --source {params.source:q} --revision {wildcards.revision:q}"
            " --output-dir {params.folder:q} &> {log:q}"

    rule fetch_tokenizer:
        output:
            f"{HUB_FOLDER}/tokenizer/checkpoint.json",
        log:
            f"{R}/logs/fetch_tokenizer.log",
        conda:
            "../../envs/language.yaml"
        resources:
            mem_mb=2000,
            runtime=60,
            gpu=0,
        params:
            source=STUDY.model.source,
            folder=lambda wildcards, output: str(Path(output[0]).parent),
        shell:
            "python -m dynalign.checkpoints --source {params.source:q} --revision main --tokenizer-only"
            " --output-dir {params.folder:q} &> {log:q}"


rule tokens:
    input:
        words=f"{R}/story/words.tsv",
        tokenizer=(
            f"{tokenizer_folder()}/{'tokenizer.json' if TRAINED or LOCAL_MODEL else 'checkpoint.json'}"
        ),
    output:
        f"{R}/representation/tokens.npz",
    log:
        f"{R}/logs/tokens.log",
    conda:
        "../../envs/language.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        code=code("tokens"),
        folder=lambda wildcards: tokenizer_folder(),
        context=STUDY.model.context_tokens,
        depth=STUDY.model.depth,
    shell:
        "python -m dynalign.tokens --words {input.words:q} --tokenizer {params.folder:q}"
        " --context-tokens {params.context} --depth {params.depth} --output {output:q} &> {log:q}"


rule representation:
    input:
        tokens=f"{R}/representation/tokens.npz",
        weights=lambda wildcards: file_of(wildcards.ckpt),
    output:
        layers=f"{R}/representation/{{ckpt}}.safetensors",
        perplexity=f"{R}/representation/{{ckpt}}.perplexity.tsv",
    log:
        f"{R}/logs/representation/{{ckpt}}.log",
    benchmark:
        f"{R}/benchmarks/representation/{{ckpt}}.tsv"
    wildcard_constraints:
        ckpt="|".join(STEPS),
    conda:
        "../../envs/language.yaml"
    threads: STUDY.threads.representation
    resources:
        mem_mb=8000,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=on_gpu(STUDY.model.device),
    params:
        code=code("representation"),
        folder=lambda wildcards: folder_of(wildcards.ckpt),
        step=lambda wildcards: step_of(wildcards.ckpt),
        options=section(STUDY.model, "batch_tokens"),
        malloc=MALLOC,
    shell:
        "{params.malloc} python -m dynalign.representation model --tokens {input.tokens:q} --checkpoint {params.folder:q}"
        " --name {wildcards.ckpt} --step {params.step} --options {params.options:q} --threads {threads}"
        " --gpus {resources.gpu} --output {output.layers:q} --perplexity {output.perplexity:q} &> {log:q}"


rule random_baseline:
    input:
        tokens=f"{R}/representation/tokens.npz",
    output:
        f"{R}/representation/random.safetensors",
    log:
        f"{R}/logs/representation/random.log",
    conda:
        "../../envs/language.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
        gpu=0,
    params:
        code=code("representation"),
        seed=STUDY.seed,
    shell:
        "python -m dynalign.representation random --tokens {input.tokens:q} --seed {params.seed}"
        " --output {output:q} &> {log:q}"
