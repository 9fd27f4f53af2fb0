"""Responses: cleaning against SciPy and least squares, trimming, images."""

import nibabel
import numpy as np
import pytest
from scipy.signal import detrend
from tests.helpers import flags

from dynalign.config.brain import Brain
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.io.images import load_image, write_image
from dynalign.responses import recordings
from dynalign.responses.kinds import check_images
from dynalign.responses.regions import count_voxels
from dynalign.responses.space import measured_rows
from dynalign.responses.volumes import brain_mask
from dynalign.tables.writer import write_table

RUNS = np.repeat([1, 2], [40, 50])


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    return rng.standard_normal((90, 7)) + np.linspace(0, 30, 90)[:, None]


def test_linear_detrending_is_scipys_run_by_run(series):
    cleaned = recordings.clean_runs(series, RUNS, 2.0, Brain(detrend="linear"))
    expected = np.concatenate([detrend(series[:40], axis=0), detrend(series[40:], axis=0)])
    np.testing.assert_allclose(cleaned, expected, atol=1e-10)


def test_cosine_drift_goes_and_a_fast_response_stays():
    times = 2.0 * np.arange(200)
    slow = 5 * np.cos(np.pi * 3 * (np.arange(200) + 0.5) / 200)  # period 267 s
    fast = np.sin(2 * np.pi * times / 20)
    cleaned = recordings.clean_runs((slow + fast)[:, None], np.ones(200), 2.0, Brain(detrend="cosine"))[:, 0]
    assert np.corrcoef(cleaned, fast)[0, 1] > 0.998
    assert abs(cleaned @ slow) < 1e-8 * (slow @ slow)


def test_standardised_runs_have_unit_variance_and_constants_stay_constant(series):
    series[:, 3] = 4.0
    cleaned = recordings.clean_runs(series, RUNS, 2.0, Brain(detrend="cosine", high_pass_s=40, standardize=True))
    for rows in (slice(0, 40), slice(40, 90)):
        np.testing.assert_allclose(np.delete(cleaned[rows], 3, axis=1).std(axis=0), 1, atol=1e-12)
    assert np.ptp(cleaned[:, 3]) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_leaves_of_a_constant_is_constant(dtype):
    """Constants, in a run or all, and a line, to the last bit or two of float32; the last voxel varies little."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((90, 4))
    noise[:, 0] = 1000.1 + 1e-4 * rng.integers(-1, 2, 90)
    noise[:, 1] = 900.3 + 7.7 * np.arange(90)
    noise[:40, 2] = 1000.1 + 1e-4 * rng.integers(-1, 2, 40)
    noise[:, 3] = 1000.1 + 0.05 * noise[:, 3]
    values = noise.astype(np.float32).astype(dtype)
    for choices in ({"detrend": "linear"}, {"detrend": "linear", "standardize": True}):
        cleaned = recordings.clean_runs(values, RUNS, 2.0, Brain(**choices))
        assert (cleaned[:, :2] == 0).all()
        assert (cleaned[:40, 2] == 0).all()
        assert (cleaned[40:, 2:].std(axis=0) > 0.02).all()
        assert (cleaned[:40, 3] != 0).all()
    cleaned = recordings.clean_runs(values, RUNS, 2.0, Brain(standardize=True))
    assert (cleaned[:, 0] == 0).all()
    np.testing.assert_allclose(cleaned[:40, [1, 3]].std(axis=0), 1)


def test_a_voxel_that_is_not_finite_leaves_the_others_alone(series):
    alone = recordings.clean_runs(series, RUNS, 2.0, Brain(detrend="linear", standardize=True))
    series[13, 1] = np.nan
    cleaned = recordings.clean_runs(series, RUNS, 2.0, Brain(detrend="linear", standardize=True))
    np.testing.assert_allclose(np.delete(cleaned, 1, axis=1), np.delete(alone, 1, axis=1), atol=1e-12)
    assert np.isnan(cleaned[13, 1])


def test_rows_are_trimmed_once():
    kept = np.array([False, True, True, False])
    assert measured_rows(4, kept, "x").tolist() == [0, 1, 2, 3]
    assert measured_rows(2, kept, "x").tolist() == [1, 2]
    with pytest.raises(InputError, match=r"x: 3 rows.*4 TRs, 2 after"):
        measured_rows(3, kept, "x")


def write_subject(folder, volumes, mask, affine=None):
    """Images with a TR of 2 s, and their mask."""
    affine = np.eye(4) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.eye(4)), folder / "S_mask.nii.gz")
    for number, data in enumerate(volumes, start=1):
        write_image(folder / f"S_{number:02d}.nii.gz", data.astype(np.float32), affine, 2.0)
    return Brain(images=f"{folder}/{{subject}}_{{run:02d}}.nii.gz", mask=f"{folder}/{{subject}}_mask.nii.gz")


def read(brain, lengths, kept=None, tr=2.0):
    """Runs of these lengths in TRs, all kept by default."""
    runs = np.repeat(1 + np.arange(len(lengths)), lengths)
    return recordings.read_images(brain, "S", runs, np.ones(len(runs), dtype=bool) if kept is None else kept, tr)


def voxel_by_voxel(volumes, mask):
    """Rows of voxels in the mask's C order, by their places."""
    return np.array([[volume[tuple(ijk)] for ijk in np.argwhere(mask)] for volume in np.moveaxis(volumes, 3, 0)])


def test_images_come_back_voxel_by_voxel(tmp_path):
    rng = np.random.default_rng(1)
    mask = rng.random((3, 4, 2)) > 0.5
    volumes = [rng.standard_normal((3, 4, 2, n)).astype(np.float32) for n in (5, 6)]
    responses, rows = read(write_subject(tmp_path, volumes, mask), [5, 6])
    np.testing.assert_array_equal(responses, voxel_by_voxel(np.concatenate(volumes, 3), mask))
    assert rows.tolist() == list(range(11))


def test_a_run_may_be_trimmed_and_another_whole(tmp_path):
    """Two studies of the same responses, one with a run trimmed beforehand, give the same; cleaning sees what is there.

    The reference cleans the whole first run, and what trimming leaves of the second.
    """
    import pandas as pd

    rng = np.random.default_rng(3)
    mask = np.ones((2, 2, 1), dtype=bool)
    volumes = [rng.standard_normal((2, 2, 1, n)).cumsum(axis=3).astype(np.float32) for n in (30, 40)]
    kept = np.ones(70, dtype=bool)
    kept[[0, 1, 29, 30, 31, 69]] = False
    trs = pd.DataFrame({"tr": range(70), "run": np.repeat([1, 2], [30, 40]), "time": 2.0 * np.arange(70)})
    write_table(trs.assign(kept=kept.astype(int)), tmp_path / "trs.tsv")
    brain = write_subject(tmp_path, [volumes[0], volumes[1][..., 2:-1]], mask).model_copy(update={"detrend": "linear"})
    command = flags(trs=tmp_path / "trs.tsv", subject="S", output=tmp_path / "out.npy")
    recordings.main([*command, *flags(options=brain.model_dump_json())])
    whole, trimmed = voxel_by_voxel(volumes[0], mask), voxel_by_voxel(volumes[1], mask)[2:-1]
    expected = np.concatenate([detrend(whole, axis=0)[2:-1], detrend(trimmed, axis=0)])
    np.testing.assert_allclose(read_array(tmp_path / "out.npy"), expected, atol=1e-5)
    write_subject(tmp_path, [volumes[0], volumes[1][..., 2:]], mask)
    with pytest.raises(InputError, match=r"S_02\.nii\.gz: 38 volumes, but run 2 has 40 TRs \(story\.trs\), 37 after"):
        recordings.main([*command, *flags(options=brain.model_dump_json())])


def test_wrong_images_are_named(tmp_path):
    mask = np.ones((2, 2, 2), dtype=bool)
    brain = write_subject(tmp_path, [np.zeros((2, 2, 2, 5))], mask)
    with pytest.raises(InputError, match=r"S_01\.nii\.gz: 5 volumes.*6 TRs"):
        read(brain, [6])
    with pytest.raises(InputError, match=r"S_02\.nii\.gz: no such file"):
        read(brain, [5, 5])
    (tmp_path / "S_01.nii.gz").write_bytes((tmp_path / "S_01.nii.gz").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"S_01\.nii\.gz"):
        read(brain, [5])
    write_subject(tmp_path, [np.zeros((2, 2, 2, 5))], mask, affine=np.diag([-1, 1, 1, 1]))
    with pytest.raises(InputError, match=r"affine differs .* by up to 2 mm \(axes LAS and RAS\); resample one"):
        read(brain, [5])
    write_subject(tmp_path, [np.zeros((2, 2, 3, 5))], mask)
    with pytest.raises(
        InputError, match=r"a grid of 2 × 2 × 3 voxels, that of .*S_mask\.nii\.gz has 2 × 2 × 2; resample"
    ):
        read(brain, [5])


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 2, 2), r"shape \(2, 2, 2\), but a run is a 4-D image"), ((2, 2, 2, 1, 5), r"1, 5\).*take the dimension of")],
)
def test_a_run_has_four_dimensions(tmp_path, shape, message):
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, dtype=np.float32), np.eye(4)), tmp_path / "S_01.nii.gz")
    with pytest.raises(InputError, match=message):
        read(brain, [5])


def header(folder, stated, unit):
    image = nibabel.Nifti1Image(np.ones((2, 2, 2, 5), dtype=np.float32), np.eye(4))
    image.header["pixdim"][4] = stated
    if unit is not None:
        image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, folder / "S_01.nii.gz")


@pytest.mark.parametrize(
    ("stated", "unit", "tr"),
    [(1.5, "sec", 1.5), (2000, "msec", 2.0), (720000, "usec", 0.72), (0.8, None, 0.8), (800, None, 0.8)],
)
def test_the_headers_tr_is_read_in_its_unit(tmp_path, capsys, stated, unit, tr):
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    header(tmp_path, stated, unit)
    read(brain, [5], tr=tr)
    assert "no TR" not in capsys.readouterr().err
    for wrong in (0.998 * tr, 1.002 * tr):
        with pytest.raises(
            InputError, match=rf"S_01.*TR of {stated:g} \(pixdim.*but story\.tr is {wrong:g} s; correct"
        ):
            read(brain, [5], tr=wrong)


@pytest.mark.parametrize(("stated", "unit"), [(0, "sec"), (1, None), (0, None), (np.nan, "sec")])
def test_a_header_without_a_tr_is_noted(tmp_path, capsys, stated, unit):
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    header(tmp_path, stated, unit)
    read(brain, [5])
    assert "states no TR (1 of 1 runs); story.tr, 2 s, is taken" in capsys.readouterr().err
    header(tmp_path, 1, "sec")
    with pytest.raises(InputError, match=r"TR of 1 \(pixdim\[4\], unit: sec\), but story\.tr is 2 s"):
        read(brain, [5])


def mask_of(folder, values):
    nibabel.save(nibabel.Nifti1Image(np.asarray(values), np.eye(4)), folder / "mask.nii.gz")
    return brain_mask(load_image(folder / "mask.nii.gz"))


def test_a_mask_holds_two_values(tmp_path):
    """As nilearn has it; its own function says which voxels they are."""
    from nilearn.masking import load_mask_img

    inside = np.random.default_rng(0).random((4, 3, 5)) > 0.6
    for values in (inside.astype(np.uint8), inside * np.float32(255), -inside.astype(np.int16), np.ones((2, 2, 2))):
        np.testing.assert_array_equal(mask_of(tmp_path, values), load_mask_img(str(tmp_path / "mask.nii.gz"))[0])
    rim = np.where(inside, 1.0, 1e-6).astype(np.float32)
    rim[0] = 0
    with pytest.raises(InputError, match=r"mask\.nii\.gz: holds 3 values \(0, 1e-06, 1\).*math_img\('img > 0\.5'"):
        mask_of(tmp_path, rim)
    with pytest.raises(InputError, match=r"holds 2 values \(1, 2\), but a mask holds 0 and one other"):
        mask_of(tmp_path, 1.0 + inside)
    with pytest.raises(InputError, match=r"holds 60 values \(0, 1, 2, …, 59\)"):
        mask_of(tmp_path, np.arange(60.0).reshape(4, 3, 5))
    with pytest.raises(InputError, match="all voxels are 0"):
        mask_of(tmp_path, np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match=r"shape \(2, 2, 2, 1\), but a brain mask is a 3-D"):
        mask_of(tmp_path, np.ones((2, 2, 2, 1)))
    rim[0] = np.nan
    with pytest.raises(InputError, match=r"15 voxels are not finite"):
        mask_of(tmp_path, rim)


def grayordinates(path):
    axes = (
        nibabel.cifti2.SeriesAxis(0, 2, 3),
        nibabel.cifti2.BrainModelAxis.from_mask(np.ones((1, 1, 2)), affine=np.eye(4)),
    )
    nibabel.save(nibabel.Cifti2Image(np.zeros((3, 2), dtype=np.float32), axes), path)


def volume(dtype):
    return lambda path: nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2, 5), dtype=dtype), np.eye(4)), path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("x.nii", grayordinates, r"is a Cifti2 file; expected a NIfTI image of real numbers.*name it \.dtseries\.nii"),
        ("x.nii.gz", volume(np.complex64), r"holds complex64 numbers; expected a NIfTI image of real numbers"),
        ("x.nii", volume([(c, "u1") for c in "RGB"]), r"holds colours \(R, G, B\); expected a NIfTI image of real"),
        ("x.nii", lambda path: path.write_text("<GIFTI"), r"not a whole NIfTI image"),
    ],
)
def test_other_kinds_of_images_are_named(tmp_path, name, write, message):
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    write(tmp_path / name)
    for wrong in ({"images": f"{tmp_path}/{name}"}, {"mask": f"{tmp_path}/{name}", "images": f"{tmp_path}/{name}"}):
        with pytest.raises(InputError, match=rf"{name}: {message}"):
            read(brain.model_copy(update=wrong), [5])
    with pytest.raises(InputError, match=rf"{name}: {message}"):
        load_image(tmp_path / name)


def test_scaled_integers_and_doubles_beyond_float32(tmp_path):
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    counts = np.random.default_rng(0).integers(-900, 900, (2, 2, 2, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(counts, np.eye(4))
    image.header.set_slope_inter(0.25, 1000)
    nibabel.save(image, tmp_path / "S_01.nii.gz")
    # nibabel writes what was scaled back to the counts that were given.
    stored = nibabel.load(tmp_path / "S_01.nii.gz").dataobj
    expected = stored.get_unscaled() * float(stored.slope) + float(stored.inter)
    np.testing.assert_allclose(read(brain, [5])[0], expected.reshape(8, 5).T, rtol=1e-6)
    nibabel.save(nibabel.Nifti1Image(np.full((2, 2, 2, 5), 1e39), np.eye(4)), tmp_path / "S_01.nii.gz")
    assert np.isposinf(read(brain, [5])[0]).all()


def test_headers_are_checked_without_the_volumes(tmp_path):
    """The data of this file are cut off; its header says all that is asked for here."""
    brain = write_subject(tmp_path, [], np.ones((2, 2, 2)))
    write_image(tmp_path / "x.nii.gz", np.zeros((2, 2, 2, 5), dtype=np.float32), np.eye(4), 2.0)
    import gzip

    (tmp_path / "S_01.nii").write_bytes(gzip.decompress((tmp_path / "x.nii.gz").read_bytes())[:352])
    brain = brain.model_copy(update={"images": f"{tmp_path}/{{subject}}_{{run:02d}}.nii"})
    check_images(brain, "S", {1: (9, 5)}, 2.0)
    with pytest.raises(InputError, match=r"S_01\.nii: 5 volumes, but run 1 has 9 TRs .*, 4 after"):
        check_images(brain, "S", {1: (9, 4)}, 2.0)
    with pytest.raises(InputError, match=r"S_01\.nii: not a whole"):
        read(brain, [5])


def test_image_bytes_depend_on_the_data_alone(tmp_path):
    data = np.random.default_rng(2).standard_normal((3, 3, 3)).astype(np.float32)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, data, np.eye(4))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_the_command_counts_bad_voxels_and_keeps_them(tmp_path, series, capsys):
    import pandas as pd

    series[13, 1] = np.nan
    series[:, 2] = 1.0
    kept = np.ones(90, dtype=int)
    kept[:5] = 0
    write_table(
        pd.DataFrame({"tr": np.arange(90), "run": RUNS, "time": 2.0 * np.arange(90), "kept": kept}),
        tmp_path / "trs.tsv",
    )
    np.save(tmp_path / "S.npy", series)
    recordings.main(flags(trs=tmp_path / "trs.tsv", subject="S", array=tmp_path / "S.npy", output=tmp_path / "out.npy"))
    assert "1 not finite (in float32), 1 constant" in capsys.readouterr().err
    np.testing.assert_allclose(read_array(tmp_path / "out.npy"), series[5:], rtol=1e-6)


def test_a_subset_of_voxels_is_kept_in_order(tmp_path, series):
    import pandas as pd

    trs = pd.DataFrame({"tr": np.arange(90), "run": RUNS, "time": 2.0 * np.arange(90), "kept": 1})
    write_table(trs, tmp_path / "trs.tsv")
    np.save(tmp_path / "S.npy", series)
    inside = np.arange(series.shape[1]) % 2 == 1
    np.save(tmp_path / "S-kept.npy", inside)
    command = flags(trs=tmp_path / "trs.tsv", subject="S", array=tmp_path / "S.npy", output=tmp_path / "out.npy")
    options = Brain(voxels=f"{tmp_path}/{{subject}}-kept.npy").model_dump_json()
    recordings.main([*command, *flags(options=options)])
    np.testing.assert_allclose(read_array(tmp_path / "out.npy"), series[:, inside], rtol=1e-6)
    np.save(tmp_path / "S-kept.npy", inside[1:])
    with pytest.raises(InputError, match=r"S-kept\.npy: expected a boolean array of shape"):
        recordings.main([*command, *flags(options=options)])


@pytest.fixture
def array_command(tmp_path):
    """Command that cleans ``S.npy``, 90 TRs of two runs."""
    import pandas as pd

    trs = pd.DataFrame({"tr": np.arange(90), "run": RUNS, "time": 2.0 * np.arange(90), "kept": 1})
    write_table(trs, tmp_path / "trs.tsv")
    return flags(trs=tmp_path / "trs.tsv", subject="S", array=tmp_path / "S.npy", output=tmp_path / "out.npy")


def test_voxels_are_counted_as_they_are_written(tmp_path, series, array_command, capsys):
    """A line that detrending takes out, one run of another, and doubles that float32 does not hold."""
    series[:, 0] = 900.3 + 7.7 * np.arange(90)
    series[:40, 1] = 1000.1
    series[3, 2] = 1e39
    np.save(tmp_path / "S.npy", series)
    recordings.main([*array_command, *flags(options=Brain(detrend="linear").model_dump_json())])
    assert "1 not finite (in float32), 1 constant (their scores will be NaN), 1 more constant in some run" in (
        capsys.readouterr().err
    )
    written = read_array(tmp_path / "out.npy")
    assert (written[:, 0] == 0).all()
    assert (written[:40, 1] == 0).all()
    np.testing.assert_allclose(written[:40, 3:], detrend(series[:40, 3:], axis=0), atol=1e-5)


@pytest.mark.parametrize(
    "values", [lambda a: np.asfortranarray(a), lambda a: a.astype(">f4"), lambda a: a.astype("<f8")]
)
def test_order_of_bytes_and_axes_does_not_matter(tmp_path, series, array_command, values):
    np.save(tmp_path / "S.npy", values(series))
    recordings.main(array_command)
    written = read_array(tmp_path / "out.npy")
    np.testing.assert_array_equal(written, series.astype(np.float32))
    assert written.dtype == np.dtype("<f4")


@pytest.mark.parametrize(
    "values",
    [
        lambda a: a.astype(np.complex128),
        lambda a: a > 0,
        lambda a: a.astype("<U8"),
        lambda a: a.astype("m8[s]"),
        lambda a: np.zeros((90, 7), dtype=[("bold", "f4")]),
        lambda a: a[:, :, None],
    ],
    ids=["complex", "bool", "text", "time", "structured", "3-D"],
)
def test_arrays_that_hold_no_real_numbers_are_refused(tmp_path, series, array_command, values):
    np.save(tmp_path / "S.npy", values(series))
    with pytest.raises(InputError, match=r"S\.npy: expected real numbers, TRs × voxels; got"):
        recordings.main(array_command)
    with pytest.raises(InputError, match=r"S\.npy: expected real numbers, TRs × voxels; got"):
        count_voxels(None, "S", str(tmp_path / "S.npy"))
