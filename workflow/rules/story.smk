# Words and times → which word, which TR, which run.
STORY_ARRAYS = ["words_fmri", "time_words_fmri", "time_fmri", "runs_fmri"]


if STUDY.story.download == "harry-potter":

    rule fetch_harry_potter:
        output:
            f"{STUDY.story.folder}/{{array}}.npy",
        log:
            f"{R}/logs/fetch_harry_potter/{{array}}.log",
        wildcard_constraints:
            array="|".join(
                [*STORY_ARRAYS, *(f"data_subject_{name}" for name in configuration.HARRY_POTTER_SUBJECTS)]
            ),
        retries: 2
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        resources:
            mem_mb=1000,
            runtime=60,
            gpu=0,
        shell:
            "python -m dynalign.harry_potter --array {wildcards.array} --output {output:q} &> {log:q}"


rule story:
    input:
        (
            [f"{STUDY.story.folder}/{name}.npy" for name in STORY_ARRAYS]
            if STUDY.story.layout == "arrays"
            else STUDY.story.words
        ),
    output:
        words=f"{R}/story/words.tsv",
        trs=f"{R}/story/trs.tsv",
    log:
        f"{R}/logs/story.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    params:
        code=code("story"),
        options=section(STUDY.story),
    shell:
        "python -m dynalign.story --options {params.options:q} --words {output.words:q} --trs {output.trs:q}"
        " &> {log:q}"
