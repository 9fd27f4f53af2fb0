# The embedded study: its stimulus and its simulated subjects. Rules exist only where the section `simulation` does.
if STUDY.simulation is not None:

    rule time_story:
        output:
            given(STUDY.story.words),
        log:
            f"{R}/logs/time_story.log",
        localrule: True
        params:
            code=code("datasets.simulation"),
            text=content(STUDY.simulation.text),
            options=section(STUDY.simulation, "text", "word_s", "rest_s", "paragraph_pause_s"),
            story=section(STUDY.story, "layout", "words", "tr", "trs", "download"),
        shell:
            "python -m dynalign.datasets.simulation words --options {params.options:q} --story-options {params.story:q}"
            " --output {output:q} &> {log:q}"

    rule simulate_subject:
        input:
            words=f"{R}/story/words.tsv",
            trs=f"{R}/story/trs.tsv",
            labels=path_of("labels"),
            texts=TRAINING_TEXTS,
        output:
            images=given(*IMAGES),
            mask=given(*MASK),
            truth=f"{R}/data/sub-{{subject}}_truth.tsv",
            parameters=f"{R}/data/sub-{{subject}}_truth.json",
        log:
            f"{R}/logs/simulate_subject/{{subject}}.log",
        params:
            code=code("datasets.simulation"),
            options=section(STUDY.simulation),
            seed=STUDY.seed,
            images=lambda wildcards: STUDY.brain.images,
        shell:
            "python -m dynalign.datasets.simulation subject --subject {wildcards.subject:q} --options {params.options:q}"
            " --words {input.words:q} --trs {input.trs:q} --labels {input.labels:q} --texts {input.texts:q}"
            " --seed {params.seed} --images {params.images:q} --mask {output.mask:q} --truth {output.truth:q}"
            " &> {log:q}"

    # A rule of its own: asking for regions simulates no subject again.
    if STUDY.rois is not None and STUDY.rois.image is not None:

        rule simulate_rois:
            input:
                truth=f"{R}/data/sub-{{subject}}_truth.tsv",
                mask=given(*MASK),
            output:
                image=given(STUDY.rois.image),
                labels=given(STUDY.rois.labels),
            log:
                f"{R}/logs/simulate_rois/{{subject}}.log",
            localrule: True
            params:
                code=code("datasets.simulation"),
            shell:
                "python -m dynalign.datasets.simulation rois --truth {input.truth:q} --mask {input.mask:q}"
                " --image {output.image:q} --labels {output.labels:q} &> {log:q}"
