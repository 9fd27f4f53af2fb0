# Words and times → which word, which TR, which run.
#: A record of an array stands for it: the check that it passed and its sha256. Not an array itself, which
#: Snakemake would remove before fetching it again, even one that was placed by hand.
RECORDED = ".sha256" if STUDY.story.download else ""
#: What the stimulus is read from.
if STUDY.story.layout == "arrays":
    STORY = [f"{STUDY.story.folder}/{name}.npy{RECORDED}" for name in ARRAYS]
else:
    STORY = [path for _, path in STUDY.story.word_files]
#: Stories that have a file of words each.
STORIES = STUDY.story.files_of_stories(RECORDINGS.stories) if RECORDINGS else {}
STORY += STORIES.values()

if STUDY.story.download == "harry-potter":

    rule fetch_array:
        output:
            given(f"{STUDY.story.folder}/{{array}}.npy.sha256"),
        log:
            f"{R}/logs/fetch_array/{{array}}.log",
        wildcard_constraints:
            array="|".join(map(re.escape, harry_potter.FILES)),
        localrule: True
        params:
            array=lambda wildcards, output: output[0].removesuffix(".sha256"),
        shell:
            "python -m dynalign.datasets.harry_potter fetch --array {wildcards.array} --output {params.array:q} &> {log:q}"

    rule fetch_harry_potter:
        input:
            given(*(f"{STUDY.story.folder}/{array}.npy.sha256" for array in harry_potter.FILES)),
        output:
            given(f"{STUDY.story.folder}/SHA256SUMS"),
        log:
            f"{R}/logs/fetch_harry_potter.log",
        localrule: True
        params:
            folder=lambda wildcards, output: str(Path(output[0]).parent),
        shell:
            "python -m dynalign.datasets.harry_potter check --folder {params.folder:q} --output {output:q} &> {log:q}"


rule story:
    input:
        given(*STORY),
    output:
        **({} if RECORDINGS else {"trs": TRS}),
        words=f"{R}/story/words.tsv",
    log:
        f"{R}/logs/story.log",
    localrule: True
    params:
        code=code("stimulus.timing"),
        options=section(STUDY.story, without=("language",)),
        content=content(*([] if STUDY.simulation or STUDY.story.download else STORY)),
        stories=["--stories", *STORIES] if STORIES else [],
    shell:
        "python -m dynalign.stimulus.timing --options {params.options:q} {params.stories:q} --words {output.words:q}"
        + ("" if RECORDINGS else " --trs {output.trs:q}")
        + " &> {log:q}"


rule features:
    input:
        words=HEARD,
        trs=TRS,
        tables=ancient(given(*OWN_FEATURES.values())),
    output:
        FEATURES,
    log:
        f"{R}/logs/{OWN}features.log",
    localrule: True
    params:
        code=code("stimulus.features"),
        features=own_features(*OWN_FEATURES),
        content=content(*OWN_FEATURES.values()),
        language=STUDY.story.language,
    shell:
        "python -m dynalign.stimulus.features --words {input.words:q} --trs {input.trs:q} --features {params.features:q}"
        " --language {params.language:q} --output {output:q} &> {log:q}"
