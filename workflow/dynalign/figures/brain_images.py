"""Pictures of the brain images, of regions over training, and of alignment set against the noise ceiling.

Brain images are drawn by matplotlib alone, in each subject's own space: a glass brain's outline, as nilearn draws it,
belongs to a template that these images are not in. nibabel turns them so that the picture's right is the subject's
right, whatever order the axes have in the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from dynalign.cli import options, run
from dynalign.config.figures import Figures
from dynalign.figures import style
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.statistics import summaries
from dynalign.tables import reader, writer

#: Rows of a picture; of more checkpoints, evenly spaced ones are drawn.
MOST_ROWS = 12

#: Slices side by side.
MOST_SLICES = 6

#: Panels of regions; further regions stand in the table alone.
MOST_REGIONS = 24

#: Share of voxel values that the colour scale spans; what lies beyond has the end's colour.
SHARE = 99.5

#: Colour of what is no voxel, or has no score: not that of 0.
OUTSIDE = "#d4d4d4"


def shown_checkpoints(names: Sequence[str]) -> list[str]:
    """All checkpoints, or :data:`MOST_ROWS` evenly spaced ones, the first and the last among them."""
    names = list(dict.fromkeys(names))
    places = np.linspace(0, len(names) - 1, min(len(names), MOST_ROWS)).round().astype(int)
    return [names[place] for place in places]


def upright(image) -> tuple[np.ndarray, np.ndarray]:
    """An image with axes to the right, to the front and up, as near as its axes come to that.

    Parameters
    ----------
    image : nibabel image

    Returns
    -------
    data : array
        x to the subject's right, y to the front, z up.
    affine : array of shape (4, 4)
    """
    import nibabel

    turned = nibabel.as_closest_canonical(image)
    return np.asarray(turned.dataobj), turned.affine


def cropped(volumes: np.ndarray) -> tuple[slice, slice]:
    """The columns along x and y that have scored voxels somewhere, with one more on each side where there is one."""
    there = np.isfinite(volumes).any(axis=(2, 3))
    edges = [np.flatnonzero(there.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    return tuple(slice(max(first - 1, 0), last + 2) for first, last in edges)


def colour_limit(values: np.ndarray) -> float:
    """Half the span of a symmetric colour scale: the percentile :data:`SHARE` of absolute values, above 0."""
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(finite, SHARE)) if len(finite) else 0.0
    return limit if limit > 0 else 1.0


def extreme(volume: np.ndarray) -> np.ndarray:
    """The value furthest from 0 along the last axis, with its sign; NaN where there is none."""
    size = np.where(np.isfinite(volume), np.abs(volume), -1.0)
    return np.take_along_axis(volume, size.argmax(axis=-1)[..., None], axis=-1)[..., 0]


def picture_grid(panels: Sequence[Sequence[np.ndarray]], spacing, limit: float, rows, columns, label: str):
    """A grid of axial pictures on one colour scale.

    Parameters
    ----------
    panels : rows of arrays of shape (x, y)
    spacing : (float, float)
        Size of a voxel along x and y, mm.
    limit : float
        The scale's ends.
    rows, columns : lists of str
        Titles.
    label : str
        Of the colour bar, with its unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib import colormaps

    n_rows, n_columns = len(panels), len(panels[0])
    x, y = (n * size for n, size in zip(panels[0][0].shape, spacing, strict=True))
    width = 1.35
    height = min(max(width * y / x, 0.8), 2.2)
    figure, axes = style.subplots(
        width * n_columns + 2.9, height * n_rows + 1.5 + 0.25 * (n_rows < 3), n_rows, n_columns
    )
    colours = colormaps["RdBu_r"].with_extremes(bad=OUTSIDE)
    for row, pictures in enumerate(panels):
        for column, picture in enumerate(pictures):
            axis = axes[row, column]
            shown = axis.imshow(
                picture.T,
                origin="lower",
                cmap=colours,
                vmin=-limit,
                vmax=limit,
                interpolation="nearest",
                aspect=spacing[1] / spacing[0],
            )
            axis.set(xticks=[], yticks=[])
            axis.set_frame_on(False)
            for text, place, across in (("L", 0.02, "left"), ("R", 0.98, "right")):
                look = {"transform": axis.transAxes, "ha": across, "va": "top", "fontsize": 7}
                axis.text(place, 0.98, text, color=style.NOTE, **look)
            if row == 0:
                axis.set_title(columns[column], fontsize=9)
        axes[row, 0].set_ylabel(rows[row], rotation=0, ha="right", va="center", fontsize=9)
    # Room for the rows' titles, which the layout does not see.
    room = 0.5 / figure.get_figwidth()
    figure.get_layout_engine().set(rect=(room, 0, 1 - room, 1))
    bar = figure.colorbar(shown, ax=axes, extend="both", shrink=min(1.0, 2.2 / (height * n_rows) + 0.15))
    bar.set_label(label)
    return figure


def row_title(row) -> str:
    """``step 512, layer 4`` on two lines; a baseline by its name."""
    name = row.checkpoint if row.step != row.step else f"step {style.step_label(row.step)}"
    return f"{name}\nlayer {int(row.layer)}"


def read_index(path: str, image: str, n_volumes: int):
    """The rows of an index table that belong to one image.

    Raises
    ------
    InputError
        If they are not as many as the image has volumes.
    """
    index = reader.read_table(path, kind="maps")
    rows = index[index["image"] == image]
    if len(rows) != n_volumes:
        raise InputError(f"{path}: lists {len(rows)} volumes of {image!r}, the image has {n_volumes}; make both again")
    return rows


def score_slices(image_path: str, index_path: str, subject: str):
    """Axial slices of each checkpoint's best layer (by inner score), one row per checkpoint."""
    data, affine = upright(load_image(image_path))
    index = read_index(index_path, "score", data.shape[3])
    best = index[index["best_layer"] == 1]
    best = best[best["checkpoint"].isin(shown_checkpoints(best["checkpoint"]))]
    volumes = data[..., best["volume"].to_numpy(dtype=int)]
    inside = np.flatnonzero(np.isfinite(volumes).any(axis=(0, 1, 3)))
    if not len(inside):
        raise InputError(f"{image_path}: no voxel has a score")
    places = np.linspace(0, len(inside) - 1, min(MOST_SLICES, len(inside))).round().astype(int)
    chosen = inside[np.unique(places)]
    crop = cropped(volumes)
    middle = (np.array(data.shape[:3]) - 1) / 2
    heights = [float((affine @ [middle[0], middle[1], z, 1])[2]) for z in chosen]
    figure = picture_grid(
        [[volumes[*crop, z, row] for z in chosen] for row in range(len(best))],
        np.linalg.norm(affine[:3, :2], axis=0),
        colour_limit(volumes),
        [row_title(row) for row in best.itertuples()],
        [f"z = {height:.0f} mm".replace("-", "−") for height in heights],
        "Pearson r (mean over folds)",
    )
    style.title(
        figure,
        f"Participant {subject}: score of every voxel over training",
        "Each checkpoint at the layer with the highest inner score (not the score shown). Axial slices, left of the "
        "picture = the participant's left; grey: no voxel, or one without a score. One colour scale for all "
        f"checkpoints ({SHARE:g} % of |r| lie inside it)." + left_out(best, index),
    )
    return figure


def left_out(shown, index) -> str:
    """A sentence on the checkpoints that a picture has no room for."""
    n, total = shown["checkpoint"].nunique(), index["checkpoint"].nunique()
    return "" if n == total else f" {n} of {total} checkpoints; the image holds all."


def effect_projections(image_path: str, index_path: str, subject: str, removal: str | None, order: Sequence[str]):
    """Effects of removal seen from above: a row per checkpoint, a column per property."""
    data, affine = upright(load_image(image_path))
    index = read_index(index_path, "effects", data.shape[3])
    method = removal or index["removal"].iloc[0]
    rows = index[(index["removal"] == method) & index["step"].notna()]
    if rows.empty:
        raise InputError(f"{index_path}: no trained checkpoint has an effect of removal by {method!r}")
    rows = rows[rows["checkpoint"].isin(shown_checkpoints(rows["checkpoint"]))]
    names = [name for name in order if name in set(rows["property"])]
    names += sorted(set(rows["property"]) - set(names))
    volumes = data[..., rows["volume"].to_numpy(dtype=int)]
    if not np.isfinite(volumes).any():
        raise InputError(f"{image_path}: no voxel has a score")
    volumes = volumes[*cropped(volumes)]
    checkpoints = list(rows.drop_duplicates("checkpoint").itertuples())
    panels = [
        [extreme(volumes[..., int(np.flatnonzero(here & (rows["property"] == name))[0])]) for name in names]
        for here in (rows["checkpoint"] == row.checkpoint for row in checkpoints)
    ]
    figure = picture_grid(
        panels,
        np.linalg.norm(affine[:3, :2], axis=0),
        colour_limit(np.array(panels)),
        [row_title(row) for row in checkpoints],
        [style.label(name).replace(" ", "\n") for name in names],
        "residual − original (difference of r)",
    )
    trained = index[index["step"].notna()]
    style.title(
        figure,
        f"Participant {subject}: what removing each property changes, voxel by voxel",
        "Blue: removing the property hurts. Seen from above: each place shows the voxel furthest from 0 in its "
        "column, so that single voxels of noise show too. Left of the picture = the participant's left; grey: no "
        "voxel. Each checkpoint at the layer with the highest inner score; one colour scale for all. Removal by "
        f"{method}." + left_out(rows, trained),
    )
    return figure


def best_by_region(alignment):
    """Original representations at each region's best layer by inner score, per checkpoint and subject.

    Parameters
    ----------
    alignment : pandas.DataFrame
        ``tables/roi_alignment.tsv``.

    Returns
    -------
    pandas.DataFrame
        ``roi checkpoint step subject layer mean_r ci_low ci_high n_voxels n_invalid``.
    """
    cells = summaries.original(alignment).dropna(subset=["mean_r", "inner_score"])
    if cells.empty:
        raise InputError("roi_alignment table: no region has a score")
    cells = cells.sort_values("layer", kind="stable")
    best = cells.loc[cells.groupby(["roi", *summaries.CELL], dropna=False, sort=False)["inner_score"].idxmax()]
    columns = ["roi", *summaries.CELL, "layer", "mean_r", "ci_low", "ci_high", "n_voxels", "n_invalid"]
    return best[columns].sort_values(["step", "checkpoint"], kind="stable", ignore_index=True)


def dots_over_training(panel, axis: style.StepAxis, rows, subjects, value: str) -> None:
    """Each subject's dots with intervals, their mean as a line, and baselines (of the mean) dashed."""
    for k, (subject, mark) in enumerate(subjects.items()):
        dots = summaries.trained(rows[rows["subject"] == subject])
        places = axis(dots["step"]) + axis.dodge(k, len(subjects))
        panel.vlines(places, dots["ci_low"], dots["ci_high"], color=mark.colour, linewidth=1, alpha=0.5)
        look = {"s": 30, "color": mark.colour, "marker": mark.marker, "alpha": 0.85}
        panel.scatter(places, dots[value], **look, label=f"participant {subject}")
    means = rows.groupby(["checkpoint", "step"], dropna=False, sort=False)[value].mean().reset_index()
    line = summaries.trained(means)
    panel.plot(axis(line["step"]), line[value], color="black", marker="_", label="mean of participants", zorder=3)
    levels = means[means["step"].isna()]
    drawn = len(panel.lines)
    style.baselines(panel, dict(zip(levels["checkpoint"], levels[value], strict=True)))
    # One legend serves all panels, so that it cannot tell a panel's own value.
    for line, name in zip(panel.lines[drawn:], levels["checkpoint"], strict=True):
        line.set_label(f"{name} baseline")
    style.gridlines(panel)


def regions_over_training(alignment, choices: Figures):
    """Alignment over training, a panel per region."""
    best = best_by_region(alignment)
    if summaries.trained(best).empty:
        raise InputError("roi_alignment table: no checkpoint has a step; this figure needs one beside the baselines")
    regions = list(dict.fromkeys(alignment["roi"]))
    shown = regions[:MOST_REGIONS]
    columns = min(3, len(shown))
    n_rows = -(-len(shown) // columns)
    axis = style.StepAxis(summaries.trained(best)["step"], choices.step_axis, 3.0)
    subjects = style.subject_marks(list(dict.fromkeys(alignment["subject"])))
    figure, axes = style.subplots(3.9 * columns + 2.4, 2.9 * n_rows + 1.2, n_rows, columns, sharex=True, sharey=True)
    for k, panel in enumerate(axes.flat):
        if k >= len(shown):
            panel.set_axis_off()
            continue
        rows = best[best["roi"] == shown[k]]
        counts = alignment.loc[alignment["roi"] == shown[k], "n_voxels"]
        low, high = int(counts.min()), int(counts.max())
        size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        panel.set_title(f"{style.label(shown[k])} ({size} voxels)")
        dots_over_training(panel, axis, rows, subjects, "mean_r")
        axis.dress(panel)
        last = k + columns >= len(shown)
        panel.tick_params(labelbottom=last)
        panel.set_xlabel("training step" if last else "")
    for panel in axes[:, 0]:
        panel.set_ylabel("alignment (mean r)")
    style.legend(figure, axes[0, 0].get_legend_handles_labels()[0])
    more = "" if len(shown) == len(regions) else f" {len(shown)} of {len(regions)} regions; the table holds all."
    style.title(
        figure,
        "Alignment over training, region by region",
        "Mean over a region's voxels, at the region's best layer by inner score, chosen anew for each participant "
        "and checkpoint (the choice does not see the score shown). Thin bars: each participant's interval over folds."
        + more,
    )
    return figure, best


def ceiling_over_training(ratios, alignment, ceilings, choices: Figures):
    """Alignment as a share of the noise ceiling over training, at the best layer by inner score."""
    best = summaries.best_layers(alignment)[[*summaries.CELL, "layer_by_inner_score"]]
    best = best.rename(columns={"layer_by_inner_score": "layer"})
    shown = best.merge(
        summaries.original(ratios).drop(columns=["removal", "property", "step"]), on=["checkpoint", "subject", "layer"]
    ).dropna(subset="ratio")
    if summaries.trained(shown).empty:
        raise InputError(
            "alignment_to_ceiling table: no checkpoint has r/ceiling; lower noise_ceiling.threshold if no voxel "
            "exceeds it"
        )
    axis = style.StepAxis(summaries.trained(shown)["step"], choices.step_axis, 6)
    figure, axes = style.subplots(9, 5.6)
    panel = axes[0, 0]
    subjects = style.subject_marks(list(dict.fromkeys(ceilings["subject"])))
    dots_over_training(panel, axis, shown, subjects, "ratio")
    line = summaries.trained(shown).groupby("step")["ratio"].mean()
    style.numbers_above(panel, axis, [f"{value:.2f}" for value in line], "mean")
    panel.set_ylabel("alignment / noise ceiling\n(mean r / mean ceiling, same voxels)")
    axis.dress(panel)
    style.legend(figure, panel.get_legend_handles_labels()[0])
    n_others = int(ceilings["n_others"].iloc[0])
    others = "the other participant" if n_others == 1 else f"the {n_others} other participants"
    each = "; ".join(
        f"{row.subject} {row.mean_r_above:.3f} ({int(row.n_above):,} of {int(row.n_voxels):,} voxels)"
        for row in ceilings.itertuples()
    )
    style.title(
        figure,
        "Alignment as a share of the intersubject noise ceiling",
        f"Ceiling: each voxel predicted from {others}, same folds. Over voxels whose ceiling exceeds "
        f"{ceilings['threshold'].iloc[0]:g}; mean ceiling there: {each}. Best layer by inner score; thin bars: "
        "interval over folds.",
    )
    columns = [*summaries.CELL, "layer", "n_voxels", "mean_r", "mean_ceiling", "ratio", "ci_low", "ci_high"]
    return figure, shown[columns]


def main(argv: list[str] | None = None) -> None:
    """Command: draw `scores` or `effects` of a subject, `rois` or the `ceiling` over training."""
    parser = argparse.ArgumentParser(prog="dynalign.figures.brain_images", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--output", required=True, nargs="+", help=".png, .pdf, .svg; .tsv: the numbers drawn")
    for name in ("scores", "effects"):
        brain = commands.add_parser(name, parents=[output])
        brain.add_argument("--subject", required=True)
        brain.add_argument("--image", required=True, help="NIfTI of dynalign.statistics.maps")
        brain.add_argument("--index", required=True, help="maps/{subject}.tsv")
        if name == "effects":
            brain.add_argument("--removal", help="removal method; default: the first")
            brain.add_argument("--properties", nargs="+", default=[], help="their order")
    for name in ("rois", "ceiling"):
        over = commands.add_parser(name, parents=[output])
        over.add_argument("--alignment", required=True, help="tables/roi_alignment.tsv or alignment.tsv")
        over.add_argument("--options", type=options(Figures), default=Figures())
        if name == "ceiling":
            over.add_argument("--ratios", required=True, help="tables/alignment_to_ceiling.tsv")
            over.add_argument("--ceilings", required=True, help="tables/noise_ceiling.tsv")
    args = parser.parse_args(argv)

    numbers = None
    with style.context():
        if args.command == "scores":
            figure = score_slices(args.image, args.index, args.subject)
        elif args.command == "effects":
            figure = effect_projections(args.image, args.index, args.subject, args.removal, args.properties)
        elif args.command == "rois":
            table = summaries.read(args.alignment, "roi_alignment")
            figure, numbers = regions_over_training(table, args.options)
        else:
            ratios = summaries.read(args.ratios, "alignment_to_ceiling")
            alignment = summaries.read(args.alignment, "alignment")
            ceilings = summaries.read(args.ceilings, "noise_ceiling")
            figure, numbers = ceiling_over_training(ratios, alignment, ceilings, args.options)
        for path in args.output:
            if path.endswith(".tsv"):
                if numbers is None:
                    raise InputError(f"{path}: a brain image's numbers are the image's; name pictures only")
                writer.write_table(numbers, path)
            else:
                style.save(figure, path)


if __name__ == "__main__":
    run(main)
