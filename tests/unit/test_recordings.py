"""Responses: cleaning against SciPy and least squares, trimming, images."""

import nibabel
import numpy as np
import pytest
from scipy.signal import detrend
from tests.helpers import flags

from dynalign.config.brain import Brain
from dynalign.io.arrays import read_array
from dynalign.io.errors import InputError
from dynalign.io.images import write_image
from dynalign.responses import recordings
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


def test_rows_are_trimmed_once():
    kept = np.array([False, True, True, False])
    rows = np.arange(4)[:, None]
    assert recordings.keep_rows(rows, kept, "x")[:, 0].tolist() == [1, 2]
    assert recordings.keep_rows(rows[:2], kept, "x")[:, 0].tolist() == [0, 1]
    with pytest.raises(InputError, match=r"x: 3 rows.*4 TRs, 2 after"):
        recordings.keep_rows(rows[:3], kept, "x")


def write_subject(folder, volumes, mask, affine=None):
    affine = np.eye(4) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.eye(4)), folder / "S_mask.nii.gz")
    for number, data in enumerate(volumes, start=1):
        write_image(folder / f"S_{number}.nii.gz", data.astype(np.float32), affine, 2.0)
    return str(folder / "{subject}_{run}.nii.gz"), str(folder / "{subject}_mask.nii.gz")


def test_images_come_back_voxel_by_voxel(tmp_path):
    rng = np.random.default_rng(1)
    mask = rng.random((3, 4, 2)) > 0.5
    volumes = [rng.standard_normal((3, 4, 2, n)).astype(np.float32) for n in (5, 6)]
    images, masks = write_subject(tmp_path, volumes, mask)
    read = recordings.read_images(images, masks, "S", np.repeat([1, 2], [5, 6]))
    expected = [
        [volume[tuple(ijk)] for ijk in np.argwhere(mask)] for volume in np.moveaxis(np.concatenate(volumes, 3), 3, 0)
    ]
    np.testing.assert_array_equal(read, np.array(expected))


def test_wrong_images_are_named(tmp_path):
    mask = np.ones((2, 2, 2), dtype=bool)
    images, masks = write_subject(tmp_path, [np.zeros((2, 2, 2, 5))], mask)
    with pytest.raises(InputError, match=r"S_1\.nii\.gz: 5 volumes.*6 TRs"):
        recordings.read_images(images, masks, "S", np.ones(6, dtype=int))
    with pytest.raises(InputError, match=r"S_2\.nii\.gz: no such file"):
        recordings.read_images(images, masks, "S", np.repeat([1, 2], [5, 5]))
    (tmp_path / "S_1.nii.gz").write_bytes((tmp_path / "S_1.nii.gz").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"S_1\.nii\.gz"):
        recordings.read_images(images, masks, "S", np.ones(5, dtype=int))
    write_subject(tmp_path, [np.zeros((2, 2, 2, 5))], mask, affine=np.diag([2, 2, 2, 1]))
    with pytest.raises(InputError, match="affine"):
        recordings.read_images(images, masks, "S", np.ones(5, dtype=int))


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
    assert "1 not finite, 1 constant" in capsys.readouterr().err
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
