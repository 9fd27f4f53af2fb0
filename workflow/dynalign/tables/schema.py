"""Every table of a study and every column of it: the one place where they are described."""

from __future__ import annotations

from dynalign.tables.columns import Column, Table, _count, _flag, _r

CELL = "checkpoint step layer removal property"

_COUNTS = Table(
    "How often each value of a property occurs",
    "property, distribution and value",
    "property distribution value",
    "property level distribution value count",
    {"property": Column("string", "Property.")},
)

_BEST = Table(
    "Alignment at the best layer",
    "checkpoint and subject, and one per checkpoint for the mean of the subjects",
    "checkpoint subject",
    "checkpoint step subject layer mean_r ci_low ci_high layer_by_inner_score mean_r_by_inner_score "
    "ci_low_by_inner_score ci_high_by_inner_score",
    {
        "subject": Column("string", "fMRI subject, or `mean` of the subjects."),
        "layer": Column("integer", "Layer with the highest alignment, the paper's choice."),
        "layer_by_inner_score": Column(
            "integer", "Layer with the highest inner score, chosen without a look at the alignment."
        ),
        "mean_r_by_inner_score": _r("Alignment at that layer."),
        "ci_low_by_inner_score": _r("Lower end of its interval."),
        "ci_high_by_inner_score": _r("Upper end of its interval."),
    },
)

#: Intervals of parts of the brain, for which no time course is kept, rest on the outer folds.
_OVER_FOLDS = {
    "ci_low": _r("Lower end of the interval, from the outer folds."),
    "ci_high": _r("Upper end of the interval, from the outer folds."),
}

_RATIO = {
    "n_voxels": _count("Voxels whose ceiling exceeds the threshold and that have a score.", "voxels"),
    "mean_r": _r("Alignment, mean over these voxels."),
    "mean_ceiling": _r("Ceiling, mean over these voxels."),
    "ratio": Column("number", "mean_r over mean_ceiling.", "share of the ceiling"),
    "ci_low": Column("number", "Lower end of the ratio's interval, from the outer folds.", "share of the ceiling"),
    "ci_high": Column("number", "Upper end of the ratio's interval, from the outer folds.", "share of the ceiling"),
}

_QUANTITY = Column("string", "What emerges.", "", ("alignment", "perplexity", "probing"))

_RHO = Column(
    "number",
    "Spearman's rank correlation of perplexity and alignment over checkpoints; negative: alignment rises as "
    "perplexity falls.",
    "Spearman's rho",
)

#: Every table by the name of its file: those of tables/, then the numbers that the figures draw.
TABLES = {
    "labels": Table(
        "Labels of every word",
        "word that the parser and the model see",
        "word_index",
        "word_index word sentence tr run",
        {
            "word_index": Column("integer", "Position in the stimulus, from 0."),
            "word": Column("string", "The word."),
            "sentence": Column("integer", "Sentence, from 0."),
            "tr": Column("integer", "Last measurement that starts before the word's onset, from 0, untrimmed.", "TR"),
            "run": Column("integer", "Run of the scanner."),
        },
        {
            "": Column("integer", "Class code of {property}; empty: no label, takes no part in probing."),
            "_raw": Column("string", "Raw value of {property}, before it was put into a class."),
        },
    ),
    "checkpoints": Table(
        "Checkpoints of the study",
        "checkpoint",
        "checkpoint",
        "checkpoint step source revision commit sha256",
        {
            "checkpoint": Column("string", "Checkpoint (`step-<n>`)."),
            "source": Column("string", "Hub repository; empty for a local model or one trained here."),
            "revision": Column("string", "Revision or sub-folder that was asked for."),
            "commit": Column("string", "Commit that the revision pointed to; empty where there is none."),
            "sha256": Column("string", "SHA-256 of the weights; no two checkpoints share it."),
        },
    ),
    "class_counts": _COUNTS,
    "label_correlations": Table(
        "Correlations between the labels",
        "ordered pair of properties",
        "property_a property_b",
        "property_a property_b r p",
        {"p": Column("number", "p-value of the correlation, two-tailed, words taken as independent.")},
    ),
    "perplexity": Table(
        "Perplexity over training",
        "checkpoint",
        "checkpoint",
        "checkpoint step perplexity bits_per_word n_tokens",
        {"bits_per_word": Column("number", "Negative log2-likelihood of the predicted tokens per word.", "bits")},
    ),
    "probing": Table(
        "Probing before and after removal",
        "checkpoint, layer, removal method and property",
        "checkpoint layer removal property",
        f"{CELL} accuracy_before accuracy_after accuracy_after_crossfit balanced_before balanced_after "
        "balanced_after_crossfit chance null_low null_high selectivity removed_paper removed crossfit_position "
        "n_words n_classes n_masked not_converged",
        {
            "property": Column("string", "Property that was probed and removed."),
            "n_words": _count("Words that took part.", "words"),
            "n_classes": _count("Classes of the property.", "classes"),
            "n_masked": _count("Words without a label, which took no part.", "words"),
            "not_converged": _count("Fits behind the row that stopped at the greatest number of iterations.", "fits"),
        },
    ),
    "alignment": Table(
        "Alignment of every representation",
        "checkpoint, layer, representation (removal and property) and subject",
        "checkpoint layer removal property subject",
        f"{CELL} subject mean_r ci_low ci_high inner_score n_voxels n_invalid",
        {"n_voxels": _count("Voxels of the subject, those without a score among them.", "voxels")},
    ),
    "removal_effects": Table(
        "Effect of removing each property",
        "checkpoint, layer, removal method, property and subject",
        "checkpoint layer removal property subject",
        f"{CELL} subject mean_difference ci_low ci_high effect_size effect_low effect_high "
        "t_paper p_paper significant_paper p n_voxels p_fdr significant",
        {
            "property": Column("string", "Property that was removed."),
            "removal": Column("string", "How the property was removed."),
            "t_paper": Column("number", "The paper's t-test over voxels, which rejects far too often: t."),
            "p_paper": Column("number", "The paper's t-test over voxels: p, two-tailed."),
            "significant_paper": _flag("p_paper is below the level of the tests."),
            "p": Column("number", "Calibrated test of the paired difference: p, two-tailed. The one to trust."),
            "n_voxels": _count("Voxels with a score in both arms.", "voxels"),
        },
    ),
    "removal_effects_group": Table(
        "Effect of removing each property, over subjects",
        "checkpoint, layer, removal method and property",
        "checkpoint layer removal property",
        f"{CELL} n_subjects mean_difference ci_low ci_high effect_size effect_low effect_high p p_population "
        "ci_low_population ci_high_population p_fdr significant n_significant",
        {
            "property": Column("string", "Property that was removed."),
            "removal": Column("string", "How the property was removed."),
            "p": Column(
                "number",
                "Calibrated test of the subjects' mean difference, two-tailed: these subjects, other text and noise.",
            ),
            "p_population": Column(
                "number",
                "t-test over the subjects' means, n − 1 degrees of freedom, two-tailed: other listeners of the same "
                "text. Chance in the text that all subjects share counts as an effect. Empty for one subject.",
            ),
            "ci_low_population": _r("Lower end of that test's interval."),
            "ci_high_population": _r("Upper end of that test's interval."),
            "n_significant": _count("Subjects whose own effect is significant in removal_effects.", "subjects"),
        },
    ),
    "emergence": Table(
        "When alignment, the use of context and each property's readability emerge",
        "quantity, property, subject, layer and reference",
        "quantity property subject layer reference",
        "quantity property subject layer reference level emergence_step emergence_after lasting_step lasting_after "
        "n_clear n_checkpoints",
        {
            "quantity": _QUANTITY,
            "property": Column("string", "`original` for alignment, the property for probing, empty for perplexity."),
            "subject": Column("string", "fMRI subject, `mean` over them; empty for probing and perplexity."),
            "layer": Column("string", "Layer of the model, `mean` over layers; empty for perplexity."),
            "reference": Column(
                "string",
                "What has to be cleared: a baseline, `step-0` (untrained), `zero` (no baseline was run), `unigram` "
                "(the entropy of the story's words), `null` (labels permuted by sentence).",
            ),
            "level": Column(
                "number",
                "Value of the reference: Pearson r (alignment), bits per word (perplexity), share of words (probing, "
                "mean of null_high over checkpoints).",
            ),
            "emergence_step": Column(
                "integer", "First checkpoint that clears the reference; empty: none.", "training steps"
            ),
            "emergence_after": Column(
                "integer", "Checkpoint before it; empty beside a step: the first one clears already.", "training steps"
            ),
            "lasting_step": Column(
                "integer", "First checkpoint that clears and that all later ones follow; empty: none.", "training steps"
            ),
            "lasting_after": Column("integer", "Checkpoint before that one.", "training steps"),
            "n_clear": _count("Checkpoints that clear.", "checkpoints"),
        },
    ),
    "perplexity_alignment": Table(
        "Perplexity against alignment over checkpoints",
        "subject and layer",
        "subject layer",
        "subject layer n_checkpoints rho ci_low ci_high",
        {
            "subject": Column("string", "fMRI subject, or `mean` over them."),
            "layer": Column("string", "Layer of the model, or `mean` over layers."),
            "rho": _RHO,
            "ci_low": Column("number", "Lower end of rho's bootstrap interval over checkpoints.", "Spearman's rho"),
            "ci_high": Column("number", "Upper end of rho's bootstrap interval over checkpoints.", "Spearman's rho"),
        },
    ),
    "roi_alignment": Table(
        "Alignment of every representation by region",
        "checkpoint, layer, representation (removal and property), subject and region",
        "checkpoint layer removal property subject roi",
        f"{CELL} subject roi mean_r ci_low ci_high inner_score n_voxels n_invalid",
        {"n_voxels": _count("Voxels of the region, those without a score among them.", "voxels"), **_OVER_FOLDS},
    ),
    "roi_effects": Table(
        "Effect of removing each property by region",
        "checkpoint, layer, removal method, property, subject and region",
        "checkpoint layer removal property subject roi",
        f"{CELL} subject roi n_voxels n_invalid mean_difference ci_low ci_high p p_fdr significant",
        {
            "property": Column("string", "Property that was removed."),
            "removal": Column("string", "How the property was removed."),
            "p": Column("number", "Corrected t-test over the outer folds (Nadeau and Bengio), two-tailed."),
            "n_voxels": _count("Voxels of the region, those without a score among them.", "voxels"),
            **_OVER_FOLDS,
        },
    ),
    "noise_ceiling": Table(
        "How well each subject is predicted from the others",
        "subject",
        "subject",
        "subject n_others mean_r ci_low ci_high inner_score n_voxels n_invalid threshold n_above mean_r_above",
        {
            "n_others": _count("Subjects predicted from.", "subjects"),
            "mean_r": _r("Ceiling: correlation of responses with those predicted from the other subjects."),
            "threshold": _r("Ceiling that a voxel must exceed to count in alignment_to_ceiling."),
            "n_above": _count("Voxels that exceed it.", "voxels"),
            "mean_r_above": _r("Mean ceiling over these voxels."),
            **_OVER_FOLDS,
        },
    ),
    "alignment_to_ceiling": Table(
        "Alignment as a share of the noise ceiling",
        "checkpoint, layer, representation (removal and property) and subject",
        "checkpoint layer removal property subject",
        f"{CELL} subject n_voxels mean_r mean_ceiling ratio ci_low ci_high",
        _RATIO,
    ),
    "figure-01-perplexity": Table(
        "Perplexity over training", "checkpoint", "checkpoint", "checkpoint step perplexity n_tokens"
    ),
    "figure-02-sentence-classes": _COUNTS,
    "figure-03-word-classes": _COUNTS,
    "figure-04-best-layer-alignment": _BEST,
    "figure-05-best-layer": _BEST,
    "figure-06-significant-layers": Table(
        "Where removal has an effect significant for all subjects",
        "step, property and layer",
        "step property layer",
        "step property layer paper calibrated mean_difference n_subjects",
        {
            "paper": _flag("Significant for every subject by the paper's t-test over voxels."),
            "calibrated": _flag("Significant for every subject by the calibrated test, adjusted."),
            "mean_difference": _r("Residual's alignment minus the original's, mean over subjects."),
        },
    ),
    "figure-07-removal-bars": Table(
        "Alignment of each representation, and its difference to the original",
        "quantity, step, property and subject",
        "quantity step property subject",
        "quantity step property subject value std_over_layers ci_low ci_high",
        {
            "quantity": Column(
                "string",
                "`alignment` (the paper's bars) or `difference` to the original.",
                "",
                ("alignment", "difference"),
            ),
            "subject": Column("string", "fMRI subject, or `mean` over them."),
            "value": _r("Mean over voxels and layers."),
            "std_over_layers": _r("Standard deviation over layers (ddof 0), the paper's error bar."),
        },
    ),
    "figure-08-alignment-by-layer": Table(
        "Alignment by layer",
        "step, representation and layer",
        "step property layer",
        "step property layer n_subjects mean_r ci_low ci_high",
        {"mean_r": _r("Alignment, mean over subjects.")},
    ),
    "figure-09-sentence-distributions": _COUNTS,
    "figure-10-word-distributions": _COUNTS,
    "figure-11-mean-layer-alignment": Table(
        "Alignment, mean over layers",
        "checkpoint and subject, and one per checkpoint for the mean of the subjects",
        "checkpoint subject",
        "checkpoint step subject mean_r ci_low ci_high",
        {
            "subject": Column("string", "fMRI subject, or `mean` of the subjects."),
            "mean_r": _r("Alignment, mean over voxels and layers."),
        },
    ),
    "figure-12-probing": Table(
        "Probing over training",
        "checkpoint, layer, removal method and property",
        "checkpoint layer removal property",
        f"{CELL} accuracy_before accuracy_after accuracy_after_crossfit chance null_low null_high",
    ),
    "figure-13-emergence": Table(
        "Alignment, perplexity and probing over training",
        "quantity, property, subject and checkpoint",
        "quantity property subject checkpoint",
        "quantity property subject checkpoint step value ci_low ci_high chance null_low null_high clears",
        {
            "quantity": _QUANTITY,
            "property": Column("string", "`original` for alignment, the property for probing, empty for perplexity."),
            "subject": Column("string", "fMRI subject, `mean` over them; empty for probing and perplexity."),
            "value": Column(
                "number",
                "Alignment (Pearson r, mean over layers), perplexity (bits per word) or probing accuracy (share of "
                "words, best layer).",
            ),
            "clears": _flag("The checkpoint clears its reference (see emergence)."),
        },
    ),
    "figure-14-layer-step": Table(
        "Alignment by layer and step",
        "checkpoint, layer and subject",
        "checkpoint layer subject",
        "checkpoint step layer subject mean_r best best_by_inner_score",
        {
            "best": _flag("The checkpoint's layer with the highest alignment, the paper's choice."),
            "best_by_inner_score": _flag("The checkpoint's layer with the highest inner score."),
        },
    ),
    "figure-15-perplexity-alignment": Table(
        "Perplexity against alignment",
        "checkpoint and subject",
        "checkpoint subject",
        "checkpoint step subject perplexity mean_r ci_low ci_high n_checkpoints rho rho_low rho_high",
        {
            "subject": Column("string", "fMRI subject, or `mean` over them."),
            "mean_r": _r("Alignment, mean over voxels and layers."),
            "rho": _RHO,
            "rho_low": Column("number", "Lower end of rho's bootstrap interval.", "Spearman's rho"),
            "rho_high": Column("number", "Upper end of rho's bootstrap interval.", "Spearman's rho"),
        },
    ),
    "figure-16-layer-choice": Table(
        "Alignment by rule that chooses the layer",
        "rule, checkpoint and subject",
        "rule checkpoint subject",
        "rule checkpoint step subject mean_r ci_low ci_high",
        {
            "rule": Column("string", "How the layer was chosen, or the mean over layers."),
            "subject": Column("string", "fMRI subject, or `mean` over them."),
        },
    ),
    "roi-alignment": Table(
        "Alignment over training by region",
        "region, checkpoint and subject",
        "roi checkpoint subject",
        "roi checkpoint step subject layer mean_r ci_low ci_high n_voxels n_invalid",
        {"layer": Column("integer", "Layer with the highest inner score."), **_OVER_FOLDS},
    ),
    "noise-ceiling": Table(
        "Share of the noise ceiling over training",
        "checkpoint and subject",
        "checkpoint subject",
        "checkpoint step subject layer n_voxels mean_r mean_ceiling ratio ci_low ci_high",
        {"layer": Column("integer", "Layer with the highest inner score."), **_RATIO},
    ),
    "table-1-probing": Table(
        "Table 1 as tidy rows",
        "part of the table, checkpoint, layer, removal method and property",
        "part checkpoint layer removal property",
        f"part {CELL} accuracy_before accuracy_after removed_paper accuracy_after_crossfit null_low null_high removed "
        "chance crossfit_position",
        {
            "part": Column(
                "string",
                "`last step`: every layer of the last checkpoint; `last layer`: every checkpoint at the last layer.",
                "",
                ("last step", "last layer"),
            )
        },
    ),
    "table-2-correlations": Table(
        "Table 2 as tidy rows",
        "ordered pair of properties",
        "property_a property_b",
        "property_a property_b r p asterisk",
        {"asterisk": _flag("p is 0.05 or more, off the diagonal.")},
    ),
}
