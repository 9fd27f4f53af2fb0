# Arrays or images → a subject's responses, kept TRs × voxels.
#: A subject's images, run by run.
IMAGES = (
    [given(STUDY.brain.images.replace("{run}", str(run))) for run in range(1, 1 + len(STUDY.story.trs or []))]
    if STUDY.story.layout == "table"
    else []
)


rule responses:
    input:
        trs=f"{R}/story/trs.tsv",
        array=(
            [given(f"{STUDY.story.folder}/data_subject_{{subject}}.npy{RECORDED}")]
            if STUDY.story.layout == "arrays"
            else []
        ),
        images=IMAGES + [given(STUDY.brain.mask)] if IMAGES else [],
        voxels=given(STUDY.brain.voxels) if STUDY.brain.voxels else [],
    output:
        f"{R}/brain/{{subject}}.npy",
    log:
        f"{R}/logs/responses/{{subject}}.log",
    # Responses that do not fit the story stop a study before hours are spent on its representations.
    priority: 100
    resources:
        mem_mb=8000,
    params:
        code=code("responses.recordings"),
        options=section(STUDY.brain),
        array=lambda wildcards, input: [path.removesuffix(RECORDED) for path in input.array],
    shell:
        "python -m dynalign.responses.recordings --trs {input.trs:q} --subject {wildcards.subject:q} --array {params.array:q}"
        " --options {params.options:q} --output {output:q} &> {log:q}"
