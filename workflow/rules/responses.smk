# Arrays or images → a subject's responses, kept TRs × voxels.
if RECORDINGS:

    #: Whether volumes are left out for motion, of which the tables of confounds tell.
    SCRUBBED = STUDY.brain.confounds is not None and "scrub" in STUDY.brain.confounds.strategy

    rule timeline:
        input:
            words=f"{R}/story/words.tsv",
            images=lambda wildcards: ancient(given(*recorded_images(wildcards))),
            confounds=lambda wildcards: given(*recorded_confounds(wildcards)) if SCRUBBED else [],
        output:
            output_words=HEARD,
            output_trs=TRS,
        log:
            f"{R}/logs/timeline/{{subject}}.log",
        localrule: True
        params:
            code=code("responses.timeline"),
            recordings=lambda wildcards: recorded(wildcards.subject),
            options=section(STUDY.story, "layout", "words", "download", "tr", "trim"),
            brain=section(STUDY.brain, "repeats", *(["confounds"] if SCRUBBED else [])),
            content=lambda wildcards: [
                fingerprint(path)
                for path in (*recorded_images(wildcards), *(recorded_confounds(wildcards) if SCRUBBED else []))
            ],
            written=lambda wildcards, output: by_option(wildcards, output),
        shell:
            "python -m dynalign.responses.timeline --words {input.words:q} --recordings {params.recordings:q}"
            " --options {params.options:q} --brain {params.brain:q} {params.written:q} &> {log:q}"


#: A subject's array, or files run by run with their mask; the voxels that are kept of an array.
ARRAY = [f"{STUDY.story.folder}/data_subject_{{subject}}.npy{RECORDED}"] if STUDY.story.layout == "arrays" else []
RUNS = (
    [] if ARRAY or RECORDINGS else [STUDY.brain.image("{subject}", run) for run in range(1, 1 + len(STUDY.story.trs))]
)
IMAGES = list(dict.fromkeys(path for run in RUNS for path in recording_files(run)))
MASK = recording_files(STUDY.brain.mask_of("{subject}")) if STUDY.brain.mask else []
#: What tells where a subject's voxels lie.
SPACE = MASK or ARRAY or recording_files(RUNS[0]) if not RECORDINGS else []
CONFOUNDS = []
if STUDY.brain.confounds is not None and not RECORDINGS:
    CONFOUNDS = [STUDY.brain.confounds_file("{subject}", run) for run in range(1, 1 + len(STUDY.story.trs))]
VOXELS = [STUDY.brain.voxels] if STUDY.brain.voxels else []


rule responses:
    input:
        trs=TRS,
        array=given(*ARRAY),
        images=lambda wildcards: given(*recorded_images(wildcards)) if RECORDINGS else given(*IMAGES),
        mask=given(*MASK),
        confounds=lambda wildcards: given(*recorded_confounds(wildcards)) if RECORDINGS else given(*CONFOUNDS),
        voxels=given(*VOXELS),
    output:
        responses=f"{R}/brain/{{subject}}.npy",
        digest=f"{R}/brain/{{subject}}.npy.sha256",
    log:
        f"{R}/logs/responses/{{subject}}.log",
    # Responses that do not fit the story stop a study before hours are spent on its representations.
    priority: 100
    resources:
        mem_mb=grows(8000),
    params:
        code=code("responses.recordings"),
        options=section(STUDY.brain, without=("mesh",)),
        array=lambda wildcards, input: [path.removesuffix(RECORDED) for path in input.array],
        recordings=lambda wildcards: recorded_option(wildcards.subject),
        content=lambda wildcards: content(
            *([] if STUDY.simulation or STUDY.story.download else ARRAY + IMAGES + MASK),
            *([*recorded_images(wildcards), *recorded_space(wildcards)] if RECORDINGS else []),
            *VOXELS,
            *with_descriptions(recorded_confounds(wildcards) if RECORDINGS else CONFOUNDS),
        )(wildcards),
    shell:
        "python -m dynalign.responses.recordings --trs {input.trs:q} --subject {wildcards.subject:q} --array {params.array:q}"
        " {params.recordings:q} --options {params.options:q} --output {output.responses:q} &> {log:q}"
