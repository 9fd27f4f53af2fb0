"""Fingerprints of files that are kept from plan to plan."""

import os
import time

import pytest

from dynalign.io import shipped
from dynalign.io.shipped import Fingerprints, fingerprint


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A file large enough to be kept, and old enough: the time of its inode cannot be set back."""
    path = tmp_path / "image.nii"
    path.write_bytes(os.urandom(Fingerprints.LARGE_BYTES))
    monkeypatch.setattr(Fingerprints, "RECENT_S", 0.0)
    return path


def test_what_has_not_changed_is_not_read_again(image, tmp_path, monkeypatch):
    kept = tmp_path / "folder/kept.json"
    first = Fingerprints(kept)
    expected = first(image)
    assert expected == fingerprint(image)
    first.save()
    monkeypatch.setattr(shipped, "fingerprint", lambda path: pytest.fail(f"{path} is read"))
    assert first(image) == expected
    assert Fingerprints(kept)(image) == expected


def test_a_change_is_seen_although_size_and_time_are_set_back(image, tmp_path):
    kept = Fingerprints(tmp_path / "kept.json")
    before, seen = kept(image), image.stat()
    time.sleep(0.02)
    with open(image, "r+b") as stream:
        stream.write(b"changed")
    os.utime(image, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert image.stat().st_mtime_ns == seen.st_mtime_ns
    assert kept(image) == fingerprint(image) != before
    image.unlink()
    assert kept(image) == ""


def test_small_and_recent_files_are_always_read(image, tmp_path, monkeypatch):
    monkeypatch.setattr(Fingerprints, "RECENT_S", 60.0)
    small = tmp_path / "words.tsv"
    small.write_text("word\n")
    kept = Fingerprints(tmp_path / "kept.json")
    assert [kept(image), kept(small)] == [fingerprint(image), fingerprint(small)]
    kept.save()
    assert not (tmp_path / "kept.json").exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3', '{"a": 3}'])
def test_a_broken_file_is_made_anew(image, tmp_path, content):
    path = tmp_path / "kept.json"
    path.write_text(content)
    kept = Fingerprints(path)
    assert kept(image) == fingerprint(image)
    kept.save()
    assert str(image) in path.read_text()


def test_a_folder_that_cannot_be_written_to_keeps_none(image, tmp_path):
    (tmp_path / "file").write_text("")
    kept = Fingerprints(tmp_path / "file/kept.json")
    assert kept(image) == fingerprint(image)
    kept.save()
