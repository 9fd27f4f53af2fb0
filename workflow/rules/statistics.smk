# Scores → alignment, effects of removal, by subject and over subjects; tables of cells → tables of the study.
from dynalign.models.competence import names_of

#: What the statistics of a checkpoint's scores take.
CELL = {
    "step": lambda wildcards: step_of(wildcards.ckpt),
    "folder": folder_of_scores,
    "layers": lambda wildcards: list(study_of(wildcards).layers_of(wildcards.ckpt)),
    "arms": ARMS,
    "gap": STUDY.encoding.gap,
}


rule cell_statistics:
    input:
        scores,
    output:
        alignment=f"{M}/statistics/{{ckpt}}/{{subject}}.alignment.tsv",
        effects=f"{M}/statistics/{{ckpt}}/{{subject}}.effects.tsv",
    log:
        f"{M}/logs/cell_statistics/{{ckpt}}.{{subject}}.log",
    resources:
        mem_mb=grows(4000),
    params:
        **CELL,
        code=code("statistics.effects"),
        options=section(STUDY.statistics),
    shell:
        "python -m dynalign.statistics.effects --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subject {wildcards.subject:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap}"
        " --alignment {output.alignment:q} --effects {output.effects:q} &> {log:q}"


rule group_statistics:
    input:
        scores,
        trs=ALL_TRS,
    output:
        f"{M}/statistics/{{ckpt}}/group.tsv",
    log:
        f"{M}/logs/group_statistics/{{ckpt}}.log",
    resources:
        mem_mb=grows(4000),
    params:
        **CELL,
        code=code("statistics.group", "cells"),
        options=section(STUDY.statistics, "alpha", "block"),
        subjects=list(STUDY.subjects),
        shared=lambda wildcards, input: ["--trs", *input.trs] if input.trs else [],
    shell:
        "python -m dynalign.statistics.group cells --checkpoint {wildcards.ckpt} --step={params.step}"
        " --subjects {params.subjects:q} --folder {params.folder:q} --layers {params.layers}"
        " --arms {params.arms:q} --options {params.options:q} --gap {params.gap} {params.shared:q}"
        " --output {output:q} &> {log:q}"


#: Tables of shares of variance of a checkpoint: of each subject and, of several, of their mean.
SHARES = ["{subject}.shares", *(["group_shares"] if len(STUDY.subjects) > 1 else [])] if STUDY.shared_with else []

for file in SHARES:

    rule:
        name:
            f"{file.removeprefix('{subject}.')}_statistics"
        input:
            scores,
            trs=[] if "{subject}" in file else ALL_TRS,
        output:
            f"{M}/statistics/{{ckpt}}/{file}.tsv",
        log:
            f"{M}/logs/shares_statistics/{{ckpt}}.{file}.log",
        resources:
            mem_mb=grows(4000),
        params:
            **{key: value for key, value in CELL.items() if key != "arms"},
            code=code("statistics.shares"),
            options=section(STUDY.statistics, "alpha", "block"),
            features=list(STUDY.shared_with),
            subjects=subjects_of,
            shared=lambda wildcards, input: ["--trs", *input.trs] if input.trs else [],
        shell:
            "python -m dynalign.statistics.shares --checkpoint {wildcards.ckpt} --step={params.step}"
            " --subjects {params.subjects:q} --folder {params.folder:q} --layers {params.layers}"
            " --features {params.features:q} --options {params.options:q} --gap {params.gap} {params.shared:q}"
            " --output {output:q} &> {log:q}"


rule removal_effects_group_table:
    input:
        cells=cells_of("statistics/{ckpt}/group.tsv"),
        effects=path_of("removal_effects"),
    output:
        table("removal_effects_group", "removal effects, all subjects"),
    log:
        f"{M}/logs/removal_effects_group_table.log",
    localrule: True
    params:
        code=code("statistics.group", "collect"),
        level=STUDY.statistics.alpha,
    shell:
        "python -m dynalign.statistics.group collect --tables {input.cells:q} --effects {input.effects:q}"
        " --fdr {params.level} --output {output:q} &> {log:q}"


#: Tables put together from those of cells: label in the report, tables of cells, whether p is adjusted over all rows.
COLLECTED = {
    "perplexity": ("perplexity", cells_of("representation/{ckpt}.perplexity.tsv", checkpoints=steps_of), False),
    "probing": ("probing", cells_of("probing/{ckpt}/layer-{layer}.tsv"), False),
    "alignment": ("alignment", cells_of("statistics/{ckpt}/{subject}.alignment.tsv"), False),
    "removal_effects": ("removal effects", cells_of("statistics/{ckpt}/{subject}.effects.tsv"), True),
}
if STUDY.shared_with:
    cells = cells_of(*(f"statistics/{{ckpt}}/{file}.tsv" for file in SHARES))
    COLLECTED["shares"] = ("shares of variance", cells, True)
if STUDY.rois is not None:
    COLLECTED["roi_alignment"] = ("alignment by region", cells_of("rois/{subject}.alignment.tsv"), False)
    COLLECTED["roi_effects"] = ("removal effects by region", cells_of("rois/{subject}.effects.tsv"), True)
if STUDY.noise_ceiling.compute:
    COLLECTED["noise_ceiling"] = ("noise ceiling", cells_of("ceiling/{subject}.ceiling.tsv"), False)
    COLLECTED["alignment_to_ceiling"] = ("alignment / noise ceiling", cells_of("ceiling/{subject}.ratio.tsv"), False)

for name, (label, cells, adjusted) in COLLECTED.items():

    rule:
        name:
            f"{name}_table"
        input:
            cells,
        output:
            table(name, label),
        log:
            f"{M}/logs/{name}_table.log",
        localrule: True
        params:
            code=code("tables.collect"),
            fdr=["--fdr", str(STUDY.statistics.alpha)] if adjusted else [],
        shell:
            "python -m dynalign.tables.collect --tables {input:q} {params.fdr:q} --output {output:q} &> {log:q}"


rule contrasts_table:
    input:
        scores,
        trs=ALL_TRS or [TRS],
        words=HEARD.replace("{subject}", STUDY.subjects[0]),
        surprisal=cells_of("representation/{ckpt}.surprisal.tsv", checkpoints=steps_of),
        probing=cells_of("probing/{ckpt}/layer-{layer}.npz", checkpoints=steps_of),
    output:
        contrasts=table("contrasts", "differences between checkpoints"),
        half_rises=f"{M}/statistics/half_rises.tsv",
    log:
        f"{M}/logs/contrasts_table.log",
    resources:
        mem_mb=grows(4000),
    params:
        code=code("statistics.contrasts"),
        folder=folder_of_scores,
        steps=of_model(lambda study: list(study.model.steps)),
        layers=of_model(lambda study: list(study.model.layers)),
        subjects=list(STUDY.subjects),
        baselines=of_model(
            lambda study: [f"{name}/layer-{layer}" for name in study.baselines for layer in study.layers_of(name)]
        ),
        unique=["--unique"] if "nuisance" in STUDY.shared_with else [],
        gap=STUDY.encoding.gap,
        seed=STUDY.seed,
        options=section(STUDY.statistics, "alpha", "block"),
        representation=lambda wildcards, input: str(Path(input.surprisal[0]).parent),
        probing=lambda wildcards, input: str(Path(input.probing[0]).parents[1]),
    shell:
        "python -m dynalign.statistics.contrasts --folder {params.folder:q} --steps {params.steps:q}"
        " --layers {params.layers} --subjects {params.subjects:q} --baselines {params.baselines:q} {params.unique:q}"
        " --gap {params.gap} --seed {params.seed} --options {params.options:q}"
        " --trs {input.trs:q} --words {input.words:q} --representation {params.representation:q}"
        " --probing {params.probing:q} --output {output.contrasts:q} --half-rises {output.half_rises:q} &> {log:q}"


#: Tables on training as a whole: sub-command, label in the report, what is read, options.
TEST = ["--level", STUDY.statistics.alpha, "--seed", STUDY.seed]
EMERGENCE = {
    "emergence": (
        "steps",
        "emergence",
        [
            f"{M}/statistics/half_rises.tsv",
            *map(path_of, ("alignment", "contrasts", "labels", "perplexity", "probing")),
        ],
        [],
    ),
    "perplexity_alignment": (
        "correlation",
        "perplexity and alignment",
        [path_of("alignment"), path_of("perplexity")],
        TEST,
    ),
}

for name, (entry, label, paths, options) in EMERGENCE.items():

    rule:
        name:
            f"{name}_table"
        input:
            **{Path(path).stem: path for path in paths},
        output:
            table(name, label),
        log:
            f"{M}/logs/{name}_table.log",
        localrule: True
        params:
            code=code("statistics.emergence", entry),
            entry=entry,
            tables=by_option,
            options=options,
        shell:
            "python -m dynalign.statistics.emergence {params.entry} {params.tables:q} {params.options:q}"
            " --output {output:q} &> {log:q}"


if STUDY.competence is not None:

    rule competence_table:
        input:
            alignment=path_of("alignment"),
            competence=ancient(given(STUDY.competence)),
        output:
            scores=table("competence", "competence"),
            related=table("competence_alignment", "competence and alignment"),
        log:
            f"{M}/logs/competence_table.log",
        localrule: True
        params:
            code=code("statistics.competence"),
            models=of_model(names_of),
            content=content(STUDY.competence),
            options=TEST,
        shell:
            "python -m dynalign.statistics.competence --alignment {input.alignment:q} --competence {input.competence:q}"
            " --models {params.models:q} {params.options:q} --scores {output.scores:q} --output {output.related:q} &> {log:q}"


if STUDY.models:

    rule models_table:
        input:
            lambda wildcards: [path for name in STUDY.models for path in scores({"model": name})],
            alignment=for_models(path_of("alignment")),
            tokens=for_models(f"{M}/representation/tokens.npz"),
            trs=ALL_TRS or [TRS],
            words=HEARD.replace("{subject}", STUDY.subjects[0]),
            surprisal=of_every_model("representation/{ckpt}.surprisal.tsv"),
            probing=of_every_model("probing/{ckpt}/layer-{layer}.npz"),
        output:
            models=table("models", "means over models"),
            curves=table("model_curves", "curves of models"),
            contrasts=table("model_contrasts", "differences between models"),
            half_rises=table("model_half_rises", "half-rises over models"),
        log:
            f"{R}/logs/models_table.log",
        resources:
            mem_mb=grows(4000),
        params:
            code=code("statistics.models"),
            names=list(STUDY.models),
            folders=lambda wildcards, input: [str(Path(path).parents[1]) for path in input.alignment],
            subjects=list(STUDY.subjects),
            unique=["--unique"] if "nuisance" in STUDY.shared_with else [],
            gap=STUDY.encoding.gap,
            seed=STUDY.seed,
            options=section(STUDY.statistics, "alpha", "block"),
            written=lambda wildcards, output: by_option(wildcards, output),
        shell:
            "python -m dynalign.statistics.models --names {params.names:q} --folders {params.folders:q}"
            " --subjects {params.subjects:q} {params.unique:q} --gap {params.gap} --seed {params.seed}"
            " --options {params.options:q} --trs {input.trs:q} --words {input.words:q} {params.written:q} &> {log:q}"
