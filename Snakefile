include: "workflow/Snakefile"


# Snakemake takes its default target from this file alone.
rule all:
    input:
        TABLES,
        FIGURES,
        MAPS,
        ROI_RESULTS,
        CEILING_RESULTS,
        PAGE,
