"""Stories, and subjects with runs of their own: the words table, the table of recordings, each subject's time."""

import numpy as np
import pandas as pd
import pytest
from tests.helpers import flags, made_scores
from tests.recordings import textgrid

from dynalign.config.features import Feature
from dynalign.config.preflight import check_files
from dynalign.config.recordings import Recording, Recordings, read_recordings
from dynalign.config.story import Story, Trim
from dynalign.config.study import load
from dynalign.io.errors import InputError
from dynalign.io.images import write_image
from dynalign.responses import timeline
from dynalign.statistics import shared
from dynalign.stimulus import features, timing
from dynalign.tables.writer import write_table

TR = 2.0


def write_stories(path, rows) -> Story:
    lines = ["story\tonset\tword", *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return Story(layout="recordings", download=None, words=str(path), trim=Trim(start=0, end=0))


def test_words_of_stories_count_from_each_beginning(tmp_path):
    rows = [("owls", 0.5, "It"), ("owls", 1, "flew."), ("owls", 1.5, "Then"), ("01", 0, "Rain"), ("01", 3, "fell.")]
    words = timing.read_stories(write_stories(tmp_path / "words.tsv", rows))
    assert words["story"].tolist() == ["owls", "owls", "owls", "01", "01"]
    # A story's end is a sentence's end.
    assert words["sentence"].tolist() == [0, 0, 1, 2, 2]
    assert words["onset"].tolist() == [0.5, 1, 1.5, 0, 3]
    write_table(words, tmp_path / "made.tsv")
    assert timing.read_words(tmp_path / "made.tsv")["story"].tolist() == words["story"].tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 1, "It"), ("a", 0.5, "is.")], r"words\.tsv: row 1: story 'a': onset 0\.5 s after 1 s"),
        ([("a", 1, "It"), ("b", 1, "is"), ("a", 2, "so.")], r"words of story 'a' stand in two places; sort"),
        ([("a", "1,5", "It")], r"words\.tsv: row 0: onset is '1,5'.*point"),
        ([], r"words\.tsv: no words"),
    ],
)
def test_stories_that_cannot_be_read_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        timing.read_stories(write_stories(tmp_path / "words.tsv", rows))


def test_words_of_a_file_of_each_story(tmp_path):
    """As one table of the same: onsets from each beginning, no sentence beyond an end, rows named in their file."""
    rows = [("owls", 0.5, "It"), ("owls", 1, "flew."), ("owls", 1.5, "Then"), ("01", 0, "Rain"), ("01", 3, "fell.")]
    whole = timing.read_stories(write_stories(tmp_path / "words.tsv", rows))
    for story in ("owls", "01"):
        lines = ["onset\tword", *(f"{onset}\t{word}" for name, onset, word in rows if name == story)]
        (tmp_path / f"{story}.tsv").write_text("\n".join(lines) + "\n")
    options = Story(layout="recordings", download=None, words=f"{tmp_path}/{{story}}.tsv")
    pd.testing.assert_frame_equal(timing.read_stories(options, ["owls", "01"]), whole)
    timing.main(flags(words=tmp_path / "out.tsv", options=options.model_dump_json(), stories=["01", "owls"]))
    assert timing.read_words(tmp_path / "out.tsv")["word"].tolist() == ["Rain", "fell.", "It", "flew.", "Then"]
    (tmp_path / "01.tsv").write_text("onset\tword\n3\tRain\n1\tfell.\n")
    with pytest.raises(InputError, match=r"row 1: story '01': onset 1 s after 3 s"):
        timing.read_stories(options, ["owls", "01"])
    (tmp_path / "01.tsv").write_text("onset\tword\n")
    with pytest.raises(InputError, match=r"/01\.tsv: no words"):
        timing.read_stories(options, ["owls", "01"])


def test_textgrids_of_stories_count_sentences_from_each_beginning(tmp_path):
    for story, words in (("a", ("Owls", "flew", "off.")), ("b", ("It", "rained"))):
        textgrid(
            tmp_path / f"{story}.TextGrid",
            {"words": [(k, k + 1, word) for k, word in enumerate(words)], "sentence": [(0, 2, "x"), (2, 3, "y")]},
        )
    options = Story(layout="recordings", download=None, words=f"{tmp_path}/{{story}}.TextGrid")
    found = timing.read_stories(options, ["a", "b"])
    assert found["sentence"].tolist() == [0, 0, 1, 2, 2]
    assert found["onset"].tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("layout", "words", "message"),
    [
        ("recordings", "a.TextGrid", r"'a\.TextGrid': layout 'recordings' takes one table .* by a path with \{story\}"),
        ("recordings", "{story}-{run}.tsv", "layout 'recordings' takes one table of all stories"),
        ("table", "{story}.tsv", r"\{story\} goes with layout 'recordings'; runs have \{run\}"),
    ],
)
def test_words_that_do_not_go_with_the_layout(layout, words, message):
    with pytest.raises(ValueError, match=message):
        Story(layout=layout, download=None, words=words, tr=TR, trs=[9])


def test_a_story_without_its_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tsv").write_text("onset\tword\n0\tRain.\n")
    (tmp_path / "recordings.tsv").write_text(
        "subject\trun\tstory\timages\n" + "".join(f"s1\t{k}\t{name}\tx.npy\n" for k, name in enumerate("ab", 1))
    )
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    story = {"layout": "recordings", "download": None, "words": "{story}.tsv", "tr": TR}
    study = load({"subjects": ["s1"], "story": story, "recordings": "recordings.tsv"})
    with pytest.raises(InputError, match=r"^story.words: no such file b\.tsv \(story 'b' of recordings\.tsv\)$"):
        check_files(study)


def recordings(*rows) -> Recordings:
    return Recordings(tuple(Recording(**{"subject": "s1", "images": "x.nii", "mask": "m.nii"} | row) for row in rows))


def made_words(**onsets):
    parts = [pd.DataFrame({"story": story, "onset": times}) for story, times in onsets.items()]
    words = pd.concat(parts, ignore_index=True)
    words.insert(0, "word_index", np.arange(len(words)))
    return words.assign(word="on.", sentence=np.arange(len(words)), dropped=0)


def test_a_subjects_runs_are_laid_on_the_stories_time():
    """Two stories; the first in two runs, of which the second begins later than the first ends."""
    words = made_words(a=[0.0, 2.0, 4.5, 9.9, 21.0, 24.0, 26.1], b=[1.0, 5.0])
    runs = recordings({"run": 1, "story": "b"}, {"run": 2, "story": "a"}, {"run": 3, "story": "a", "start": 20})
    heard, trs = timeline.timeline(words, runs, [4, 5, 3], TR, Story(trim=Trim(start=1, end=0)))
    # Story b; then of story a: at 0 s and 2 s the first TR (strictly before), 4.5 s the third, 9.9 s the last of 5.
    assert heard["word_index"].tolist() == [7, 8, 0, 1, 2, 3, 4, 5]
    assert heard["tr"].tolist() == [0, 2, 4, 4, 6, 8, 9, 10]
    assert heard["run"].tolist() == [1, 1, 2, 2, 2, 2, 3, 3]
    assert heard["row"].tolist() == list(range(8))
    assert trs["tr"].tolist() == list(range(12))
    assert trs["time"].tolist() == [0, 2, 4, 6, 0, 2, 4, 6, 8, 20, 22, 24]
    assert trs["story"].tolist() == ["b"] * 4 + ["a"] * 8
    assert trs["kept"].tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("tr", [0.72, 1.2, 1.49, 2.4, 4 / 3])
def test_words_on_a_boundary_are_where_whole_arithmetic_puts_them(tr):
    words = made_words(a=np.round(tr * np.arange(1, 300), 4))
    heard, _ = timeline.timeline(
        words, recordings({"run": 1, "story": "a"}), [400], tr, Story(trim=Trim(start=0, end=0))
    )
    assert heard["tr"].tolist() == list(range(299))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"run": 1, "story": "c"}], r"subject 's1', run 1: story 'c' has no words in story\.words; there are: a, b"),
        ([{"run": 1, "story": "a", "start": 90}], r"run 1: no word of story 'a' .* lies in its 4 TRs \(90 to 98 s\)"),
        ([{"run": 1, "story": "a"}, {"run": 2, "story": "a", "start": 4}], r"hears word 2 of story 'a' in two runs"),
    ],
)
def test_runs_that_do_not_fit_the_stories_are_named(rows, message):
    words = made_words(a=[1.0, 3.0, 5.0], b=[1.0])
    with pytest.raises(InputError, match=message):
        timeline.timeline(words, recordings(*rows), [4] * len(rows), TR, Story())


def test_whole_stories_are_heard_as_by_one_who_hears_each_in_a_run():
    words = made_words(a=[0.5, 2.0, 4.5, 9.9], b=[-0.5, 1.0, 7.0])
    heard, trs = timing.whole_stories(words, TR)
    rows = recordings({"run": 1, "story": "a"}, {"run": 2, "story": "b", "start": -2})
    expected, expected_trs = timeline.timeline(words, rows, [5, 5], TR, Story(trim=Trim(start=0, end=0)))
    pd.testing.assert_frame_equal(heard, expected.drop(columns="row"), check_dtype=False)
    pd.testing.assert_frame_equal(trs, expected_trs[list(trs)], check_dtype=False)


def test_features_of_own_runs_are_those_of_the_same_runs_of_all(tmp_path):
    """Samples count from the story's beginning; a subject hears the second half of b, and of a all."""
    words = made_words(a=[0.5, 2.5, 4.5], b=[1.0, 5.0, 9.0])
    samples = pd.DataFrame({"story": list("aabbb"), "onset": [0.0, 3.0, 1.0, 5.0, 9.5], "loud": [1.0, 2, 3, 4, 5]})
    samples.to_csv(tmp_path / "loud.tsv", sep="\t", index=False)
    by_word = pd.DataFrame({"word_index": range(6), "length_of": [5, 3, 8, 1, 2, 7]})
    by_word.to_csv(tmp_path / "length.tsv", sep="\t", index=False)
    own = {name: Feature(table=f"{tmp_path}/{name}.tsv") for name in ("loud", "length")}
    own = {"loud": own["loud"], "spelling": own["length"]}
    runs = recordings({"run": 1, "story": "b", "start": 4}, {"run": 2, "story": "a"})
    heard, trs = timeline.timeline(words, runs, [4, 3], TR, Story(trim=Trim(start=0, end=0)))
    found = features.feature_table(heard, trs, own)
    # TRs of b start at 4, 6, 8 and 10 s, those of a at 0, 2 and 4 s.
    assert found["loud"].fillna(-1).tolist() == [4, -1, 5, -1, 1, 2, -1]
    assert found["spelling"].fillna(-1).tolist() == [2, -1, 7, -1, 5, 3, 8]
    assert found["position_in_run"].fillna(-1).tolist() == [0, -1, 4, -1, 0, 2, 4]
    whole = features.feature_table(*timing.whole_stories(words, TR), own)
    assert whole["loud"].fillna(-1).tolist() == [1, 2, -1, 3, -1, 4, -1, 5]
    samples.assign(story=["a", "a", "b", "b", "c"]).to_csv(tmp_path / "loud.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"features\.loud: .*row 4: story c is unknown; the story has a, b"):
        features.feature_table(*timing.whole_stories(words, TR), own)
    samples.drop(columns="story").assign(run=1).to_csv(tmp_path / "loud.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"lacks column 'story'; .* or onset and story; runs are the subjects' own"):
        features.feature_table(heard, trs, own)


TABLE = "subject\trun\tstory\tstart\timages\tmask\n"


def test_the_table_of_recordings(tmp_path):
    path = tmp_path / "recordings.tsv"
    path.write_text(TABLE + "02\t2\t01\t40\tb.npy\tm.npy\n02\t1\t01\tn/a\ta.npy\tm.npy\n01\t1\towls\t\tc.npy\t\n")
    found = read_recordings(path)
    assert found.subjects == ("02", "01")
    assert [(one.run, one.story, one.start, one.images, one.mask) for one in found.of("02")] == [
        (1, "01", 0.0, "a.npy", "m.npy"),
        (2, "01", 40.0, "b.npy", "m.npy"),
    ]
    assert found.of("01")[0].mask is None
    assert found.of("03") == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("subject\trun\tstory\n1\t1\ta\n", r"recordings\.tsv: lacks column 'images'; it has subject, run, story"),
        (TABLE, r"recordings\.tsv: lacks column 'subject'; it has no rows"),
        (TABLE.replace("start", "onset") + "1\t1\ta\t0\tx\t\n", r"unknown column 'onset'; a recordings table has"),
        (TABLE + "1\tone\ta\t0\tx.nii\t\n", r"row 0: run: .*integer.*\(got 'one'\)"),
        (TABLE + "1\t0\ta\t0\tx.nii\t\n", r"row 0: run: .*greater than 0.*\(got '0'\)"),
        (TABLE + "1\t1\ta\tinf\tx.nii\t\n", r"row 0: start: .*finite.*\(got 'inf'\)"),
        (TABLE + "../1\t1\ta\t0\tx.nii\t\n", r"row 0: subject: "),
        (TABLE + "1\t1\ta\t0\tx.nii\t\n1\t1\tb\t0\ty.nii\t\n", r"subject '1' has two rows of run 1"),
        (TABLE + "1\t1\ta\t0\tx.nii\tm\n1\t2\tb\t0\ty.gii\tm\n", r"images of several kinds: nifti \(x\.nii\), gifti"),
        (TABLE + "1\t1\ta\t0\tx.nii\t\n", r"run 1 of subject '1' has no mask, which NIfTI images need"),
        (TABLE + "1\t1\ta\t0\tx.nii\tm\n1\t2\tb\t0\ty.nii\tn\n", r"subject '1' has several values of mask"),
        (TABLE + "1\t1\ta\t0\t\t\n", r"row 0: images: .*required"),
    ],
)
def test_a_table_of_recordings_that_cannot_be_used_is_named(tmp_path, content, message):
    (tmp_path / "recordings.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_recordings(tmp_path / "recordings.tsv")


def test_the_command_takes_lengths_from_headers(tmp_path):
    story = write_stories(tmp_path / "words.tsv", [("a", 1, "On"), ("a", 7, "it"), ("a", 9.5, "goes.")])
    timing.main(flags(words=tmp_path / "made.tsv", options=story.model_dump_json()))
    write_image(tmp_path / "x.nii.gz", np.zeros((2, 2, 2, 5), np.float32), np.eye(4), TR)
    write_image(tmp_path / "m.nii.gz", np.ones((2, 2, 2), np.uint8), np.eye(4))
    runs = recordings(
        {"run": 1, "story": "a", "tr": TR, "images": str(tmp_path / "x.nii.gz"), "mask": str(tmp_path / "m.nii.gz")}
    )
    outputs = {f"output_{name}": tmp_path / f"s1.{name}.tsv" for name in ("words", "trs")}
    made = tmp_path / "made.tsv"
    timeline.main(flags(words=made, recordings=runs.model_dump_json(), options=story.model_dump_json(), **outputs))
    heard = timing.read_heard(tmp_path / "s1.words.tsv")
    assert heard["tr"].tolist() == [0, 3, 4]
    assert len(timing.read_trs(tmp_path / "s1.trs.tsv")) == 5
    # Lines that are lost are seen, in the words of all too.
    lines = (tmp_path / "s1.words.tsv").read_text().split("\n")
    (tmp_path / "s1.words.tsv").write_text("\n".join([lines[0], *lines[2:]]))
    with pytest.raises(InputError, match="row must count the rows"):
        timing.read_heard(tmp_path / "s1.words.tsv")


def test_subjects_are_tested_on_what_they_share(tmp_path):
    """The second subject lacks a run and has another first; rows meet by story and time."""
    story = Story(trim=Trim(start=1, end=1))
    words = made_words(a=[1.0, 3.0], b=[1.0], c=[1.0])
    heard = {"s1": ([("a", 0), ("b", 0), ("c", 0)], [5, 6, 7]), "s2": ([("c", 2), ("a", 0)], [6, 5])}
    paths = []
    for subject, (stretches, lengths) in heard.items():
        words_heard = words.assign(onset=words["onset"] + 2)
        rows = [{"run": k, "story": name, "start": start} for k, (name, start) in enumerate(stretches, 1)]
        _, trs = timeline.timeline(words_heard, recordings(*rows), lengths, TR, story)
        paths.append(str(tmp_path / f"{subject}.trs.tsv"))
        write_table(trs, paths[-1])
    one, other = shared.shared_rows(paths)
    # s1 keeps TRs 1–3 of a, 1–4 of b, 1–5 of c; s2 keeps 1–4 of c, which begins a TR later, and 1–3 of a.
    assert one.tolist() == [0, 1, 2, 8, 9, 10, 11]
    assert other.tolist() == [4, 5, 6, 0, 1, 2, 3]
    r = np.ones((2, 3))
    scores = [made_scores(r, np.repeat([0, 1], n), np.arange(sum(n))) for n in ([8, 4], [3, 4])]
    cut = shared.same_rows(scores, paths, [one, other])
    assert [found.timecourse.tolist() for found in cut] == [one.tolist(), other.tolist()]
    # The first subject's folds.
    assert [found.fold.tolist() for found in cut] == [[0, 0, 0, 1, 1, 1, 1]] * 2
    with pytest.raises(InputError, match=r"s2\.trs\.tsv: other rows or folds than .*s1\.trs\.tsv"):
        shared.same_rows(scores, paths, None)
    (tmp_path / "s3.trs.tsv").write_text("tr\trun\tstory\ttime\tkept\n0\t1\td\t0\t1\n1\t1\td\t2\t1\n")
    with pytest.raises(InputError, match=r"s1\.trs\.tsv: no TR in common with .*s3\.trs\.tsv"):
        shared.shared_rows([paths[0], str(tmp_path / "s3.trs.tsv")])
