# Arrays or images → a subject's responses, kept TRs × voxels.
#: A subject's array, or files run by run with their mask; the voxels that are kept of an array.
ARRAY = [f"{STUDY.story.folder}/data_subject_{{subject}}.npy{RECORDED}"] if STUDY.story.layout == "arrays" else []
RUNS = [] if ARRAY else [STUDY.brain.image("{subject}", run) for run in range(1, 1 + len(STUDY.story.trs))]
IMAGES = list(dict.fromkeys(path for run in RUNS for path in recording_files(run)))
MASK = recording_files(STUDY.brain.mask_of("{subject}")) if STUDY.brain.mask else []
#: What tells where a subject's voxels lie.
SPACE = MASK or (ARRAY or recording_files(RUNS[0]))
CONFOUNDS = []
if STUDY.brain.confounds is not None:
    CONFOUNDS = [STUDY.brain.confounds.file("{subject}", run) for run in range(1, 1 + len(STUDY.story.trs))]
#: What fMRIPrep says of them, where it is there.
ABOUT_CONFOUNDS = [str(Path(path).with_suffix(".json")) for path in CONFOUNDS]
VOXELS = [STUDY.brain.voxels] if STUDY.brain.voxels else []


rule responses:
    input:
        trs=f"{R}/story/trs.tsv",
        array=given(*ARRAY),
        images=given(*IMAGES),
        mask=given(*MASK),
        confounds=given(*CONFOUNDS),
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
        content=content(
            *([] if STUDY.simulation or STUDY.story.download else ARRAY + IMAGES + MASK),
            *VOXELS,
            *CONFOUNDS,
            *ABOUT_CONFOUNDS,
        ),
    shell:
        "python -m dynalign.responses.recordings --trs {input.trs:q} --subject {wildcards.subject:q} --array {params.array:q}"
        " --options {params.options:q} --output {output.responses:q} &> {log:q}"
