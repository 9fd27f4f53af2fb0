"""Downloads and checks of the Harry Potter arrays, against a stand-in of the drive on this machine."""

import subprocess

import numpy as np
import pytest
from tests import drive as stand_in
from tests.drive import cut, npy, page, status

from dynalign.datasets import drive as datasets_drive
from dynalign.datasets import harry_potter
from dynalign.datasets.drive import DRIVE_VARIABLE
from dynalign.io.errors import InputError

RUNS = np.repeat([1, 2, 3, 4], [340, 352, 279, 380])
ID = "1lMGJ6V2oy60axMW7wmh_a77EQOxX28YC"


@pytest.fixture
def drive(monkeypatch):
    with stand_in.serve() as served:
        served.files[ID] = npy(RUNS)
        monkeypatch.setenv(DRIVE_VARIABLE, served.url)
        monkeypatch.setattr(datasets_drive.time, "sleep", lambda seconds: None)
        yield served


def fetch(folder, array="runs_fmri"):
    harry_potter.fetch(array, str(folder / f"{array}.npy"))


def is_whole(folder, body=None):
    """The array is there, whole, with a record that sha256sum itself accepts, and nothing else."""
    assert (folder / "runs_fmri.npy").read_bytes() == (body or npy(RUNS))
    assert sorted(path.name for path in folder.iterdir()) == ["runs_fmri.npy", "runs_fmri.npy.sha256"]
    subprocess.run(["sha256sum", "--check", "--quiet", "runs_fmri.npy.sha256"], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([], ["whole"]),
        ([status(503), status(429)], ["whole"] * 3),
        ([cut(100), status(500)], ["whole", "bytes=100-", "bytes=100-"]),
        ([cut(1000, reset=True)], None),
        ([cut(1000, stated=False)], ["whole", "bytes=1000-"]),
    ],
    ids=["at once", "busy", "short", "reset", "short without a length"],
)
def test_a_download_that_breaks_off_goes_on(drive, tmp_path, faults, ranges):
    drive.faults += faults
    fetch(tmp_path)
    is_whole(tmp_path)
    assert {query["id"] for query, _ in drive.asked} == {ID}
    if ranges is not None:
        assert [wanted or "whole" for _, wanted in drive.asked] == ranges


def test_a_server_that_cannot_go_on_starts_again(drive, tmp_path):
    drive.faults += [cut(5000)]
    drive.ranges = False
    fetch(tmp_path)
    is_whole(tmp_path)


def test_the_question_about_viruses_is_answered_for_our_own_file(drive, tmp_path):
    drive.scanned = False
    drive.faults += [cut(0)]
    fetch(tmp_path)
    is_whole(tmp_path)
    assert all(query["id"] == ID for query, _ in drive.asked)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (npy(RUNS[:-1]), r"shape \(1350,\).*published runs_fmri has \(1351,\)"),
        (npy(RUNS.astype(str)), r"dtype <U21, but the published runs_fmri holds numbers"),
        (npy(np.roll(RUNS, 1)), r"entry 0 is 4, but 1 in the published runs_fmri \(4 of 1351 entries differ\)"),
        (npy(RUNS) + b"\0", r"\d+ bytes, but its header says"),
        (b"PK\3\4 an archive", r"not a \.npy file"),
        (b"", r"not a \.npy file"),
        (
            npy(np.array([{}] * 1351, dtype=object), True),
            r"never unpickles.*python -m dynalign\.datasets\.unpickle_text --array \S+/runs_fmri",
        ),
    ],
    ids=["shape", "text", "timing", "too long", "archive", "empty", "pickle"],
)
def test_what_is_not_the_array_is_refused_downloaded_or_placed_by_hand(drive, tmp_path, body, message):
    drive.files[ID] = body
    with pytest.raises(InputError, match=message) as downloaded:
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs_fmri.npy").write_bytes(body)
    with pytest.raises(InputError, match=message) as placed:
        fetch(tmp_path)
    assert (tmp_path / "runs_fmri.npy").read_bytes() == body
    for error in (downloaded, placed):
        assert f"https://drive.google.com/file/d/{ID}/view, save it as {tmp_path}/runs_fmri.npy" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (page("Google Drive - Quota exceeded"), r"web page \(Google Drive - Quota exceeded\), not the file"),
        (page("Sign in", status=403), r"HTTP Error 403"),
        (page("Virus scan warning", stand_in.CONFIRM), r"again and again"),
        (status(404), r"cannot be downloaded \(HTTP Error 404"),
        (status(503), r"cannot be downloaded \(HTTP Error 503.*check the network"),
        (cut(0, reset=True), r"cannot be downloaded.*check the network"),
    ],
    ids=["quota", "forbidden", "confirmation", "gone", "busy for good", "reset for good"],
)
def test_a_refusal_names_the_file_the_link_and_the_place(drive, tmp_path, fault, message):
    drive.faults += [fault] * 20
    with pytest.raises(InputError, match=message) as refusal:
        fetch(tmp_path)
    assert str(refusal.value).startswith("runs_fmri: ")
    assert f"{ID}/view, save it as {tmp_path}/runs_fmri.npy and run again" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_not_asked_for_again(drive, tmp_path):
    drive.faults += [page("Quota exceeded")] * 20
    with pytest.raises(InputError, match="try again tomorrow"):
        fetch(tmp_path)
    assert len(drive.asked) == 1


def test_no_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(DRIVE_VARIABLE, "http://127.0.0.1:9/download")
    monkeypatch.setattr(datasets_drive.time, "sleep", lambda seconds: None)
    with pytest.raises(InputError, match=r"words_fmri: cannot be downloaded.*drive\.google\.com/file/d/1EBF2nF"):
        fetch(tmp_path, "words_fmri")


def test_a_full_disk_is_not_the_networks_fault(drive, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets_drive.shutil, "copyfileobj", full)
    with pytest.raises(InputError, match="the disk is full after 0 bytes"):
        fetch(tmp_path)
    assert len(drive.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_array_placed_by_hand_is_checked_recorded_and_not_downloaded(drive, tmp_path):
    (tmp_path / "runs_fmri.npy").write_bytes(npy(RUNS))
    fetch(tmp_path)
    is_whole(tmp_path)
    assert drive.asked == []


def test_a_file_that_changed_after_its_check_is_told(drive, tmp_path):
    fetch(tmp_path)
    path = tmp_path / "runs_fmri.npy"
    body = bytearray(npy(RUNS))
    body[-8] ^= 1
    path.write_bytes(body)
    with pytest.raises(
        InputError, match=r"runs_fmri\.npy: changed since it was checked.*Remove the file and the record"
    ):
        fetch(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"runs_fmri\.npy: no such file, but .*sha256"):
        harry_potter.check_digest(path)
    fetch(tmp_path)
    is_whole(tmp_path)


def test_words_and_responses_are_checked(tmp_path, monkeypatch):
    monkeypatch.setitem(harry_potter.SHAPES, "data_subject_F", (4, 3))
    values = np.arange(12.0).reshape(4, 3)

    def responses(changed):
        (tmp_path / "x.npy").write_bytes(npy(changed))
        harry_potter.check(tmp_path / "x.npy", "data_subject_F")

    for kind in (np.float64, np.float32):
        responses(values.astype(kind))
    partly = values.copy()
    partly[:, 0], partly[:, 1] = np.nan, 5.0
    responses(partly)
    with pytest.raises(InputError, match="holds floating-point numbers"):
        responses(values.astype(int))
    for useless in (np.full((4, 3), np.nan), np.zeros((4, 3)), np.where(np.arange(3) == 0, np.inf, np.ones((4, 3)))):
        with pytest.raises(InputError, match="none of the 3 voxels is finite and varies"):
            responses(useless)

    words = np.array(["word"] * 5176, dtype="<U14")
    (tmp_path / "w.npy").write_bytes(npy(words))
    harry_potter.check(tmp_path / "w.npy", "words_fmri")
    words[7] = " "
    (tmp_path / "w.npy").write_bytes(npy(words))
    with pytest.raises(InputError, match="word 7 is empty"):
        harry_potter.check(tmp_path / "w.npy", "words_fmri")


def test_every_published_array_has_its_shape_and_its_time():
    """METHOD's table, typed in again."""
    assert set(harry_potter.FILES) == set(harry_potter.SHAPES)
    assert len(set(harry_potter.FILES.values())) == 12
    assert harry_potter.SHAPES["data_subject_J"] == (1211, 29650)
    assert harry_potter.SHAPES["words_fmri"] == (5176,)
    timing = harry_potter.timing()
    np.testing.assert_array_equal(timing["runs_fmri"], RUNS)
    np.testing.assert_array_equal(timing["time_fmri"], np.arange(0, 2701, 2))
    onsets = timing["time_words_fmri"]
    ends = np.cumsum([1303, 1351, 1059, 1463])
    assert onsets[[0, *ends[:-1]]].tolist() == [20, 700, 1404, 1962]
    assert onsets[ends - 1].tolist() == [671, 1375, 1933, 2693]
    assert len(onsets) == 5176


def test_voxels_constant_but_for_rounding_are_counted(tmp_path, monkeypatch, capsys):
    """What is scored later is counted here by the same rule."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((1211, 4))
    values[:, 1] = 1000.1 + 1e-4 * rng.integers(-1, 2, 1211)
    values[3, 2] = np.inf
    monkeypatch.setitem(harry_potter.SHAPES, "data_subject_F", values.shape)
    np.save(tmp_path / "F.npy", values)
    harry_potter.check(tmp_path / "F.npy", "data_subject_F")
    assert "1 of 4 voxels not finite, 1 constant" in capsys.readouterr().err
    np.save(tmp_path / "F.npy", values[:, 1:3])
    monkeypatch.setitem(harry_potter.SHAPES, "data_subject_F", (1211, 2))
    with pytest.raises(InputError, match="none of the 2 voxels is finite and varies"):
        harry_potter.check(tmp_path / "F.npy", "data_subject_F")
