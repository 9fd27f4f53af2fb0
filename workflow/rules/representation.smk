# Checkpoints → all layers of all words, and perplexity.
#: Page faults are a third of torch's time on a CPU unless freed memory is kept.
MALLOC = "MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456"


if TRAINED:

    if not STUDY.training.texts:

        rule generate_text:
            output:
                f"{R}/model/corpus.txt",
            log:
                f"{R}/logs/generate_text.log",
            localrule: True
            params:
                code=code("datasets.training_text"),
                grammar=lambda wildcards: STUDY.training.grammar,
                rules=content(STUDY.training.grammar),
                characters=STUDY.training.characters,
                seed=STUDY.seed,
            shell:
                "python -m dynalign.datasets.training_text --grammar {params.grammar:q} --characters {params.characters}"
                " --seed {params.seed} --output {output:q} &> {log:q}"

    rule train_model:
        input:
            TRAINING_TEXTS,
        output:
            weights=[f"{M}/model/step-{step}/model.safetensors" for step in STUDY.training.saved_steps],
            tokenizer=f"{M}/model/tokenizer/tokenizer.json",
        log:
            f"{M}/logs/train_model.log",
        benchmark:
            f"{M}/benchmarks/train_model.tsv"
        threads: STUDY.threads.training
        resources:
            mem_mb=grows(4000),
            runtime=grows(120),
        params:
            code=code("models.training"),
            texts=content(*STUDY.training.texts),
            options=section(STUDY.training, without=("texts", "grammar", "characters")),
            seed=of_model(lambda study: study.training_seed),
            folder=lambda wildcards, output: str(Path(output.tokenizer).parents[1]),
            malloc=MALLOC,
        shell:
            "{params.malloc} python -m dynalign.models.training --texts {input:q} --options {params.options:q} --seed {params.seed}"
            " --threads {threads} --output-dir {params.folder:q} &> {log:q}"

elif HUB:

    #: Folder of downloads → what is fetched into it.
    FETCHED = {
        in_downloads(folder_of(study, f"step-{step}")): (study, step) for study in HUB for step in study.model.steps
    }
    TOKENIZERS = {in_downloads(tokenizer_of(study)): study for study in HUB}

    # What is not what it says stops a study before its download: no download begins beside a job of all cores. The
    # downloads do not depend on it, as they are shared by studies; and new code does not ask the hub again.
    rule audit:
        output:
            table("audit", "files of the checkpoints", models=[name for name in STUDY.models if STUDY.of(name) in HUB]),
        log:
            f"{M}/logs/audit.log",
        priority: 1000
        localrule: True
        threads: 1024
        params:
            model=section(lambda study: study.model, "source", "revision", "commits", "weights", "steps"),
        shell:
            "python -m dynalign.models.audit --model {params.model:q} --output {output:q} &> {log:q}"

    rule fetch_checkpoint:
        output:
            directory(given(f"{model_config.DOWNLOADS}/{{fetched}}")),
        log:
            f"{R}/logs/fetch_checkpoint/{{fetched}}.log",
        wildcard_constraints:
            fetched="|".join(map(re.escape, FETCHED)),
        cache: CACHED
        localrule: True
        params:
            source=lambda wildcards: FETCHED[wildcards.fetched][0].model.source,
            revision=lambda wildcards: revision_of(*FETCHED[wildcards.fetched]),
            commit=lambda wildcards: pinned(*FETCHED[wildcards.fetched]),
            weights=lambda wildcards: FETCHED[wildcards.fetched][0].model.weights,
        shell:
            "python -m dynalign.models.checkpoints fetch --source {params.source:q} --revision {params.revision:q}"
            " {params.commit} --weights {params.weights} --output-dir {output:q} &> {log:q}"

    rule fetch_tokenizer:
        output:
            directory(given(f"{model_config.DOWNLOADS}/{{tokenizer}}")),
        log:
            f"{R}/logs/fetch_tokenizer/{{tokenizer}}.log",
        wildcard_constraints:
            tokenizer="|".join(map(re.escape, TOKENIZERS)),
        cache: CACHED
        priority: 200
        localrule: True
        params:
            source=lambda wildcards: TOKENIZERS[wildcards.tokenizer].model.source,
            commit=lambda wildcards: pinned(TOKENIZERS[wildcards.tokenizer], "tokenizer"),
        shell:
            "python -m dynalign.models.checkpoints fetch --source {params.source:q} --revision main {params.commit}"
            " --tokenizer-only --output-dir {output:q} &> {log:q}"


rule checkpoints_table:
    input:
        checkpoints=checkpoint_files,
        tokenizer=tokenizer_file,
    output:
        table("checkpoints", "checkpoints"),
    log:
        f"{M}/logs/checkpoints_table.log",
    # It stops a study whose checkpoints are not what they say: before hours are spent on them.
    priority: 100
    localrule: True
    params:
        code=code("models.checkpoints"),
        names=of_model(steps_of),
        folders=lambda wildcards, input: (
            [str(Path(path).parent) for path in input.checkpoints] if TRAINED else folders_of(study_of(wildcards))
        ),
        content=content_of_checkpoints,
        weights=of_model(lambda study: study.model.weights),
    shell:
        "python -m dynalign.models.checkpoints compare --names {params.names} --folders {params.folders:q}"
        " --weights {params.weights} --output {output:q} &> {log:q}"


rule tokens:
    input:
        words=f"{R}/story/words.tsv",
        tokenizer=tokenizer_file,
    output:
        f"{M}/representation/tokens.npz",
    log:
        f"{M}/logs/tokens.log",
    # It stops a study whose model cannot be used, by its config.json and tokenizer: before weights are fetched.
    priority: 200
    localrule: True
    params:
        code=code("models.tokens"),
        context=of_model(lambda study: study.model.context_tokens),
        bos=of_model(lambda study: study.model.bos),
        depth=of_model(lambda study: study.model.depth),
    shell:
        "python -m dynalign.models.tokens --words {input.words:q} --tokenizer {input.tokenizer:q}"
        " --context-tokens {params.context} --bos {params.bos} --depth {params.depth} --output {output:q} &> {log:q}"


rule representation:
    input:
        tokens=f"{M}/representation/tokens.npz",
        checkpoint=checkpoint_files,
    output:
        vectors=f"{M}/representation/{{ckpt}}.safetensors",
        layers=f"{M}/representation/{{ckpt}}.layers.tsv",
        perplexity=f"{M}/representation/{{ckpt}}.perplexity.tsv",
        surprisal=f"{M}/representation/{{ckpt}}.surprisal.tsv",
        digest=f"{M}/representation/{{ckpt}}.safetensors.sha256",
    log:
        f"{M}/logs/representation/{{ckpt}}.log",
    wildcard_constraints:
        ckpt="|".join(dict.fromkeys(name for study in MODELS for name in steps_of(study))),
    cache: CACHED
    threads: STUDY.threads.representation
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
        gpu=of_model(lambda study: on_gpu(study.model.device)),
    params:
        code=code("models.representation"),
        step=lambda wildcards: step_of(wildcards.ckpt),
        options=section(lambda study: study.model, "batch_tokens", "precision", "storage", "weights"),
        content=content_of_checkpoints,
        malloc=MALLOC,
    shell:
        "{params.malloc} python -m dynalign.models.representation --tokens {input.tokens:q} --checkpoint {input.checkpoint[0]:q}"
        " --name {wildcards.ckpt} --step {params.step} --options {params.options:q} --threads {threads}"
        " --gpus {resources.gpu} --output {output.vectors:q} --layers {output.layers:q}"
        " --perplexity {output.perplexity:q} --surprisal {output.surprisal:q} &> {log:q}"


if STUDY.baselines:

    rule baseline:
        input:
            words=f"{R}/story/words.tsv",
            # Of words in runs that all subjects share.
            trs=[] if RECORDINGS else TRS,
            tokens=f"{M}/representation/tokens.npz",
            tables=lambda wildcards: ancient(given(*(OWN_FEATURES[name] for name in own_feature(wildcards)))),
        output:
            vectors=f"{M}/representation/{{baseline}}.safetensors",
            digest=f"{M}/representation/{{baseline}}.safetensors.sha256",
        log:
            f"{M}/logs/representation/{{baseline}}.log",
        wildcard_constraints:
            baseline="|".join(map(re.escape, STUDY.baselines)),
        resources:
            mem_mb=grows(4000),
        params:
            code=code("models.baselines"),
            trs=lambda wildcards, input: ["--trs", input.trs] if input.trs else [],
            tr=lambda wildcards: length_of_trs() if wildcards.baseline in ("controls", *OWN_FEATURES) else [],
            features=lambda wildcards: own_features(*own_feature(wildcards))(wildcards),
            content=lambda wildcards: [fingerprint(OWN_FEATURES[name]) for name in own_feature(wildcards)],
            language=STUDY.story.language,
            seed=STUDY.seed,
        shell:
            "python -m dynalign.models.baselines --kind {wildcards.baseline} --words {input.words:q} {params.trs:q}"
            " {params.tr:q} --tokens {input.tokens:q} --features {params.features:q} --language {params.language:q} --seed {params.seed}"
            " --output {output.vectors:q} &> {log:q}"
