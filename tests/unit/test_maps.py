"""Scores back in the brain."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags

from dynalign import maps
from dynalign.brain import write_image
from dynalign.files import InputError, read_table, write_arrays, write_table


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random((4, 5, 3)) > 0.4
    write_image(tmp_path / "mask.nii.gz", mask.astype(np.uint8), np.diag([3.0, 3, 3, 1]))
    rows, r = [], {}
    for checkpoint, step in (("step-0", 0), ("step-9", 9), ("random", None)):
        for layer in (0, 2):
            r[checkpoint, layer] = rng.normal(0.1, 0.1, (5, int(mask.sum()))).astype(np.float32)
            write_arrays(
                tmp_path / f"encoding/{checkpoint}/layer-{layer}/S/none.original.npz",
                {
                    "r": r[checkpoint, layer],
                    "alpha": np.ones((5, int(mask.sum())), dtype=np.float32),
                    "inner_score": np.zeros((5, int(mask.sum())), dtype=np.float32),
                    "timecourse": np.zeros(10),
                    "fold": np.repeat(np.arange(5), 2).astype(np.int16),
                },
            )
            for subject in ("S", "T"):
                # The reported score prefers layer 0, the inner score layer 2.
                inner = 0.2 if layer == 2 else 0.1
                rows.append([checkpoint, step, layer, "none", "original", subject, 0.3 - inner, inner])
    names = ["checkpoint", "step", "layer", "removal", "property", "subject", "mean_r", "inner_score"]
    write_table(pd.DataFrame(rows, columns=names), tmp_path / "alignment.tsv")
    return tmp_path, mask, r


def test_a_map_holds_each_checkpoints_layer_chosen_by_inner_score(study):
    folder, mask, r = study
    maps.main(
        flags(subject="S", alignment=folder / "alignment.tsv", folder=folder / "encoding")
        + flags(mask=folder / "mask.nii.gz", image=folder / "S.nii.gz", index=folder / "S.tsv")
        + flags(slices=folder / "S.png")
    )
    index = read_table(folder / "S.tsv")
    assert index["checkpoint"].tolist() == ["step-0", "step-9", "random"]
    assert index["layer"].tolist() == [2, 2, 2]
    image = nibabel.load(folder / "S.nii.gz")
    np.testing.assert_array_equal(image.affine, np.diag([3.0, 3, 3, 1]))
    data = np.asarray(image.dataobj)
    for volume, checkpoint in enumerate(index["checkpoint"]):
        expected = r[checkpoint, 2].mean(axis=0)
        for (i, j, k), value in zip(np.argwhere(mask), expected, strict=True):
            assert data[i, j, k, volume] == pytest.approx(value, abs=1e-6)
    assert np.isnan(data[~mask]).all()
    assert (folder / "S.png").read_bytes().startswith(b"\x89PNG")


def test_a_mask_of_another_subject_is_refused():
    with pytest.raises(InputError, match="scores have 7 voxels, the mask 8"):
        maps.into_mask(np.zeros((1, 7)), np.ones((2, 2, 2), dtype=bool))
