"""Maps at the vertices of both hemispheres as pictures: which vertex each pixel of a view shows.

nilearn reads the meshes, and brings fsaverage5. A view is projected once, and each map is then looked up in it, so that
pictures of surfaces are pictures like others: one scale, outlines, and no polygons in files for print.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynalign.config.brain import kind_of
from dynalign.io.errors import InputError, existing
from dynalign.io.images import readable
from dynalign.responses import grayordinates, surfaces

#: Views: title, hemisphere, and for what lies to the picture's right and what towards the reader the sign of x or y.
VIEWS = (
    ("left, lateral", 0, -1, -1),
    ("left, medial", 0, 1, 1),
    ("right, medial", 1, -1, -1),
    ("right, lateral", 1, 1, 1),
)

#: Pixels of a view from side to side.
WIDTH = 220


def read_meshes(mesh: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Coordinates, (n_vertices, 3) in mm, and faces, (n_faces, 3), of the left and the right hemisphere.

    `mesh` is ``fsaverage5``, inflated, or a file for each; an `InputError` if that is missing or no mesh.
    """
    if list(mesh) == ["fsaverage5"]:
        from nilearn.datasets import load_fsaverage

        parts = load_fsaverage("fsaverage5")["inflated"].parts
        return [(parts[side].coordinates, parts[side].faces) for side in ("left", "right")]
    from nilearn.surface import load_surf_mesh

    found = []
    for path in mesh:
        with readable(existing(path), "mesh (.surf.gii)"):
            one = load_surf_mesh(path)
        found.append((np.asarray(one.coordinates), np.asarray(one.faces)))
    return found


def check_sizes(mesh: Sequence[str], sizes: Sequence[int], found: Sequence[int], source: str) -> None:
    """Check that maps, or the recordings in `source`, have as many vertices (L, R) as the mesh."""
    if [*found] != [*sizes]:
        raise InputError(
            f"brain.mesh: {' and '.join(mesh)} has {sizes[0]:,} and {sizes[1]:,} vertices, but {source} {found[0]:,} "
            f"and {found[1]:,} (L, R); give the surfaces of your data, or null, which draws no pictures"
        )


def folds_of(mesh: Sequence[str]) -> list[np.ndarray] | None:
    """Depth of sulci at fsaverage5's vertices, which landmarks are drawn by; None of other meshes."""
    if list(mesh) != ["fsaverage5"]:
        return None
    from nilearn.datasets import load_fsaverage_data

    parts = load_fsaverage_data(mesh="fsaverage5", data_type="sulcal").data.parts
    return [np.asarray(parts[side]).reshape(-1) for side in ("left", "right")]


def seen(coordinates: np.ndarray, faces: np.ndarray, right: int, towards: int) -> np.ndarray:
    """The vertex that each pixel of a view from the side shows, shape (x, y), −1 where there is none.

    `right` is the sign of y (to the front) on the picture's right, `towards` that of x towards the reader; z is up.
    """
    points = coordinates[:, [1, 2, 0]] * [right, 1, towards]
    low = points.min(axis=0)
    pixel = np.ptp(points[:, 0]) / (WIDTH - 1)
    corners = points[faces]
    # Points in each face, less than a pixel apart, each with the corner nearest to it.
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max()
    n = int(np.ceil(1.5 * longest / pixel)) + 1
    weights = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    where = weights.astype(np.float32) @ corners.astype(np.float32)
    vertex = faces[:, weights.argmax(axis=1)].ravel()
    x, y = ((where[..., :2] - low[:2]) / pixel).round().astype(int).reshape(-1, 2).T
    # The last that a pixel gets is the nearest to the reader.
    order = where[..., 2].ravel().argsort(kind="stable")
    picture = np.full((WIDTH, y.max() + 1), -1)
    picture[x[order], y[order]] = vertex[order]
    return picture


def at_vertices(paths: Sequence[str]) -> list[np.ndarray]:
    """Maps at the vertices of the left and the right hemisphere, (n_maps, n_vertices) each: GIFTI, or CIFTI's cortex.

    NaN where a vertex is no grayordinate; no vertices of a hemisphere that CIFTI lacks.
    """
    if kind_of(paths[0]) == "gifti":
        return [surfaces.read_vertices(path) for path in paths]
    image, _, models = grayordinates.axes(paths[0])
    values, found = grayordinates.data(image), {}
    for name, place, part in models.iter_structures():
        if name in models.nvertices:
            whole = np.full((len(values), models.nvertices[name]), np.nan, dtype=np.float32)
            whole[:, part.vertex] = values[:, place]
            found[name.removeprefix("CIFTI_STRUCTURE_")] = whole
    nothing = np.empty((len(values), 0))
    return [found.get(name, nothing) for name in grayordinates.CORTEX]


class Views:
    """The four :data:`VIEWS` of a mesh."""

    titles = tuple(title for title, *_ in VIEWS)

    def __init__(self, mesh: Sequence[str]):
        self._mesh = mesh
        meshes = read_meshes(mesh)
        self.sizes = [len(coordinates) for coordinates, _ in meshes]
        views = [seen(*meshes[side], right, towards) for _, side, right, towards in VIEWS]
        shape = np.max([view.shape for view in views], axis=0)
        offset = np.array([self.sizes[0] * side for _, side, *_ in VIEWS])
        #: Place of each pixel's vertex among those of L and R, (x, y, views); −1: none.
        self.places = np.full((*shape, len(views)), -1)
        for k, view in enumerate(views):
            # In the middle of what the largest takes.
            x, y = (shape - view.shape) // 2
            self.places[x : x + view.shape[0], y : y + view.shape[1], k] = np.where(view < 0, -1, view + offset[k])

        folds = folds_of(mesh)
        #: Pixels in sulci, (x, y, views), where the mesh tells.
        self.sulci = np.zeros(self.places.shape, dtype=bool)
        if folds is not None:
            self.sulci = self.show(np.concatenate(folds)[:, None])[..., 0] > 0

    def read(self, paths: Sequence[str]) -> np.ndarray:
        """Maps at all vertices, (n_vertices, n_maps); an `InputError` if they are not the mesh's."""
        parts = at_vertices(paths)
        check_sizes(self._mesh, self.sizes, [part.shape[1] for part in parts], str(paths[0]))
        return np.concatenate(parts, axis=1).T

    def show(self, values: np.ndarray) -> np.ndarray:
        """Values of shape (n_vertices, n_maps) as pictures, (x, y, views, n_maps); NaN where there is no vertex."""
        return np.where(self.places[..., None] < 0, np.nan, values[self.places])
