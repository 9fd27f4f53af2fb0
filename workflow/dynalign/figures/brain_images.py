"""Pictures of the brain images, of regions over training, and of alignment set against the noise ceiling.

Brain images are drawn by matplotlib alone, in each subject's own space: a glass brain's outline, as nilearn draws it,
belongs to a template that these images are not in. nibabel turns them so that the picture's right is the subject's
right, whatever order the axes have in the file. Maps on surfaces are drawn in views of a mesh
(:mod:`dynalign.figures.surfaces`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynalign.cli import commands, run
from dynalign.config.figures import Figures
from dynalign.figures import elements, style
from dynalign.figures.elements import StepAxis
from dynalign.figures.surfaces import Views
from dynalign.io.errors import InputError
from dynalign.io.images import load_image
from dynalign.statistics import summaries
from dynalign.tables import reader

#: Rows of a picture (of more checkpoints, evenly spaced ones are drawn), slices side by side, and panels of regions
#: (further ones stand in the table alone).
MOST_ROWS, MOST_SLICES, MOST_REGIONS = 12, 6, 24

#: Share of voxel values that the colour scale spans; what lies beyond has the end's colour.
SHARE = 99.5

#: Colour of what is no voxel, or has no score: not that of 0.
OUTSIDE = "#d4d4d4"


def evenly_spaced(items: Sequence, most: int) -> list:
    """All items, or `most` evenly spaced ones, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[place] for place in places]


def upright(image) -> tuple[np.ndarray, np.ndarray]:
    """The data and the affine of an image with x to the subject's right, y to the front, z up, as near as may be."""
    import nibabel

    turned = nibabel.as_closest_canonical(image)
    return np.asarray(turned.dataobj), turned.affine


def read_maps(paths: Sequence[str], views: Views | None) -> tuple[np.ndarray, np.ndarray]:
    """Maps along the last axis: volumes, :func:`upright`, or values at vertices; and the affine of a picture."""
    return (views.read(paths), np.eye(4)) if views else upright(load_image(*paths))


def extreme(volume: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value furthest from 0 along the last axis, with its sign, and its q; NaN where there is none."""
    place = np.where(np.isfinite(volume), np.abs(volume), -1.0).argmax(axis=-1)[..., None]
    value, adjusted = (np.take_along_axis(part, place, axis=-1)[..., 0] for part in (volume, q))
    return value, adjusted


def lateral(views: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lateral view of the left hemisphere above that of the right, of values and of their q: (x, y, views) each."""
    value, adjusted = (np.concatenate([part[..., -1], part[..., 0]], axis=1) for part in (views, q))
    return value, adjusted


def outline(panel, inside: np.ndarray, width: float = 0.9) -> None:
    """Draw the border of the pixels `inside`, boolean of shape (x, y)."""
    if inside.any():
        # Many points to a pixel, so that the border keeps its corners; one pixel more lets it close at the edge.
        fine = np.kron(np.pad(inside, 1).T, np.ones((10, 10)))
        span = (-1.5, inside.shape[0] + 0.5, -1.5, inside.shape[1] + 0.5)
        limits = panel.axis()
        panel.contour(fine, [0.5], extent=span, colors="black", linewidths=width)
        panel.axis(limits)


def picture_grid(
    panels: Sequence[Sequence],
    significant,
    affine,
    values: np.ndarray,
    rows,
    columns,
    label: str,
    notes=None,
    landmarks: Sequence[np.ndarray] | None = None,
    sides: bool = True,
):
    """A figure of pictures, rows of arrays of shape (x, y), all on one colour scale.

    The scale is symmetric, up to the percentile :data:`SHARE` of the absolute `values`, and `label` names it with its
    unit; `significant` pixels, rows of boolean arrays, are outlined; `rows` and `columns` are titles, `notes` stand
    below each picture. The image's affine, of shape (4, 4), gives the size of a voxel. `landmarks`, a boolean
    array for each column, are drawn as thin lines; `sides` writes L and R into axial pictures.
    """
    from matplotlib import colormaps

    n_rows, n_columns = len(panels), len(panels[0])
    x, y = np.linalg.norm(affine[:3, :2], axis=0)
    width, shape = 1.35, panels[0][0].shape
    height = min(max(width * shape[1] * y / (shape[0] * x), 0.8), 2.2)
    size = width * n_columns + 2.9, height * n_rows + 1.5 + 0.25 * (n_rows < 3)
    figure, axes = style.subplots(*size, n_rows, n_columns)
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(finite, SHARE)) if len(finite) else 0.0
    limit = limit if limit > 0 else 1.0
    look = {"cmap": colormaps["RdBu_r"].with_extremes(bad=OUTSIDE), "vmin": -limit, "vmax": limit}
    look |= {"origin": "lower", "interpolation": "nearest", "aspect": y / x}
    pictures = [pair for pairs in zip(panels, significant, strict=True) for pair in zip(*pairs, strict=True)]
    for number, (panel, (picture, inside)) in enumerate(zip(axes.flat, pictures, strict=True)):
        shown = panel.imshow(picture.T, **look)
        if landmarks is not None and landmarks[number % n_columns].any():
            panel.contour(landmarks[number % n_columns].T, [0.5], colors="0.45", linewidths=0.35)
        outline(panel, inside, 0.9 if sides else 0.5)
        panel.set(xticks=[], yticks=[], frame_on=False)
        for text, place, across in (("L", 0.02, "left"), ("R", 0.98, "right")) if sides else ():
            corner = {"transform": panel.transAxes, "ha": across, "va": "top", "fontsize": 7}
            panel.text(place, 0.98, text, color=style.NOTE, **corner)
    for panel, note in zip(axes.flat, (note for row in notes or () for note in row), strict=notes is not None):
        panel.set_xlabel(note, fontsize=7, color=style.NOTE, labelpad=1)
    for panel, title in zip(axes[0], columns, strict=True):
        panel.set_title(title, fontsize=9)
    for panel, title in zip(axes[:, 0], rows, strict=True):
        panel.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    # Room for the rows' titles, which the layout does not see.
    room = 0.5 / figure.get_figwidth()
    figure.get_layout_engine().set(rect=(room, 0, 1 - room, 1))
    shrink = min(1.0, 2.2 / (height * n_rows) + 0.15)
    figure.colorbar(shown, ax=axes, extend="both", shrink=shrink, label=label)
    return figure


def row_title(row) -> str:
    """``step 512, layer 4`` on two lines; a baseline by its name."""
    name = row.checkpoint if row.step != row.step else f"step {style.step_label(row.step)}"
    return f"{name}\nlayer {int(row.layer)}"


def read_index(path: str, image: str, n_volumes: int):
    """The rows of an index table that belong to one image; `InputError` if they are not as many as its volumes."""
    index = reader.read_table(path, kind="maps")
    rows = index[index["image"] == image]
    if len(rows) != n_volumes:
        raise InputError(f"{path}: lists {len(rows)} volumes of {image!r}, the image has {n_volumes}; make both again")
    return rows


def shown_volumes(image_path: str, data: np.ndarray, q: np.ndarray, rows, index, views: Views | None):
    """What a picture has room for: some of `rows`, and a sentence on the checkpoints of `index` that are left out.

    Their volumes, and those of q, are cropped along x and y to scored voxels, with one more on each side where there
    is one. Maps on surfaces become their views.
    """
    shown = rows[rows["checkpoint"].isin(evenly_spaced(rows["checkpoint"].unique(), MOST_ROWS))]
    volumes, q = (part[..., shown["volume"].to_numpy(dtype=int)] for part in (data, q))
    if views:
        volumes, q = views.show(volumes), views.show(q)
    there = np.isfinite(volumes).any(axis=(2, 3))
    if not there.any():
        raise InputError(f"{image_path}: no voxel has a score")
    # Landmarks have the size of whole views.
    there |= views is not None
    edges = [np.flatnonzero(there.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    x, y = (slice(max(first - 1, 0), last + 2) for first, last in edges)
    n, total = shown["checkpoint"].nunique(), index["checkpoint"].nunique()
    return shown, volumes[x, y], q[x, y], "" if n == total else f" {n} of {total} checkpoints; the image holds all."


#: Images drawn slice by slice: what the colour scale shows, what the title says.
SLICES = {
    "score": ("Pearson r (mean over folds)", "score of every voxel over training"),
    "unique": ("r with the vectors − r of nuisance alone", "what the model adds to nuisance features, voxel by voxel"),
}


def slices(
    image_paths: Sequence[str],
    q_paths: Sequence[str],
    index_path: str,
    subject: str,
    level: float,
    image: str = "score",
    mesh: Sequence[str] = (),
):
    """Axial slices of each checkpoint's best layer (by inner score), one row per checkpoint; q < `level` outlined.

    `image` is one of :data:`SLICES`. With a `mesh`, its views stand for slices.
    """
    views = Views(mesh) if mesh else None
    data, affine = read_maps(image_paths, views)
    index = read_index(index_path, image, data.shape[-1])
    label, heading = SLICES[image]
    q, _ = read_maps(q_paths, views)
    best, volumes, q, left_out = shown_volumes(image_paths[0], data, q, index[index["best_layer"] == 1], index, views)
    chosen = evenly_spaced(np.flatnonzero(np.isfinite(volumes).any(axis=(0, 1, 3))), MOST_SLICES)
    if views:
        titles = [views.titles[z] for z in chosen]
    else:
        middle = (np.array(data.shape[:3]) - 1) / 2
        heights = [float((affine @ [middle[0], middle[1], z, 1])[2]) for z in chosen]
        titles = [f"z = {height:.0f} mm".replace("-", "−") for height in heights]
    significant = (q < level) & (volumes > 0)
    figure = picture_grid(
        [[volumes[:, :, z, row] for z in chosen] for row in range(len(best))],
        [[significant[:, :, z, row] for z in chosen] for row in range(len(best))],
        affine,
        volumes,
        [row_title(row) for row in best.itertuples()],
        titles,
        label,
        landmarks=[views.sulci[:, :, z] for z in chosen] if views else None,
        sides=views is None,
    )
    note = f"Outlined: above 0, p < {level:g} adjusted over voxels{'' if significant.any() else ' (none)'}."
    note += " Grey: no score." if views else " Left: the participant's left. Grey: no score."
    style.title(figure, f"Participant {subject}: {heading}", note + left_out)
    return figure, None


def effect_projections(
    image_paths: Sequence[str],
    q_paths: Sequence[str],
    index_path: str,
    effects_path: str,
    subject: str,
    removal: str,
    order: Sequence[str],
    level: float,
    mesh: Sequence[str] = (),
):
    """Effects of removal seen from above: a row per checkpoint, a column per property, below what is read of it.

    With a `mesh`, they are seen from both sides.
    """
    views = Views(mesh) if mesh else None
    data, affine = read_maps(image_paths, views)
    index = read_index(index_path, "effects", data.shape[-1])
    method = removal or index["removal"].iloc[0]
    rows = index[(index["removal"] == method) & index["step"].notna()]
    if rows.empty:
        raise InputError(f"{index_path}: no trained checkpoint has an effect of removal by {method!r}")
    q, _ = read_maps(q_paths, views)
    trained = index[index["step"].notna()]
    rows, volumes, q, left_out = shown_volumes(image_paths[0], data, q, rows, trained, views)
    flat = lateral if views else extreme
    names = [name for name in order if name in set(rows["property"])]
    names += sorted(set(rows["property"]) - set(names))
    checkpoints = list(rows.drop_duplicates("checkpoint").itertuples())
    panels, significant = [], []
    for row in checkpoints:
        here = rows["checkpoint"] == row.checkpoint
        places = [int(np.flatnonzero(here & (rows["property"] == name))[0]) for name in names]
        values, adjusted = zip(*(flat(volumes[..., place], q[..., place]) for place in places), strict=True)
        panels.append(values)
        significant.append([one < level for one in adjusted])
    table = reader.read_table(effects_path, kind="removal_effects")
    table = table[(table["subject"] == subject) & (table["removal"] == method)]
    read = table.set_index(["checkpoint", "layer", "property"])[["readable_before", "readable_after"]]

    def reading(row, name: str) -> str:
        before, after = read.loc[(row.checkpoint, row.layer, name)]
        return f"{before:.2f} → {after:.2f}".replace("-", "−") if np.isfinite(before) else ""

    figure = picture_grid(
        panels,
        significant,
        affine,
        np.array(panels),
        [row_title(row) for row in checkpoints],
        [style.label(name).replace(" ", "\n") for name in names],
        "residual − original (difference of r)",
        [[reading(row, name) for name in names] for row in checkpoints],
        landmarks=[lateral(views.sulci, views.sulci)[0]] * len(names) if views else None,
        sides=views is None,
    )
    outlined = f"p < {level:g}, adjusted" + ("" if np.any(significant) else " (none)")
    note = f"Removal by {method}. Blue: it hurts. Outlined: {outlined}. Below: r read, before → after."
    heading = f"Participant {subject}: what removing each property changes, voxel by voxel"
    style.title(figure, heading, note + left_out)
    return figure, None


def best_by_region(alignment):
    """Each region's rows of ``tables/roi_alignment.tsv`` at its best layer by inner score; `InputError` without any."""
    cells = summaries.original(alignment).dropna(subset=["mean_r", "inner_score"])
    if cells.empty:
        raise InputError("roi_alignment table: no region has a score")
    cells = cells.sort_values("layer", kind="stable")
    best = cells.loc[cells.groupby(["roi", *summaries.CELL], dropna=False, sort=False)["inner_score"].idxmax()]
    columns = ["roi", *summaries.CELL, "layer", "mean_r", "ci_low", "ci_high", "n_voxels", "n_invalid"]
    return best[columns].sort_values(["step", "checkpoint"], kind="stable", ignore_index=True)


def dots_over_training(panel, axis: StepAxis, rows, subjects, value: str) -> None:
    """Each participant's dots with intervals, their mean as a line, and baselines (of the mean) dashed."""
    means = rows.groupby(["checkpoint", "step"], dropna=False, sort=False)[value].mean().reset_index()
    elements.participants(panel, axis, rows, subjects, value)
    elements.mean_line(panel, axis, means, value)
    elements.baselines(panel, means, value, values=False)
    elements.gridlines(panel)


def regions_over_training(alignment, choices: Figures):
    """Alignment over training, a panel per region."""
    best = best_by_region(alignment)
    if summaries.trained(best).empty:
        raise InputError("roi_alignment table: no checkpoint has a step; this figure needs one beside the baselines")
    regions = list(dict.fromkeys(alignment["roi"]))
    shown = regions[:MOST_REGIONS]
    columns = min(3, len(shown))
    n_rows = -(-len(shown) // columns)
    axis = StepAxis(summaries.trained(best)["step"], choices.step_axis, 3.0)
    subjects = style.subject_marks(list(dict.fromkeys(alignment["subject"])))
    figure, axes = style.subplots(3.9 * columns + 2.4, 2.9 * n_rows + 1.2, n_rows, columns, sharex=True, sharey=True)
    for k, (panel, region) in enumerate(zip(axes.flat, shown, strict=False)):
        voxels = summaries.spread(alignment.loc[alignment["roi"] == region, "n_voxels"])
        dots_over_training(panel, axis, best[best["roi"] == region], subjects, "mean_r")
        axis.dress(panel)
        last = k + columns >= len(shown)
        panel.tick_params(labelbottom=last)
        panel.set(title=f"{style.label(region)} ({voxels} voxels)", xlabel="training step" if last else "")
        panel.set_ylabel("alignment (mean Pearson r)" if k % columns == 0 else "")
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    elements.legend(figure, [axes[0, 0]], *elements.interval_keys(subjects))
    more = "" if len(shown) == len(regions) else f" {len(shown)} of {len(regions)} regions; the table holds all."
    style.title(figure, "Alignment over training, region by region", f"Best layer of each region by inner score.{more}")
    return figure, best


def ceiling_over_training(ratios, alignment, ceilings, choices: Figures):
    """Alignment over the noise ceiling, over training, at the best layer by inner score."""
    best = summaries.best_layers(alignment)[[*summaries.CELL, "layer_by_inner_score"]]
    best = best.rename(columns={"layer_by_inner_score": "layer"})
    ratios = summaries.original(ratios).drop(columns=["removal", "property", "step"])
    shown = best.merge(ratios, on=["checkpoint", "subject", "layer"]).dropna(subset="ratio")
    if summaries.trained(shown).empty:
        raise InputError(
            "alignment_to_ceiling table: no checkpoint has r/ceiling; lower noise_ceiling.threshold if no voxel "
            "exceeds it"
        )
    axis = StepAxis(summaries.trained(shown)["step"], choices.step_axis, 6)
    figure, ((panel,),) = style.subplots(9, 5.6)
    subjects = style.subject_marks(list(dict.fromkeys(ceilings["subject"])))
    dots_over_training(panel, axis, shown, subjects, "ratio")
    line = summaries.trained(shown).groupby("step")["ratio"].mean()
    elements.numbers_above(panel, axis, [f"{value:.2f}" for value in line])
    axis.dress(panel)
    panel.set_ylabel("alignment / noise ceiling\n(mean r / mean ceiling, same voxels)")
    elements.legend(figure, [panel], *elements.interval_keys(subjects))
    each = "; ".join(
        f"{row.subject} {row.mean_r_above:.3f} ({int(row.n_above):,} of {int(row.n_voxels):,} voxels)"
        for row in ceilings.itertuples()
    )
    if elements.crowded(subjects):
        low, high = ceilings["mean_r_above"].min(), ceilings["mean_r_above"].max()
        each = f"{low:.3f} to {high:.3f} in {len(subjects)} participants"
    style.title(figure, "Alignment over the noise ceiling", f"Mean ceiling: {each}.")
    columns = [*summaries.CELL, "layer", "n_voxels", "mean_r", "mean_ceiling", "ratio", "ci_low", "ci_high"]
    return figure, shown[columns]


def scores(
    image: list[str],
    q: list[str],
    index: str,
    subject: str,
    output: list[str],
    level: float,
    mesh: tuple[str, ...] = (),
) -> None:
    """Draw a participant's scores from above; `q` tells the voxels that are significant at `level`.

    Maps on surfaces are drawn on a `mesh`: ``fsaverage5``, or files of the left and right hemisphere.
    """
    style.write(output, slices, image, q, index, subject, level, "score", mesh)


def unique(
    image: list[str],
    q: list[str],
    index: str,
    subject: str,
    output: list[str],
    level: float,
    mesh: tuple[str, ...] = (),
) -> None:
    """As `scores`, what the vectors add to nuisance features."""
    style.write(output, slices, image, q, index, subject, level, "unique", mesh)


def effects(
    image: list[str],
    q: list[str],
    index: str,
    effects: str,
    subject: str,
    output: list[str],
    level: float,
    properties: tuple[str, ...] = (),
    removal: str = "",
    mesh: tuple[str, ...] = (),
) -> None:
    """Draw the `effects` (their table) of a `removal` (default: the first) on a participant, `properties` in order."""
    style.write(output, effect_projections, image, q, index, effects, subject, removal, properties, level, mesh)


def rois(alignment: str, output: list[str], options: Figures = Figures()) -> None:
    """Draw ``tables/roi_alignment.tsv`` over training; a .tsv among `output` takes the numbers drawn."""
    style.write(output, regions_over_training, summaries.read(alignment, "roi_alignment"), options)


def ceiling(alignment: str, ratios: str, ceilings: str, output: list[str], options: Figures = Figures()) -> None:
    """Draw ``tables/alignment_to_ceiling.tsv`` (`ratios`) over training; `ceilings` is ``noise_ceiling.tsv``."""
    given = {"alignment_to_ceiling": ratios, "alignment": alignment, "noise_ceiling": ceilings}
    tables = [summaries.read(path, kind) for kind, path in given.items()]
    style.write(output, ceiling_over_training, *tables, options)


main = commands(scores, unique, effects, rois, ceiling)

if __name__ == "__main__":
    run(main)
