# The workflow is workflow/Snakefile; Snakemake takes its default target from this file alone.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
