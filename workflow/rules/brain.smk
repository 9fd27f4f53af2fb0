# Scores → brain images, regions of interest, noise ceiling. None of these is an input of an encoding.

# Arrays without coordinates in the layout `arrays` get no maps (METHOD section 2.2).
if STUDY.story.layout != "arrays":

    PICTURES += expand(for_models(*maps_in("maps")), subject=STUDY.subjects)

    #: Images of a subject, by option: the subject's scores, and what is tested of them.
    MAPS = {"score": "maps", "alpha": "maps/alpha", "q": "maps/q"}
    MAPS |= {"effects": "maps/effects", "effects_q": "maps/effects_q"}
    if "nuisance" in STUDY.shared_with:
        MAPS |= {"unique": "maps/unique", "unique_q": "maps/unique_q"}

    rule score_maps:
        input:
            alignment=path_of("alignment"),
            scores=scores,
            space=lambda wildcards: given(*recorded_space(wildcards)) if RECORDINGS else given(*SPACE),
        output:
            **{option: maps_in(folder) for option, folder in MAPS.items()},
            index=f"{M}/maps/{{subject}}.tsv",
        log:
            f"{M}/logs/score_maps/{{subject}}.log",
        localrule: True
        params:
            code=code("statistics.maps"),
            folder=folder_of_scores,
            brain=section(STUDY.brain, "images", "mask"),
            options=section(STUDY.statistics, "alpha", "block"),
            gap=STUDY.encoding.gap,
            written=lambda wildcards, output: by_option(wildcards, output),
            recordings=lambda wildcards: recorded_option(wildcards.subject),
        shell:
            "python -m dynalign.statistics.maps --subject {wildcards.subject:q} --alignment {input.alignment:q}"
            " --folder {params.folder:q} --brain {params.brain:q} {params.recordings:q} {params.written:q} --options {params.options:q}"
            " --gap {params.gap} &> {log:q}"

    #: Surfaces that maps are drawn on; those that come with nilearn are no files.
    BUNDLED = ["--mesh", STUDY.brain.mesh] if STUDY.brain.mesh == "fsaverage5" else []
    MESH = {"mesh": given(*STUDY.brain.surfaces("{subject}"))} if STUDY.brain.mesh and not BUNDLED else {}
    #: Maps drawn, by rule: sub-command, file, images by option, further table, what it shows, options.
    DRAWN_MAPS = {
        "figure_score_map": ("scores", "map-{subject}", {"image": "maps", "q": "maps/q"}, {}, "scores", []),
        "figure_effect_map": (
            "effects",
            "effect-map-{subject}",
            {"image": "maps/effects", "q": "maps/effects_q"},
            {"effects": path_of("removal_effects")},
            "effects of removal",
            ["--removal", STUDY.removal.headline, "--properties", *PROPERTIES],
        ),
    }
    if "unique" in MAPS:
        images = {"image": MAPS["unique"], "q": MAPS["unique_q"]}
        DRAWN_MAPS["figure_unique_map"] = ("unique", "unique-map-{subject}", images, {}, "over nuisance", [])
    if KIND != "nifti" and STUDY.brain.mesh is None:
        DRAWN_MAPS = {}
    for name, (entry, file, images, more, shows, options) in DRAWN_MAPS.items():

        rule:
            name:
                name
            input:
                **{option: maps_in(folder) for option, folder in images.items()},
                **more,
                **MESH,
                index=f"{M}/maps/{{subject}}.tsv",
            output:
                drawn(file, "Maps of the brain", shows=shows, subject="{subject}"),
            log:
                f"{M}/logs/figures/{file}.log",
            localrule: True
            resources:
                mem_mb=grows(4000),
            params:
                code=code("figures.brain_images"),
                content=content(*MESH.get("mesh", ())),
                entry=entry,
                tables=by_option,
                options=["--level", STUDY.statistics.alpha, *BUNDLED, *options],
            shell:
                "python -m dynalign.figures.brain_images {params.entry} --subject {wildcards.subject:q} {params.tables:q}"
                " {params.options:q} --output {output:q} &> {log:q}"


if STUDY.rois is not None:

    REGIONS = [path for _, path in STUDY.rois.files("{subject}")]

    rule rois:
        input:
            regions=given(*REGIONS),
            space=lambda wildcards: given(
                *(
                    [f"{STUDY.story.folder}/data_subject_{{subject}}.npy"]
                    if ARRAY
                    else SPACE or recorded_space(wildcards)
                )
            ),
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
            space=lambda wildcards, input: (
                ["--array", *input.space]
                if ARRAY
                else [
                    "--brain",
                    section(STUDY.brain, "images", "mask")(wildcards),
                    *recorded_option(wildcards.subject),
                ]
            ),
        shell:
            "python -m dynalign.statistics.regions voxels --subject {wildcards.subject:q} --options {params.options:q}"
            " {params.space:q} --kept {input.kept:q} --output {output:q} &> {log:q}"

    rule roi_statistics:
        input:
            alignment=path_of("alignment"),
            readable=path_of("removal_effects"),
            scores=scores,
            rois=f"{R}/rois/{{subject}}.npz",
        output:
            alignment=f"{M}/rois/{{subject}}.alignment.tsv",
            effects=f"{M}/rois/{{subject}}.effects.tsv",
        log:
            f"{M}/logs/roi_statistics/{{subject}}.log",
        resources:
            runtime=grows(60),
        params:
            code=code("statistics.regions", "subject"),
            options=section(STUDY.statistics),
            gap=STUDY.encoding.gap,
            folder=folder_of_scores,
        shell:
            "python -m dynalign.statistics.regions subject --subject {wildcards.subject:q} --alignment {input.alignment:q}"
            " --folder {params.folder:q} --rois {input.rois:q} --readable {input.readable:q} --options {params.options:q}"
            " --gap {params.gap} --alignment-output {output.alignment:q} --effects-output {output.effects:q} &> {log:q}"


if STUDY.noise_ceiling.compute:

    #: Subjects who heard stretches again have a ceiling of their own; others are predicted from all others.
    AGAIN = [subject for subject in STUDY.subjects if RECORDINGS and RECORDINGS.repeated(subject)]
    ONCE = [subject for subject in STUDY.subjects if subject not in AGAIN]


if STUDY.noise_ceiling.compute and AGAIN:

    rule ceiling_of_repeats:
        input:
            trs=TRS,
            images=lambda wildcards: given(*recorded_images(wildcards)),
            confounds=lambda wildcards: given(*recorded_confounds(wildcards)),
        output:
            f"{R}/ceiling/{{subject}}.npz",
        log:
            f"{R}/logs/ceiling_of_repeats/{{subject}}.log",
        wildcard_constraints:
            subject="|".join(map(re.escape, AGAIN)),
        resources:
            mem_mb=grows(8000),
        params:
            code=code("statistics.ceiling", "repeated"),
            options=section(STUDY.brain, without=("mesh",)),
            recordings=lambda wildcards: recorded(wildcards.subject),
            block=STUDY.statistics.block,
            content=lambda wildcards: content(
                *recorded_images(wildcards),
                *recorded_space(wildcards),
                *with_descriptions(recorded_confounds(wildcards)),
            )(wildcards),
        shell:
            "python -m dynalign.statistics.ceiling repeated --subject {wildcards.subject:q} --trs {input.trs:q}"
            " --recordings {params.recordings:q} --options {params.options:q} --block {params.block}"
            " --output {output:q} &> {log:q}"


if STUDY.noise_ceiling.compute and ONCE:

    rule noise_ceiling:
        input:
            **RESPONSES,
            others=lambda wildcards: ancient(
                [f"{R}/brain/{name}.npy" for name in STUDY.subjects if name != wildcards.subject]
            ),
            digests=[f"{R}/brain/{name}.npy.sha256" for name in STUDY.subjects],
            # Of the subject first, then of the others.
            trs=lambda wildcards: sorted(ALL_TRS, key=lambda path: path != TRS.format(**wildcards)) or TRS,
        output:
            f"{R}/ceiling/{{subject}}.npz",
        log:
            f"{R}/logs/noise_ceiling/{{subject}}.log",
        benchmark:
            f"{R}/benchmarks/noise_ceiling/{{subject}}.tsv"
        wildcard_constraints:
            subject="|".join(map(re.escape, ONCE)),
        threads: STUDY.threads.encoding
        resources:
            mem_mb=grows(4000),
            runtime=grows(60),
        params:
            code=code("statistics.ceiling", "predict"),
            encoding=section(STUDY.encoding, "alphas", "folds", "inner_folds", "gap"),
            block=STUDY.statistics.block,
        shell:
            "python -m dynalign.statistics.ceiling predict --responses {input.responses:q} --others {input.others:q}"
            " --trs {input.trs:q} --encoding {params.encoding:q} --block {params.block} --threads {threads}"
            " --output {output:q} &> {log:q}"


if STUDY.noise_ceiling.compute:

    rule ceiling_statistics:
        input:
            ceiling=f"{R}/ceiling/{{subject}}.npz",
            trs=[TRS] if RECORDINGS else [],
            alignment=path_of("alignment"),
            scores=scores,
        output:
            ceiling=f"{M}/ceiling/{{subject}}.ceiling.tsv",
            ratio=f"{M}/ceiling/{{subject}}.ratio.tsv",
        log:
            f"{M}/logs/ceiling_statistics/{{subject}}.log",
        resources:
            runtime=grows(60),
        params:
            code=code("statistics.ceiling", "ratio"),
            options=section(STUDY.noise_ceiling),
            statistics=section(STUDY.statistics),
            gap=STUDY.encoding.gap,
            others=lambda wildcards: 0 if wildcards.subject in AGAIN else len(STUDY.subjects) - 1,
            folder=folder_of_scores,
            own=lambda wildcards, input: ["--own-trs", input.trs] if input.trs else [],
        shell:
            "python -m dynalign.statistics.ceiling ratio --subject {wildcards.subject:q} --n-others {params.others}"
            " --ceiling {input.ceiling:q} --alignment {input.alignment:q} --folder {params.folder:q}"
            " --options {params.options:q} --statistics {params.statistics:q} {params.own:q}"
            " --gap {params.gap} --ceiling-output {output.ceiling:q} --output {output.ratio:q} &> {log:q}"


#: Figures over training of what the study asked for: sub-command, what it shows, tables by option.
OVER_TRAINING = {}
if STUDY.rois is not None:
    OVER_TRAINING["roi-alignment"] = ("rois", "regions", {"alignment": "roi_alignment"})
if STUDY.noise_ceiling.compute:
    tables = {"alignment": "alignment", "ratios": "alignment_to_ceiling", "ceilings": "noise_ceiling"}
    OVER_TRAINING["noise-ceiling"] = ("ceiling", "noise ceiling", tables)

for name, (entry, shows, tables) in OVER_TRAINING.items():

    rule:
        name:
            f"figure_{name.replace('-', '_')}"
        input:
            **{option: path_of(kind) for option, kind in tables.items()},
        output:
            drawn(name, "Maps of the brain", "tsv", shows=shows, subject="all"),
        log:
            f"{M}/logs/figures/{name}.log",
        localrule: True
        params:
            code=code("figures.brain_images"),
            entry=entry,
            tables=by_option,
            options=section(STUDY.figures),
        shell:
            "python -m dynalign.figures.brain_images {params.entry} {params.tables:q} --options {params.options:q}"
            " --output {output:q} &> {log:q}"
