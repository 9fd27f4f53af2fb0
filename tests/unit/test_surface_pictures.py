"""Maps on surfaces: the right vertex at the right place of the right view."""

import nibabel
import numpy as np
import pytest
from nibabel import cifti2
from nibabel.gifti import GiftiDataArray
from tests import recordings as made
from tests.helpers import flags
from tests.unit.test_brain_images import index, outlined, pictures

from dynalign.figures import brain_images, surfaces
from dynalign.io.errors import InputError
from dynalign.tables import schema
from dynalign.tables.writer import write_table

#: Vertices of a hemisphere of fsaverage5.
N = 10_242


@pytest.fixture(scope="module")
def views():
    return surfaces.Views(["fsaverage5"])


@pytest.fixture(scope="module")
def coordinates():
    return [coordinates for coordinates, _ in surfaces.read_meshes(["fsaverage5"])]


@pytest.mark.parametrize(
    ("view", "side", "front", "seen_from"),
    [(0, 0, "left", -1), (1, 0, "right", 1), (2, 1, "left", -1), (3, 1, "right", 1)],
)
def test_front_and_top_lie_where_the_reader_expects_them(views, coordinates, view, side, front, seen_from):
    """Every pixel shows a vertex whose place along y and z is the pixel's, on the side that the reader sees."""
    places = views.places[:, :, view]
    x, y = np.nonzero(places >= 0)
    mm = coordinates[side][places[x, y] - side * N]
    assert (np.corrcoef(x, mm[:, 1])[0, 1] > 0.999) == (front == "right")
    assert (np.corrcoef(x, mm[:, 1])[0, 1] < -0.999) == (front == "left")
    assert np.corrcoef(y, mm[:, 2])[0, 1] > 0.999
    # In the middle of the picture, what is seen lies on the reader's side of what is behind it.
    middle = coordinates[side][:, 0].mean()
    centre = np.abs(x - x.mean()) + np.abs(y - y.mean()) < 30
    assert (seen_from * (mm[centre, 0] - middle) > 0).mean() > 0.99


def test_a_view_has_no_holes(views):
    from scipy.ndimage import binary_fill_holes

    for view in range(4):
        there = views.places[:, :, view] >= 0
        assert (binary_fill_holes(there) == there).all()
        assert 0.6 < there.mean() < 0.8


def test_the_nearest_face_hides_what_is_behind_it():
    """Two triangles at x = 0 and x = 5: from the right the second is seen, from the left the first."""
    triangle = np.array([[0.0, 0, 0], [0, 10, 0], [0, 0, 10]])
    both, faces = np.concatenate([triangle, triangle + np.array([5, 0, 0])]), np.array([[0, 1, 2], [3, 4, 5]])
    for towards, expected in ((1, {3, 4, 5}), (-1, {0, 1, 2})):
        picture = surfaces.seen(both, faces, 1, towards)
        assert set(np.unique(picture)) - {-1} == expected
        assert [picture[1, 1], picture[-2, 1], picture[1, -3]] == sorted(expected)


@pytest.fixture
def maps(tmp_path, coordinates):
    """Scores and effects of two checkpoints at fsaverage5's vertices; +0.5 and −0.4 planted at the left front."""
    rng = np.random.default_rng(0)
    front = int(coordinates[0][:, 1].argmax())
    near = np.linalg.norm(coordinates[0] - coordinates[0][front], axis=1) < 12
    rows, values = [], {"score": [], "effects": []}
    for checkpoint, step in (("step-0", 0), ("step-64", 64)):
        for image, arm in (("score", ("none", "original")), ("effects", ("ridge", "tense"))):
            rows.append([image, checkpoint, step, 2, *arm, 1])
            noise = rng.normal(0, 0.01, 2 * N)
            noise[:N][near] += {"score": 0.5, "effects": -0.4}[image] * (step == 64)
            noise[2 * N - 1] = np.nan
            values[image].append(noise)
    for image, parts in values.items():
        q = np.where(np.abs(parts) > 0.1, 0.01, np.where(np.isnan(parts), np.nan, 0.5))
        for name, data in ((image, np.array(parts)), (f"{image}_q", q)):
            made.gifti(tmp_path / f"{name}_L.gii", data[:, :N])
            made.gifti(tmp_path / f"{name}_R.gii", data[:, N:])
    write_table(index(rows), tmp_path / "index.tsv")
    removed = index(rows).query("image == 'effects'")[["checkpoint", "step", "layer", "removal", "property"]]
    others = [name for name in schema.TABLES["removal_effects"].columns if name not in removed]
    write_table(removed.assign(**dict.fromkeys(others, 0.1)).assign(subject="F"), tmp_path / "effects.tsv")
    return tmp_path


def files(folder, name):
    return [f"{folder}/{name}_{hemi}.gii" for hemi in "LR"]


def test_scores_are_drawn_in_four_views_of_both_hemispheres(maps):
    given = files(maps, "score"), files(maps, "score_q"), maps / "index.tsv", "F", 0.05, "score", ["fsaverage5"]
    figure, _ = brain_images.slices(*given)
    panels = pictures(figure)
    assert len(panels) == 2 * 4
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["left, lateral", "left, medial", "right, medial", "right, lateral"]
    assert not figure.axes[0].texts
    # The left front is on the left of the left hemisphere's lateral view, on the right of its medial one.
    for place, front in ((4, range(0, 30)), (5, range(190, 220))):
        planted, _ = np.nonzero(panels[place].get_array().filled(np.nan).T > 0.4)
        assert len(planted) > 20
        assert set(planted) <= {*front}
    for place in (0, 1, 2, 3, 6, 7):
        assert np.nanmax(np.abs(panels[place].get_array().filled(np.nan))) < 0.1


def test_effects_are_drawn_from_both_sides_the_left_above_the_right(maps):
    given = files(maps, "effects"), files(maps, "effects_q"), maps / "index.tsv", maps / "effects.tsv"
    figure, _ = brain_images.effect_projections(*given, "F", "", ["tense"], 0.05, ["fsaverage5"])
    panels = pictures(figure)
    assert len(panels) == 2
    picture = panels[1].get_array().filled(np.nan).T
    across, up = np.nonzero(picture < -0.3)
    assert len(across) > 20
    assert across.max() < 30
    assert up.min() > picture.shape[1] // 2
    assert 1 in outlined(figure)


def test_the_cortex_of_grayordinates_is_drawn_as_surfaces_are(maps, views):
    """Without the vertices that it leaves out, and the voxels below the cortex."""
    there = np.arange(N) % 5 > 0
    models = cifti2.BrainModelAxis.from_mask(np.ones((1, 1, 2)), affine=np.eye(4))
    for side in ("left", "right"):
        models = cifti2.BrainModelAxis.from_surface(np.flatnonzero(there), N, f"cortex_{side}") + models
    data = views.read(files(maps, "score")).T
    right, left = data[:, N:][:, there], data[:, :N][:, there]
    path = f"{maps}/score.dscalar.nii"
    made.scalars(path, np.concatenate([right, left, np.ones((2, 2))], axis=1), models)
    both = np.tile(there, 2)
    np.testing.assert_array_equal(views.read([path])[both], data.T[both])
    assert np.isnan(views.read([path])[~both]).all()


def test_a_users_own_surfaces_are_drawn_on(tmp_path, maps, views):
    triangle = np.array([[0, 0, 0], [0, 10, 0], [0, 0, 10], [0, 10, 10]], dtype=np.float32)
    corners, faces = GiftiDataArray(triangle, 1008), GiftiDataArray(np.array([[0, 1, 2], [1, 2, 3]], dtype="i4"), 1009)
    mesh = [f"{tmp_path}/{hemi}.surf.gii" for hemi in "LR"]
    for path in mesh:
        nibabel.GiftiImage(darrays=[corners, faces]).to_filename(path)
    own = surfaces.Views(mesh)
    assert own.sizes == [4, 4]
    shown = own.show(np.arange(8.0)[:, None])[..., 0]
    assert shown[0, 0].tolist() == [1, 0, 5, 4]
    with pytest.raises(InputError, match=r"L\.surf\.gii and .* has 4 and 4 vertices, but .*score_L\.gii 10,242 and 10"):
        own.read(files(maps, "score"))
    (tmp_path / "R.surf.gii").write_text("no mesh")
    with pytest.raises(InputError, match=r"R\.surf\.gii: not a whole mesh"):
        surfaces.Views(mesh)
    with pytest.raises(InputError, match=r"X\.surf\.gii: no such file"):
        surfaces.Views([mesh[0], f"{tmp_path}/X.surf.gii"])


def test_the_same_maps_give_the_same_picture(maps):
    command = ["scores", *flags(subject="F", image=files(maps, "score"), q=files(maps, "score_q"))]
    command += flags(index=maps / "index.tsv", level=0.05, mesh="fsaverage5")
    for name in ("one.png", "two.png"):
        brain_images.main([*command, *flags(output=maps / name)])
    assert (maps / "one.png").read_bytes() == (maps / "two.png").read_bytes()
