"""Parsed sentences: CoNLL-U, constituency trees, matching the story, the real stanza pipeline."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from dynalign.io.errors import InputError
from dynalign.stimulus import conllu, parser, raw_values

MINI = Path(__file__).parents[2] / "resources" / "stanza-mini"
PROCESSORS = ["tokenize", "pos", "lemma", "depparse", "constituency"]

# "He didn't see (them)." with the contraction split, then a one-word sentence.
CONLLU = """\
# sent_id = 0
# text = He didn't see (them).
# constituency = (ROOT (S (NP (PRP He)) (VP (VBD did) (RB n't) (VP (VB see) (NP (PRP -LRB-them-RRB-.))))))
1	He	he	PRON	PRP	Case=Nom|Number=Sing	4	nsubj	_	_
2-3	didn't	_	_	_	_	_	_	_	_
2	did	do	AUX	VBD	Mood=Ind|Tense=Past	4	aux	_	_
3	n't	not	PART	RB	_	4	advmod	_	_
4	see	see	VERB	VB	VerbForm=Inf	0	root	_	_
5	(them).	they	PRON	PRP	Case=Acc|Number=Plur	4	obj	_	_

# sent_id = 1
# text = Yes.
# constituency = (ROOT (INTJ (UH Yes.)))
1	Yes.	yes	INTJ	UH	_	0	root	_	_

"""
STORY = [["He", "didn't", "see", "(them)."], ["Yes."]]


def write_words(path, sentences, dropped=()):
    """The story's table of words; `dropped` words stand at the front."""
    rows = [f"{word}\t\t1" for word in dropped]
    rows += [f"{word}\t{number}\t0" for number, sentence in enumerate(sentences) for word in sentence]
    return write_rows(path, rows)


def write_rows(path, rows):
    lines = ["word\tsentence\tdropped\tword_index\trun\tonset\ttr"]
    lines += [f"{row}\t{index}\t1\t{index}\t0" for index, row in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(tmp_path, text):
    path = tmp_path / "story.conllu"
    path.write_text(text)
    return conllu.read_sentences(path)


# Trees


def test_tree_is_read_and_printed():
    text = "(ROOT (S (NP (PRP I)) (VP (VBD ran) (, ,) (ADVP (RB -LRB-away-RRB-)))))"
    tree = conllu.parse_tree(text.replace(" (", "  \n("))
    assert str(tree) == text
    assert tree.leaves() == ["I", "ran", ",", "-LRB-away-RRB-"]
    assert [child.label for child in tree.children[0].children] == ["NP", "VP"]
    assert tree.children[0].children[0] == conllu.Tree("NP", (conllu.Tree("PRP", (conllu.Tree("I"),)),))


def test_tree_deeper_than_the_recursion_limit():
    text = "(NP " * 5000 + "(NN x)" + ")" * 5000
    tree = conllu.parse_tree(text)
    assert str(tree) == text
    assert tree.leaves() == ["x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("(ROOT (NP (NN a))", "1 brackets are not closed"),
        ("(ROOT (NP (NN a)", "2 brackets are not closed"),
        ("(ROOT (NN a)))", r"column 14: '\)' after the last"),
        ("(ROOT (NN a)) (ROOT (NN b))", r"column 15: '\(' after the last"),
        ("((NN a))", "column 2: a bracket has no label"),
        ("(ROOT ())", "column 8: a bracket has no label"),
        ("(ROOT (NP))", "nothing stands under 'NP'"),
        ("(ROOT (NN a b))", "word under 'NN' is not alone"),
        ("(ROOT (NP (NN a) b))", "word under 'NP' is not alone"),
        ("ROOT", "'ROOT' outside"),
        (")", r"'\)' outside"),
    ],
)
def test_broken_trees_are_named(text, message):
    with pytest.raises(InputError, match=message):
        conllu.parse_tree(text)


# Depth


def test_depths_are_graph_distances_to_the_root():
    from scipy.sparse.csgraph import shortest_path

    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        order = rng.permutation(n)  # each token hangs on one that comes before it in this order, or is a root
        heads = np.zeros(n, dtype=int)
        for place, token in enumerate(order[1:], start=1):
            heads[token] = rng.choice([0, *(order[:place] + 1)])
        graph = np.zeros((n + 1, n + 1))
        graph[np.arange(1, n + 1), heads] = 1
        expected = shortest_path(graph, unweighted=True)[1:, 0] - 1
        assert conllu.token_depths(heads.tolist()) == expected.tolist()


@pytest.mark.parametrize("heads", [[1], [2, 1], [0, 3, 4, 2]])
def test_circles_are_refused(heads):
    with pytest.raises(InputError, match="circle"):
        conllu.token_depths(heads)


# CoNLL-U


def test_multiword_tokens_are_one_word_with_two_tokens(tmp_path):
    first, second = read(tmp_path, CONLLU)
    assert first.forms == STORY[0]
    assert [token.form for token in first.tokens] == ["He", "did", "n't", "see", "(them)."]
    assert [(word.start, word.stop) for word in first.words] == [(0, 1), (1, 3), (3, 4), (4, 5)]
    assert first.tokens[1].feats == {"Mood": "Ind", "Tense": "Past"}
    assert (first.tokens[1].head, first.tokens[1].deprel, first.tokens[1].upos) == (4, "aux", "AUX")
    assert first.depths == [1, 1, 1, 0, 1]
    assert (second.sent_id, second.forms, second.tokens[0].feats) == ("1", ["Yes."], {})


def test_round_trip_keeps_every_byte(tmp_path):
    conllu.write_sentences(tmp_path / "again.conllu", read(tmp_path, CONLLU))
    assert (tmp_path / "again.conllu").read_text() == CONLLU


def test_stanza_reads_what_we_write(tmp_path):
    from stanza.utils.conll import CoNLL

    conllu.write_sentences(tmp_path / "again.conllu", read(tmp_path, CONLLU))
    document = CoNLL.conll2doc(str(tmp_path / "again.conllu"))
    first = document.sentences[0]
    assert [token.text for token in first.tokens] == STORY[0]
    assert [(word.text, word.head, word.deprel) for word in first.words][1] == ("did", 4, "aux")
    assert str(first.constituency) == str(read(tmp_path, CONLLU)[0].tree)


def test_layout_that_carries_no_meaning_is_accepted(tmp_path):
    loose = CONLLU.replace("# sent_id = 0\n", "# newdoc\n").replace("\n\n", "\n\n\n").rstrip("\n")
    loose = loose.replace("3\tn't", "2.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_\n3\tn't").replace("\n", "\r\n")
    assert read(tmp_path, loose) == read(tmp_path, CONLLU)


def test_several_roots_are_accepted(tmp_path):
    text = CONLLU.replace("4\tnsubj", "0\troot")
    assert read(tmp_path, text)[0].depths == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("he\tPRON", "he PRON", "does not have 10"),
        ("\tyes\t", "\t\t", "does not have 10"),
        ("3\tn't", "4\tn't", "expected number 3, got '4'"),
        ("3\tn't", "x\tn't", "expected number 3, got 'x'"),
        ("2-3", "2-2", "fewer than two"),
        ("2-3", "1-2", "expected number 2"),
        ("2-3", "2-9", "ends at 9, after the last token 5"),
        ("3\tn't", "3-4\tx" + "\t_" * 8 + "\n3\tn't", "range 3-4 overlaps"),
        ("INTJ\tUH", "UH\tUH", "part of speech 'UH'"),
        ("Mood=Ind|", "Mood|", "feature 'Mood'"),
        ("Mood=Ind|", "Tense=Pres|", "'Tense' stands twice"),
        ("\t0\troot\t_\t_\n5", "\t_\troot\t_\t_\n5", "head '_'"),
        ("4\tobj", "7\tobj", "head 7, but there are 5"),
        ("4\tobj", "5\tobj", "circle"),
        ("# constituency = (ROOT (INTJ", "# tree = (ROOT (INTJ", "lacks the comment"),
        ("(UH Yes.)))", "(UH Yes.))", "not closed"),
        ("(UH Yes.)))", "(UH Yes)))", "token 1 is 'Yes.', but 'Yes' in the tree"),
        ("(UH Yes.)))", "(UH Yes.) (UH oh)))", "token 2 is None, but 'oh'"),
        ("(ROOT (INTJ (UH Yes.)))", "(TOP (INTJ (UH Yes.)))", "got 'TOP' with 1"),
        ("(ROOT (INTJ (UH Yes.)))", "(ROOT (UH Yes.) (. .))", "got 'ROOT' with 2"),
    ],
)
def test_corrupted_files_are_named(tmp_path, old, new, message):
    assert CONLLU.count(old) == 1
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, CONLLU.replace(old, new))
    place = "sentence 0 (line 1)" if CONLLU.index(old) < CONLLU.index("# sent_id = 1") else "sentence 1 (line 11)"
    assert f"story.conllu: {place}: " in str(caught.value)


def test_files_that_are_no_conllu(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        conllu.read_sentences(tmp_path / "missing.conllu")
    with pytest.raises(InputError, match="no sentences"):
        read(tmp_path, "\n\n")
    (tmp_path / "latin.conllu").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        conllu.read_sentences(tmp_path / "latin.conllu")


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_file_of_another_editor_is_read(tmp_path, coding, line_end):
    (tmp_path / "story.conllu").write_bytes(CONLLU.replace("\n", line_end).encode(coding))
    assert conllu.read_sentences(tmp_path / "story.conllu") == read(tmp_path, CONLLU)
    assert [sentence.sent_id for sentence in read(tmp_path, CONLLU)] == ["0", "1"]


# The story


def test_dropped_words_are_not_parsed(tmp_path):
    path = write_words(tmp_path / "words.tsv", STORY, dropped=["+", "null"])
    assert parser.story_sentences(path) == dict(enumerate(STORY))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a\t0\t1"], "no words"),
        (["a\t1\t0", "b\t0\t0"], "row 1: sentence 0 after 1"),
        (["a\t0\t0", "b\t\t0"], "row 1: sentence nan"),
        (["a b\t0\t0"], "row 0: word 'a b'"),
        (["\t0\t0"], "row 0: word ''"),
        (["a\tx\t0"], "'sentence' must hold numbers"),
    ],
)
def test_bad_words_tables_are_named(tmp_path, rows, message):
    path = write_rows(tmp_path / "words.tsv", rows)
    with pytest.raises(InputError, match=message):
        parser.story_sentences(path)


def annotate_file(tmp_path, text, story):
    (tmp_path / "mine.conllu").write_text(text)
    words = write_words(tmp_path / "words.tsv", story)
    options = json.dumps({"file": str(tmp_path / "mine.conllu")})
    output = tmp_path / "out" / "story.conllu"
    parser.main(["--words", str(words), "--options", options, "--output", str(output)])
    return output.read_text()


def test_a_file_of_ones_own_is_checked_and_normalised(tmp_path):
    loose = CONLLU.replace("# sent_id = 0", "# sent_id = chapter-9").replace(
        "root\t_\t_", "root\t0:root\tSpaceAfter=No"
    )
    assert annotate_file(tmp_path, loose, STORY) == CONLLU


# As a treebank has it: comments of all kinds, marks and clitics as tokens, an empty node, an enhanced graph.
TREEBANK = """\
# newdoc id = tales
# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC
# newpar id = tales-p1
# sent_id = tales-7
# text = She can't swim, (he) can.
# text_en = the same
# constituency = (ROOT (S (S (NP-SBJ (PRP She)) (VP (MD ca) (RB n't) (VP (VB swim)))) (, ,) (S (NP-SBJ (-LRB- -LRB-) \
(PRP he) (-RRB- -RRB-)) (VP (MD can))) (. .)))
1	She	she	PRON	PRP	Number=Sing	4	nsubj	4:nsubj	_
2-3	can't	_	_	_	_	_	_	_	SpaceAfter=Yes
2	ca	can	AUX	MD	VerbForm=Fin	4	aux	4:aux	_
3	n't	not	PART	RB	Polarity=Neg	4	advmod	4:advmod	_
4	swim	swim	VERB	VB	VerbForm=Inf	0	root	0:root	SpaceAfter=No
5	,	,	PUNCT	,	_	9	punct	9:punct	_
6	(	(	PUNCT	-LRB-	_	7	punct	7:punct	SpaceAfter=No
7	he	he	PRON	PRP	Number=Sing	9	nsubj	9:nsubj|9.1:nsubj	SpaceAfter=No
8	)	)	PUNCT	-RRB-	_	7	punct	7:punct	_
9	can	can	AUX	MD	VerbForm=Fin	4	parataxis	4:parataxis	SpaceAfter=No
9.1	swim	swim	VERB	VB	VerbForm=Inf	_	_	9:conj	CopyOf=4
10	.	.	PUNCT	.	_	4	punct	4:punct	_

# sent_id = tales-8
# constituency = (ROOT (INTJ (UH Oh) (. !)))
1	Oh	oh	INTJ	UH	_	0	root	_	SpaceAfter=No
2	!	!	PUNCT	.	_	1	punct	_	_

"""
TREEBANK_STORY = [["She", "can't", "swim,", "(he)", "can."], ["Oh!"]]


def test_a_treebank_takes_the_parsers_place(tmp_path):
    written = annotate_file(tmp_path, TREEBANK, TREEBANK_STORY)
    first, second = read(tmp_path, written)
    assert [first.forms, second.forms] == TREEBANK_STORY
    assert [(word.start, word.stop) for word in first.words] == [(0, 1), (1, 3), (3, 5), (5, 8), (8, 10)]
    assert [token.form for token in first.tokens] == ["She", "ca", "n't", "swim", ",", "(", "he", ")", "can", "."]
    assert [first.sent_id, second.sent_id] == ["0", "1"]
    assert raw_values.pos(first) == ["PRON", "AUX", "VERB", "PRON", "AUX"]
    assert raw_values.smallest_constituent(first) == ["NP", "VP", "VP", "NP", "VP"]
    assert (raw_values.sentence_length(first), raw_values.top_constituents(first)) == (5, "S S")
    # What was written is read by the next step, and by stanza, as it stands.
    assert annotate_file(tmp_path, written, TREEBANK_STORY) == written
    from stanza.utils.conll import CoNLL

    document = CoNLL.conll2doc(input_str=written)
    assert [[token.text for token in s.tokens] for s in document.sentences] == TREEBANK_STORY


def test_words_are_joined_only_as_the_story_spells_them(tmp_path):
    for story, message in (
        ([["She", "can't", "swim", ",", "(he)", "can?"], ["Oh!"]], r"word 5 is 'can', in the story 'can\?'"),
        ([["She", "can't", "swimm,", "(he)", "can."], ["Oh!"]], "word 2 is 'swim', in the story 'swimm,'"),
        ([["Shecan't", "swim,(he)", "can.", "Oh!"]], "sentence 0: word 3 is None, in the story 'Oh!'"),
    ):
        with pytest.raises(InputError, match=message):
            annotate_file(tmp_path, TREEBANK, story)


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ([["He", "didn't", "see", "them."], ["Yes."]], r"sentence 0: word 3 is '\(them\).', in the story 'them.'"),
        ([["He", "did", "n't", "see", "(them)."], ["Yes."]], r"word 1 .* \(4 words, in the story 5\)"),
        ([STORY[0] + STORY[1]], "sentence 0: word 4 is None, in the story 'Yes.'"),
        ([*STORY, ["No."]], "mine.conllu: 2 sentences, in the story 3"),
        (STORY[:1], "mine.conllu: 2 sentences, in the story 1"),
    ],
)
def test_a_file_that_is_not_the_storys_is_refused(tmp_path, story, message):
    with pytest.raises(InputError, match=message):
        annotate_file(tmp_path, CONLLU, story)
    assert not (tmp_path / "out").exists()


# Stanza


def test_multiword_tokens_of_stanza_are_counted_as_words(tmp_path):
    from stanza.utils.conll import CoNLL

    document = CoNLL.conll2doc(input_str=CONLLU)
    sentences = parser.parse(dict(enumerate(STORY)), lambda batch: document)
    assert sentences == read(tmp_path, CONLLU)
    changed = [STORY[0], ["Yes", "."]]
    with pytest.raises(InputError, match=r"stanza: sentence 1: word 0 .*1 words, in the story 2"):
        parser.parse(dict(enumerate(changed)), lambda batch: document)


PARSED = [
    "The dog chased the cats .",
    "She likes old books .",
    "Where is the key ?",
    "( A girl ) gave him an apple .",
    "Yes .",
]


@pytest.fixture(scope="session")
def parsed(tmp_path_factory):
    """60 sentences through the command with the real small models, loaded once."""
    folder = tmp_path_factory.mktemp("annotation")
    words = write_words(folder / "words.tsv", [text.split() for text in PARSED] * 12, dropped=["+"])
    output = folder / "story.conllu"
    options = json.dumps({"package": "mini", "processors": PROCESSORS})
    parser.main(["--words", str(words), "--models", str(MINI), "--options", options, "--output", str(output)])
    return conllu.read_sentences(output)


def test_real_pipeline_keeps_words_and_sentences(parsed):
    assert [sentence.forms for sentence in parsed] == [text.split() for text in PARSED] * 12
    assert [sentence.sent_id for sentence in parsed] == [str(number) for number in range(60)]
    assert all(len(sentence.tokens) == len(sentence.words) for sentence in parsed)


def test_real_pipeline_does_not_depend_on_neighbours(parsed):
    for number, sentence in enumerate(parsed):
        same = parsed[number % len(PARSED)]
        assert (sentence.tokens, sentence.tree) == (same.tokens, same.tree)


def test_real_pipeline_finds_the_grammar(parsed):
    chased, likes, where, gave, yes = parsed[:5]
    assert raw_values.tense(chased) == "Past"
    assert raw_values.tense(likes) == "Pres"
    assert (raw_values.subject_number(chased), raw_values.object_number(chased)) == ("Sing", "Plur")
    assert raw_values.object_number(where) == "UNDEF"
    assert raw_values.pos(chased) == ["DET", "NOUN", "VERB", "DET", "NOUN", "PUNCT"]
    assert raw_values.smallest_constituent(chased)[:5] == ["NP", "NP", "VP", "NP", "NP"]
    assert raw_values.top_constituents(chased) == "NP VP ."
    assert [raw_values.tree_depth(s) for s in (chased, yes)] == [2, 1]
    assert [token.head for token in chased.tokens].count(0) == 1
    assert "-LRB- -LRB-" in str(gave.tree)


def test_real_trees_read_as_stanza_reads_them(parsed):
    from stanza.models.constituency.tree_reader import read_trees

    for sentence in parsed[: len(PARSED)]:
        (tree,) = read_trees(str(sentence.tree))
        assert str(tree) == str(sentence.tree)
        assert list(tree.leaf_labels()) == [token.form for token in sentence.tokens]


@pytest.mark.parametrize(
    ("models", "processors", "message"),
    [
        ("/no/such/folder", PROCESSORS, "/no/such/folder: no stanza models.*--download-only"),
        (str(MINI), PROCESSORS[:-1], "lacks 'constituency'"),
        (str(MINI), ["mwt", *PROCESSORS], "stanza-mini: cannot load .*mwt is not known.*leave out a processor"),
    ],
)
def test_missing_models_are_named_with_a_way_out(models, processors, message):
    with pytest.raises(InputError, match=message):
        parser.load_pipeline(models, "default", processors)


def test_broken_models_are_named(tmp_path):
    shutil.copytree(MINI, tmp_path / "models")
    model = tmp_path / "models" / "en" / "pos" / "mini.pt"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InputError, match="models: cannot load stanza package 'mini'"):
        parser.load_pipeline(tmp_path / "models", "mini", PROCESSORS)


# Download


@pytest.fixture
def server(monkeypatch):
    """Stanza's own download against a local server of the small models; `failures` requests fail first."""
    import stanza

    class Handler(http.server.SimpleHTTPRequestHandler):
        failures = 0

        def do_GET(self):
            if Handler.failures > 0:
                Handler.failures -= 1
                self.send_error(503)
                return
            if self.path.startswith("/resources_"):
                self.path = "/resources.json"
            super().do_GET()

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=MINI))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_port}"
    local = functools.partial(stanza.download, resources_url=url, model_url=url + "/{lang}/{filename}")
    monkeypatch.setattr(stanza, "download", local)
    monkeypatch.setattr(parser, "_WAITS", (0, 0))
    yield Handler
    running.shutdown()
    running.server_close()


def download(tmp_path):
    options = json.dumps({"package": "mini", "processors": ["pos", "lemma"]})
    marker = tmp_path / "fetched.json"
    parser.main(
        ["--download-only", "--models", str(tmp_path / "models"), "--options", options, "--output", str(marker)]
    )
    return marker.read_text()


def test_download_tries_again_and_records_what_was_fetched(tmp_path, server, capsys):
    server.failures = 2
    marker = download(tmp_path)
    fetched = json.loads(marker)
    assert (fetched["package"], fetched["processors"]) == ("mini", ["pos", "lemma"])
    assert list(fetched["files"]) == ["en/lemma/mini.pt", "en/pos/mini.pt", "en/pretrain/mini.pt"]
    for name, digest in fetched["files"].items():
        assert digest == hashlib.sha256((MINI / name).read_bytes()).hexdigest()
        assert (tmp_path / "models" / name).read_bytes() == (MINI / name).read_bytes()
    assert "attempt 2 failed" in capsys.readouterr().err
    assert download(tmp_path) == marker


def test_download_that_keeps_failing_is_one_error(tmp_path, server):
    server.failures = 100
    with pytest.raises(InputError, match=r"cannot fetch stanza package 'mini' after 3 attempts.*503"):
        download(tmp_path)
    assert not (tmp_path / "fetched.json").exists()


def test_words_are_required():
    with pytest.raises(InputError, match="--words: missing"):
        parser.main(["--output", "x"])
