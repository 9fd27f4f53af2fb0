# Scores → brain images, regions of interest, noise ceiling. None of these is an input of an encoding.

PICTURES = ("png", "pdf", "svg")

#: Arrays have no coordinates, so they get no images (METHOD section 2.2).
MAPS = (
    expand(f"{R}/maps/{{subject}}.nii.gz", subject=STUDY.subjects)
    + expand(f"{R}/figures/{{kind}}-{{subject}}.png", kind=("map", "effect-map"), subject=STUDY.subjects)
    if STUDY.story.layout == "table"
    else []
)
ROI_RESULTS = (
    [
        f"{R}/tables/roi_alignment.tsv",
        f"{R}/tables/roi_effects.tsv",
        f"{R}/figures/roi-alignment.png",
    ]
    if STUDY.rois is not None
    else []
)
CEILING_RESULTS = (
    [
        f"{R}/tables/noise_ceiling.tsv",
        f"{R}/tables/alignment_to_ceiling.tsv",
        f"{R}/figures/noise-ceiling.png",
    ]
    if STUDY.noise_ceiling.compute
    else []
)


rule score_maps:
    input:
        alignment=f"{R}/tables/alignment.tsv",
        scores=scores_of_subject(),
        mask=given(*MASK),
    output:
        score=f"{R}/maps/{{subject}}.nii.gz",
        alpha=f"{R}/maps/alpha/{{subject}}.nii.gz",
        effects=f"{R}/maps/effects/{{subject}}.nii.gz",
        index=f"{R}/maps/{{subject}}.tsv",
    log:
        f"{R}/logs/score_maps/{{subject}}.log",
    localrule: True
    params:
        code=code("statistics.maps"),
        folder=lambda wildcards, input: str(Path(input.scores[0]).parents[2]),
    shell:
        "python -m dynalign.statistics.maps --subject {wildcards.subject:q} --alignment {input.alignment:q}"
        " --folder {params.folder:q} --mask {input.mask:q} --score {output.score:q} --alpha {output.alpha:q}"
        " --effects {output.effects:q} --index {output.index:q} &> {log:q}"


rule figure_score_map:
    input:
        image=f"{R}/maps/{{subject}}.nii.gz",
        index=f"{R}/maps/{{subject}}.tsv",
    output:
        reported(f"{R}/figures/map-{{subject}}.png", "Maps of the brain", shows="scores", subject="{subject}"),
        [f"{R}/figures/map-{{subject}}.{suffix}" for suffix in PICTURES[1:]],
    log:
        f"{R}/logs/figures/map-{{subject}}.log",
    localrule: True
    resources:
        mem_mb=4000,
    params:
        code=code("figures.brain_images"),
    shell:
        "python -m dynalign.figures.brain_images scores --subject {wildcards.subject:q} --image {input.image:q}"
        " --index {input.index:q} --output {output:q} &> {log:q}"


rule figure_effect_map:
    input:
        image=f"{R}/maps/effects/{{subject}}.nii.gz",
        index=f"{R}/maps/{{subject}}.tsv",
        effects=f"{R}/tables/removal_effects.tsv",
    output:
        reported(
            f"{R}/figures/effect-map-{{subject}}.png",
            "Maps of the brain",
            shows="effects of removal",
            subject="{subject}",
        ),
        [f"{R}/figures/effect-map-{{subject}}.{suffix}" for suffix in PICTURES[1:]],
    log:
        f"{R}/logs/figures/effect-map-{{subject}}.log",
    localrule: True
    resources:
        mem_mb=4000,
    params:
        code=code("figures.brain_images"),
        removal=STUDY.removal.headline,
        properties=list(STUDY.properties),
    shell:
        "python -m dynalign.figures.brain_images effects --subject {wildcards.subject:q} --image {input.image:q}"
        " --index {input.index:q} --effects {input.effects:q} --removal {params.removal} --properties {params.properties:q}"
        " --output {output:q} &> {log:q}"


if STUDY.rois is not None:

    REGIONS = [path for _, path in STUDY.rois.files("{subject}")]

    rule rois:
        input:
            regions=given(*REGIONS),
            space=given(f"{STUDY.story.folder}/data_subject_{{subject}}.npy" if ARRAY else STUDY.brain.mask),
            kept=given(*VOXELS),
        output:
            f"{R}/rois/{{subject}}.npz",
        log:
            f"{R}/logs/rois/{{subject}}.log",
        # Wrong regions are to be known before hours of encoding are spent, so this goes first.
        priority: 100
        localrule: True
        params:
            code=code("statistics.regions", "voxels"),
            options=section(STUDY.rois),
            content=content(*([] if STUDY.simulation else REGIONS), *VOXELS),
            space="--array" if STUDY.story.layout == "arrays" else "--mask",
        shell:
            "python -m dynalign.statistics.regions voxels --subject {wildcards.subject:q} --options {params.options:q}"
            " {params.space} {input.space:q} --kept {input.kept:q} --output {output:q} &> {log:q}"

    rule roi_statistics:
        input:
            alignment=f"{R}/tables/alignment.tsv",
            readable=f"{R}/tables/removal_effects.tsv",
            scores=scores_of_subject(),
            rois=f"{R}/rois/{{subject}}.npz",
        output:
            alignment=f"{R}/rois/{{subject}}.alignment.tsv",
            effects=f"{R}/rois/{{subject}}.effects.tsv",
        log:
            f"{R}/logs/roi_statistics/{{subject}}.log",
        resources:
            runtime=60,
        params:
            code=code("statistics.regions", "subject"),
            options=section(STUDY.statistics),
            gap=STUDY.encoding.gap,
            folder=lambda wildcards, input: str(Path(input.scores[0]).parents[2]),
        shell:
            "python -m dynalign.statistics.regions subject --subject {wildcards.subject:q} --alignment {input.alignment:q}"
            " --folder {params.folder:q} --rois {input.rois:q} --readable {input.readable:q} --options {params.options:q}"
            " --gap {params.gap} --alignment-output {output.alignment:q} --effects-output {output.effects:q} &> {log:q}"

    rule figure_roi_alignment:
        input:
            f"{R}/tables/roi_alignment.tsv",
        output:
            reported(f"{R}/figures/roi-alignment.png", "Maps of the brain", shows="regions", subject="all"),
            [f"{R}/figures/roi-alignment.{suffix}" for suffix in (*PICTURES[1:], "tsv")],
        log:
            f"{R}/logs/figures/roi-alignment.log",
        localrule: True
        params:
            code=code("figures.brain_images"),
            options=section(STUDY.figures),
        shell:
            "python -m dynalign.figures.brain_images rois --alignment {input:q} --options {params.options:q}"
            " --output {output:q} &> {log:q}"


if STUDY.noise_ceiling.compute:

    rule noise_ceiling:
        input:
            responses=f"{R}/brain/{{subject}}.npy",
            others=lambda wildcards: expand(
                f"{R}/brain/{{subject}}.npy",
                subject=[name for name in STUDY.subjects if name != wildcards.subject],
            ),
            trs=f"{R}/story/trs.tsv",
        output:
            f"{R}/ceiling/{{subject}}.npz",
        log:
            f"{R}/logs/noise_ceiling/{{subject}}.log",
        benchmark:
            f"{R}/benchmarks/noise_ceiling/{{subject}}.tsv"
        threads: STUDY.threads.encoding
        resources:
            mem_mb=4000,
            runtime=lambda wildcards, attempt: 60 * attempt,
        params:
            code=code("statistics.ceiling", "predict"),
            encoding=section(STUDY.encoding, "alphas", "folds", "inner_folds", "gap"),
        shell:
            "python -m dynalign.statistics.ceiling predict --responses {input.responses:q} --others {input.others:q}"
            " --trs {input.trs:q} --encoding {params.encoding:q} --threads {threads} --output {output:q} &> {log:q}"

    rule ceiling_statistics:
        input:
            ceiling=f"{R}/ceiling/{{subject}}.npz",
            alignment=f"{R}/tables/alignment.tsv",
            scores=scores_of_subject(),
        output:
            ceiling=f"{R}/ceiling/{{subject}}.ceiling.tsv",
            ratio=f"{R}/ceiling/{{subject}}.ratio.tsv",
        log:
            f"{R}/logs/ceiling_statistics/{{subject}}.log",
        resources:
            runtime=60,
        params:
            code=code("statistics.ceiling", "ratio"),
            options=section(STUDY.noise_ceiling),
            statistics=section(STUDY.statistics),
            gap=STUDY.encoding.gap,
            others=len(STUDY.subjects) - 1,
            folder=lambda wildcards, input: str(Path(input.scores[0]).parents[2]),
        shell:
            "python -m dynalign.statistics.ceiling ratio --subject {wildcards.subject:q} --n-others {params.others}"
            " --ceiling {input.ceiling:q} --alignment {input.alignment:q} --folder {params.folder:q}"
            " --options {params.options:q} --statistics {params.statistics:q}"
            " --gap {params.gap} --ceiling-output {output.ceiling:q} --output {output.ratio:q} &> {log:q}"

    rule figure_noise_ceiling:
        input:
            alignment=f"{R}/tables/alignment.tsv",
            ratios=f"{R}/tables/alignment_to_ceiling.tsv",
            ceilings=f"{R}/tables/noise_ceiling.tsv",
        output:
            reported(f"{R}/figures/noise-ceiling.png", "Maps of the brain", shows="noise ceiling", subject="all"),
            [f"{R}/figures/noise-ceiling.{suffix}" for suffix in (*PICTURES[1:], "tsv")],
        log:
            f"{R}/logs/figures/noise-ceiling.log",
        localrule: True
        params:
            code=code("figures.brain_images"),
            options=section(STUDY.figures),
        shell:
            "python -m dynalign.figures.brain_images ceiling --alignment {input.alignment:q} --ratios {input.ratios:q}"
            " --ceilings {input.ceilings:q} --options {params.options:q} --output {output:q} &> {log:q}"
