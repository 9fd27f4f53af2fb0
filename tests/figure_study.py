"""A made-up study to draw figures from, and what their tests look up in a drawn figure."""

import numpy as np
import pandas as pd

from dynalign.config.figures import Figures
from dynalign.config.properties import paper_properties
from dynalign.figures import data, draw
from dynalign.statistics import emergence, summaries
from dynalign.statistics.competence import competence_rows
from dynalign.tables import schema

STEPS = (0, 1000, 15000, 43000, 100000, 143000)
LAYERS = (0, 2, 4, 6)
SUBJECTS = ("F", "M", "H")
PROPERTIES = tuple(paper_properties())
METHODS = ("ridge", "leace")


def class_counts():
    used = {
        "sentence_length": {"1-7": 156, "8-16": 147, "17-80": 114},
        "tree_depth": {"0-3": 278, "4-9": 139},
        "top_constituents": {"NP VP": 89, "other": 328},
        "tense": {"Past": 239, "other": 178},
        "subject_number": {"Sing": 255, "other": 162},
        "object_number": {"UNDEF": 220, "other": 197},
        "pos": {"VERB": 786, "NOUN": 749, "PRON": 592, "ADP": 504, "other": 2545},
        "smallest_constituent": {"NP": 2568, "other": 2608},
        "random_label": {"0": 2600, "1": 2576},
    }
    lengths = (
        [27, 30, 24, 27, 26, 22, 20, 19, 18, 18, 17, 17, 15, 15, 14, 13, 11, 9, 8, 8, 8, 7]
        + [4] * 4
        + [3] * 2
        + [2] * 5
        + [1] * 12
    )
    original = {
        "sentence_length": {str(k + 1): n for k, n in enumerate(lengths)},
        "tree_depth": dict(zip(map(str, range(10)), (8, 93, 95, 82, 67, 31, 22, 11, 7, 1), strict=True)),
        "top_constituents": {
            f"NP VP {k}": n
            for k, n in enumerate([89, 54, 16, 14, 8, 8, 8, 7, 6, 6, 5, 4] + [3] * 12 + [2] * 16 + [1] * 124)
        },
        "tense": {"Past": 239, "UNDEF": 94, "Pres": 84},
        "subject_number": {"Sing": 255, "UNDEF": 118, "Plur": 44},
        "object_number": {"UNDEF": 220, "Sing": 172, "Plur": 25},
        "pos": {"VERB": 786, "NOUN": 749, "PRON": 592, "ADP": 504, "PUNCT": 487, "DET": 381, "ADV": 343}
        | {"PROPN": 259, "ADJ": 221, "AUX": 212, "CCONJ": 201, "PART": 167, "SCONJ": 88, "NUM": 79}
        | {"INTJ": 73, "X": 28, "SYM": 6},
        "smallest_constituent": {"NP": 2568, "VP": 1309, "PP": 477, "ADVP": 281, "ADJP": 218, "PRT": 92}
        | {"WHNP": 64, "INTJ": 50, "QP": 43, "NX": 29, "WHADVP": 15, "X": 14, "FRAG": 8, "UCP": 8},
        "random_label": {"0": 2600, "1": 2576},
    }
    word = ("pos", "smallest_constituent", "random_label")
    return pd.DataFrame(
        {"property": p, "level": "word" if p in word else "sentence", "distribution": d, "value": v, "count": n}
        for d, by_property in (("used", used), ("original", original))
        for p, counts in by_property.items()
        for v, n in counts.items()
    )


def shares(seed=1):
    """``tables/shares.tsv`` of the checkpoints below; what the vectors add to nuisance features rises in training."""
    rng = np.random.default_rng(seed)
    rows = []
    for checkpoint, step in [*((f"step-{step}", step) for step in STEPS), ("random", np.nan)]:
        grown = 0 if np.isnan(step) else np.log10(1 + step) / 5
        for layer in LAYERS:
            for k, space in enumerate([*PROPERTIES, "nuisance"]):
                own, shared = (0.004, 0.006) if space == "nuisance" else (0.0003 * k, 0.0006 * k * grown)
                for subject in SUBJECTS:
                    model, own_here, both = rng.normal([0.008 * grown + 0.012 - shared, own, shared], 0.0004)
                    parts = {"unique_model": model, "unique_property": own_here, "shared": both}
                    parts["joint"] = sum(parts.values())
                    for part, share in parts.items():
                        part = "unique_nuisance" if (part, space) == ("unique_property", "nuisance") else part
                        cell = {"checkpoint": checkpoint, "step": step, "layer": layer, "features": space, "part": part}
                        r = share / 3 - (0.002 if part == "unique_model" else 0)
                        rows.append(
                            cell
                            | {
                                "subject": subject,
                                "share": share,
                                "share_low": share - 0.001,
                                "share_high": share + 0.001,
                            }
                            | {"mean_r": r, "ci_low": r - 0.001, "ci_high": r + 0.0012, "r2": share - 0.002}
                            | {"effect_size": 1.0, "effect_low": 0.5, "effect_high": 1.5, "p": 0.01, "p_fdr": 0.02}
                            | {"n_voxels": 20000, "share_significant": min(max(20 * share, 0), 1), "significant": 1}
                        )
    table = pd.DataFrame(rows)
    values = [name for name in table if table[name].dtype.kind in "fi" and name not in ("step", "layer")]
    key = ["checkpoint", "step", "layer", "features", "part"]
    means = table.groupby(key, dropna=False, sort=False)[values].mean().reset_index().assign(subject="mean")
    return pd.concat([table, means[table.columns]], ignore_index=True)


def contrasts(alignment, margin, nuisance=None):
    """``tables/contrasts.tsv`` of a made-up study: what is more than `margin` above a reference clears it."""
    curves = {"alignment": alignment} | ({} if nuisance is None else {"unique_alignment": nuisance})
    rows = []
    for quantity, table in curves.items():
        for layer in emergence.layers_shown(table):
            values = emergence.at_layer(table, layer)
            for subject, curve in values.groupby("subject", sort=False):
                whole = emergence.at_layer(table, "mean")
                levels = emergence.references(whole[whole["subject"] == subject]) | {
                    name: level for name, level in emergence.references(curve).items() if name == emergence.UNTRAINED
                }
                levels = levels if quantity == "alignment" else {emergence.ZERO: (0.0,)}
                curve = curve[curve["step"].notna()].sort_values("step")
                for name, level in levels.items():
                    key = {"quantity": quantity, "subject": subject, "layer": str(layer), "comparison": "reference"}
                    rows += [
                        key
                        | {"checkpoint": row.checkpoint, "step": row.step, "reference": name}
                        | {"mean_difference": row.mean_r - level[0], "clears": int(row.mean_r - level[0] > margin)}
                        for row in curve.itertuples()
                        if row.checkpoint != name
                    ]
    return pd.DataFrame(rows).reindex(columns=list(schema.TABLES["contrasts"].columns))


def half_rises(contrasts):
    """``statistics/half_rises.tsv`` of a made-up study: every rise is half at step 3000."""
    rows = contrasts[["quantity", "subject", "layer"]].drop_duplicates().assign(property="original")
    told = [("perplexity", "", "", ""), ("probing", "", "mean", "tense")]
    rows = pd.concat([rows, pd.DataFrame(told, columns=rows.columns)], ignore_index=True)
    return rows.assign(half_rise_step=3000.5, half_rise_low=800.0, half_rise_high=9000.0)


def models(seed=2):
    """``tables/models.tsv`` and ``model_curves.tsv``: three seeds of one size, two of another."""
    rng = np.random.default_rng(seed)
    curves, means = [], []
    for group, names in (("6 layers × 512", "abc"), ("12 layers × 768", "de")):
        for quantity, place in (("alignment", "mean"), ("alignment", "best"), ("perplexity", "")):
            cell = {"quantity": quantity, "property": "original" if place else "", "relative_depth": place}
            rises = np.array([0.004 + 0.0012 * np.log10(1 + np.array(STEPS)) for _ in names])
            values = (14 - 900 * rises) if quantity == "perplexity" else rises
            values = values * (1 + 0.05 * rng.standard_normal((len(names), 1)))
            for step, several in zip(STEPS, values.T, strict=True):
                half = 0.1 * abs(several).mean()
                for name, value in zip(names, several, strict=True):
                    bounds = {"ci_low": value - half, "ci_high": value + half, "best_depth": np.nan}
                    curves.append(cell | {"model": name, "group": group, "step": step, "value": value} | bounds)
                mean = {"group": group, "step": step, "mean": several.mean(), "best_depth": np.nan}
                mean |= {"ci_low": several.mean() - 2 * half, "ci_high": several.mean() + 2 * half, "n_subjects": 3}
                spread = {"sd_between": several.std(ddof=1), "sd_between_raw": several.std(ddof=1)}
                means.append(cell | mean | spread | {"n_models": len(names)})
    return {"models": pd.DataFrame(means), "model-curves": pd.DataFrame(curves)}


def study(seed=0):
    """Tables as the steps write them: 6 checkpoints and `random`, 4 layers, 3 subjects, 2 methods."""
    rng = np.random.default_rng(seed)
    checkpoints = [*((f"step-{step}", step) for step in STEPS), ("random", np.nan)]
    voxels = {"F": 27905, "M": 28752, "H": 24983}
    shift = {"tense": -0.0025, "smallest_constituent": 0.0012, "tree_depth": -0.001}
    alignment, effects, probing = [], [], []
    for checkpoint, step in checkpoints:
        level = 0.002 if np.isnan(step) else 0.004 + 0.0012 * np.log10(1 + step)
        for layer in LAYERS:
            profile = 0 if np.isnan(step) else 0.004 * np.sin(layer + np.log1p(step))
            for subject in SUBJECTS:
                base = level + profile + 0.0015 * rng.standard_normal()
                common = {"checkpoint": checkpoint, "step": step, "layer": layer}
                score = {"subject": subject, "n_voxels": voxels[subject], "n_invalid": 0}
                score["share_significant"] = 0.1 + 20 * max(base, 0)
                half = 0.002 + 0.001 * rng.random()
                ci = {"ci_low": base - half, "ci_high": base + 1.1 * half}
                inner = base + 0.002 * rng.standard_normal()
                arm = {"removal": "none", "property": "original", "mean_r": base, **ci, "inner_score": inner}
                alignment.append(common | arm | score)
                for method in METHODS:
                    for name in PROPERTIES:
                        change = shift.get(name, 0) * (0.3 if np.isnan(step) else 1) + 0.0007 * rng.standard_normal()
                        change = change / 10 if name == "random_label" else change
                        arm = {"removal": method, "property": name, "mean_r": base + change}
                        arm |= {"ci_low": base + change - half, "ci_high": base + change + 1.1 * half}
                        alignment.append(common | arm | {"inner_score": inner + change} | score)
                        p = float(np.exp(-abs(change) / 0.0006))
                        effects.append(
                            common
                            | {"removal": method, "property": name, "subject": subject, "mean_difference": change}
                            | {"ci_low": change - 0.0012, "ci_high": change + 0.0014, "t_paper": change / 1e-4}
                            | {"p_paper": p**4, "significant_paper": int(p**4 < 0.05), "p": p, "p_fdr": min(1, 1.5 * p)}
                            | {"significant": int(1.5 * p < 0.3), "n_voxels": voxels[subject]}
                            | {"readable_before": 0.05 if name == "random_label" else 0.4}
                            | {"readable_before_null": 0.1, "readable_after_null": 0.1}
                            | {"readable_after": 0.25 if name == "smallest_constituent" and layer else 0.05}
                            | {"effect_size": change / 0.01, "effect_low": change / 0.02, "effect_high": change / 0.005}
                            | {"over_control": change + 1e-4, "over_control_low": change - 0.001}
                            | {"share_harmed": 20 * max(-change, 0), "share_relieved": 0.0}
                            | {"over_control_high": change + 0.0016, "p_over_control": p}
                        )
            for method in METHODS:
                for name in PROPERTIES:
                    chance = 0.5 if name == "random_label" else 0.6
                    before, after = chance + 0.15 * rng.random() - 0.02, chance + 0.1 * rng.random() - 0.06
                    low, high = chance - 0.02, chance + 0.02
                    crossfit = chance + 0.03 * rng.standard_normal()
                    probing.append(
                        common
                        | {"removal": method, "property": name, "accuracy_before": before, "accuracy_after": after}
                        | {"accuracy_after_crossfit": crossfit, "balanced_before": before, "balanced_after": after}
                        | {"balanced_after_crossfit": crossfit, "chance": chance, "null_low": low, "null_high": high}
                        | {"selectivity": 0.1, "removed_paper": int(before > chance > after)}
                        | {"removed": int(crossfit <= high), "n_words": 5143, "n_classes": 2}
                        | {"crossfit_position": ["below", "inside", "above"][(crossfit >= low) + (crossfit > high)]}
                        | {"n_masked": 0, "not_converged": 0}
                    )
    perplexity = pd.DataFrame(
        {
            "checkpoint": [f"step-{step}" for step in STEPS],
            "step": STEPS,
            "perplexity": (54321.5, 113.2, 43.77, 39.37, 36.61, 37.75),
            "bits_per_word": (14.1, 9.9, 8.2, 8.7, 8.0, 8.1),
            "n_tokens": 7151,
        }
    )
    pairs = [(a, b) for a in PROPERTIES for b in PROPERTIES]
    r = {frozenset(pair): 1.0 if pair[0] == pair[1] else rng.uniform(-0.3, 0.3) for pair in pairs}
    p = {key: 0.0 if len(key) == 1 else rng.uniform(0, 0.1) for key in r}
    correlations = pd.DataFrame(
        {"property_a": a, "property_b": b, "r": r[frozenset((a, b))], "p": p[frozenset((a, b))]} for a, b in pairs
    )
    tables = {
        "class-counts": class_counts(),
        "perplexity": perplexity,
        "alignment": pd.DataFrame(alignment),
        "removal-effects": pd.DataFrame(effects),
        "probing": pd.DataFrame(probing),
        "label-correlations": correlations,
    }
    three = [tables[name] for name in ("alignment", "probing", "perplexity")]
    tables["shares"] = shares()
    words = [f"word {k}" for k in range(400)]
    nuisance = summaries.over_nuisance(tables["shares"])
    tables["contrasts"] = contrasts(three[0], 0.002, nuisance[nuisance["subject"] != "mean"])
    tables["emergence"] = emergence.emergence_table(*three, words, tables["contrasts"], half_rises(tables["contrasts"]))
    tables["perplexity-alignment"] = emergence.correlation_table(three[0], perplexity, 0.05, 0)
    scores = {f"task {k}": np.linspace(0.25, 0.3 + 0.05 * k, len(STEPS)) for k in range(10)}
    cells = [(task, f"step-{step}", step, one[k]) for task, one in scores.items() for k, step in enumerate(STEPS)]
    tables["competence"] = pd.DataFrame(cells, columns=["task", "checkpoint", "step", "score"])
    rows = competence_rows(three[0], tables["competence"], 0.05, 0)
    return tables | models() | {"competence-alignment": pd.DataFrame(rows)}


def where(table, **fixed):
    """The rows with these values."""
    for key, value in fixed.items():
        table = table[table[key] == value]
    return table


def pick(drawn, number):
    return drawn[draw.figure_name(str(number))]


def line(axes, label):
    """The y data of the one line so labelled."""
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return np.asarray(found.get_ydata(), dtype=float)


def dots(axes, gid):
    """Points (n, 2) of the scatter so named."""
    (found,) = [each for each in axes.collections if each.get_gid() == gid]
    return np.asarray(found.get_offsets(), dtype=float)


def bars(axes, gid=None):
    """Ends (n, 2) of the vertical bars so named."""
    (found,) = [each for each in axes.collections if each.get_gid() == gid and hasattr(each, "get_segments")]
    return np.array([segment[:, 1] for segment in found.get_segments()])


def in_band(axes, gid, rows):
    """The bounds in `rows` are corners of the band so named, at the places 0, 1, 2, …"""
    (found,) = [each for each in axes.collections if each.get_gid() == gid]
    corners = found.get_paths()[0].vertices
    for place, row in enumerate(rows.itertuples()):
        heights = corners[corners[:, 0] == place, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [row.ci_low, row.ci_high], rtol=1e-9)


def cube(table, column, **fixed):
    """Values as an array checkpoint × layer × subject, by explicit look-up: the tests' own aggregation."""
    table = where(table, **fixed)
    cells = {
        (c, la, s): v for c, la, s, v in zip(table.checkpoint, table.layer, table.subject, table[column], strict=True)
    }
    names = [*(f"step-{step}" for step in STEPS), "random"]
    return np.array([[[cells[c, la, s] for s in SUBJECTS] for la in LAYERS] for c in names])


def legend_texts(figure):
    boxes = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for box in boxes for text in box.get_texts()]


def all_texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def rgb(colour):
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def number_of(name):
    return int(name.split("-")[1])


def figure_data(tables, *kinds, removal=None, properties=PROPERTIES, **settings):
    return data.FigureData({kind: tables[kind] for kind in kinds}, Figures(**settings), properties, removal)
