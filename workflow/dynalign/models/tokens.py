"""Words → the language model's tokens, and which words have a representation (METHOD section 4).

The text of a story is tokenised once. A causal model's tokenizer splits at spaces, so the tokens of a prefix of the
words are a prefix of these tokens; :func:`locate` checks that no token spans two words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from dynalign.cli import command, note, run
from dynalign.config.model import Bos
from dynalign.io.arrays import write_record
from dynalign.io.errors import InputError, located
from dynalign.models.architecture import Shape, check_config, one_line
from dynalign.stimulus.timing import read_words


@dataclass(frozen=True)
class Tokens:
    """The tokenised story and the shape of the model that reads it, ``representation/tokens.npz``."""

    ids: np.ndarray  #: of int64, (n_tokens,)
    word_index: np.ndarray  #: of int64, (n_words,), position in the stimulus of each word that the model sees
    first: np.ndarray  #: of int64, (n_words,), each word's first token
    last: np.ndarray  #: of int64, (n_words,), its last token
    represented: np.ndarray  #: of bool, (n_words,), words with more than `context_tokens` before them
    context_tokens: int  #: tokens in a window
    depth: int  #: transformer layers; hidden states are numbered 0, embeddings, to `depth`
    hidden: int  #: hidden size
    max_context: int  #: longest context of the model in tokens; 0 if its configuration states none
    #: of int64, (n,), special tokens (BOS) before the `context_tokens` of every window; most tokenizers have none
    bos: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    #: of int64, (n_stories,), the first token of each story; no context reaches back over it
    starts: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def before(self) -> np.ndarray:
        """How many tokens of its story stand before each token: array of int64, (n_tokens,)."""
        return tokens_before(np.arange(len(self.ids)), self.starts)

    @property
    def predicted(self) -> np.ndarray:
        """Of tokens from number `context_tokens` on: which are given as many of their story, boolean (n - context,)."""
        return self.before[self.context_tokens :] >= self.context_tokens


def tokens_before(number, starts: np.ndarray) -> np.ndarray:
    """How many tokens of its story stand before each token of these numbers; `starts` are the stories' first tokens."""
    return number - starts[np.searchsorted(starts, number, side="right") - 1]


def locate(words: Sequence[str], offsets: np.ndarray, word_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the first and the last token of each word of ``" ".join(words)``: two arrays of int64, (n_words,).

    A token belongs to the word that holds its last character, not counting a space at its end; a token that
    is only a space belongs to the word that follows. `offsets`, (n_tokens, 2), are the first character of each token
    and the one after its last; leading spaces may be included or not. `word_index`, (n_words,), names words in
    messages. InputError if a word is empty, no token ends in a word, or a token spans two words.
    """
    if blank := [i for i, word in enumerate(words) if not word.strip()]:
        raise InputError(
            f"word {word_index[blank[0]]} of the story is empty ({len(blank)} such words); drop it by naming "
            "the original word in story.drop"
        )
    lengths = np.array([len(word) for word in words])
    # The space before a word counts as the word's, as in tokens with a leading space.
    owner = np.repeat(np.arange(len(words)), lengths + 1)[1:]
    space = np.zeros(len(owner), dtype=bool)
    space[np.cumsum(lengths + 1)[:-1] - 1] = True
    start = np.minimum(offsets[:, 0], len(owner) - 1)
    end = np.maximum(offsets[:, 1] - 1, start)
    end = end - (space[end] & (end > start))
    token_word = owner[end]

    spanning = np.flatnonzero(owner[start] != token_word)
    if len(spanning):
        one, other = owner[start[spanning[0]]], token_word[spanning[0]]
        raise InputError(
            f"one token spans word {word_index[one]} ({words[one]!r}) and word {word_index[other]} "
            f"({words[other]!r}); word vectors need a tokenizer that does not join words across spaces"
        )
    if (np.diff(token_word) < 0).any():
        raise InputError("the tokenizer's offsets are not in the order of the text; use another tokenizer")
    every = np.arange(len(words))
    first = np.searchsorted(token_word, every, side="left")
    last = np.searchsorted(token_word, every, side="right") - 1
    empty = np.flatnonzero(last < first)
    if len(empty):
        word = empty[0]
        raise InputError(
            f"no token ends in word {word_index[word]} ({words[word]!r}; {len(empty)} such words): the "
            "tokenizer ignores its characters; drop it (story.drop) or replace them (story.replace)"
        )
    return first, last


def represented(
    words: Sequence[str],
    first: np.ndarray,
    last: np.ndarray,
    context_tokens: int,
    word_index: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """Mask, (n_words,), of the words with more than `context_tokens` tokens of their story before them (METHOD 4).

    The other arguments are those of :func:`locate`, and the first token of each story. InputError if there is none, or
    one is longer than that window.
    """
    chosen = tokens_before(first, starts) > context_tokens
    if not chosen.any():
        what = "the story is" if len(starts) == 1 else f"all {len(starts)} stories are"
        raise InputError(
            f"{what} shorter than the context: of {last[-1] + 1} tokens, no word has more than {context_tokens} before "
            "it; lower model.context_tokens"
        )
    too_long = np.flatnonzero(chosen & (last - first + 1 > context_tokens))
    if len(too_long):
        word = too_long[0]
        raise InputError(
            f"word {word_index[word]} ({words[word]!r}) has {last[word] - first[word] + 1} tokens, more than "
            f"the window's {context_tokens}; raise model.context_tokens or drop the word (story.drop)"
        )
    return chosen


def load_tokenizer(folder: str | Path):
    """Load the fast tokenizer of a local folder; one that is broken, needs a missing library or gives no offsets is an
    InputError.
    """
    from transformers import AutoTokenizer

    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; it must hold the tokenizer and the model's config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # The tokenizers library raises nothing more special.
    except Exception as error:
        file = Path(folder) / "tokenizer.json"
        raise InputError(
            f"{file if file.exists() else folder}: holds no tokenizer that transformers can load: {one_line(error)}; "
            "get the model's tokenizer.json again, or choose a model that has one"
        ) from None
    if not tokenizer.is_fast:
        raise InputError(
            f"{folder}: {type(tokenizer).__name__} gives no character offsets; use a model with a fast "
            "tokenizer (a tokenizer.json file)"
        )
    return tokenizer


def first_tokens(tokenizer, bos: Bos, word: str) -> np.ndarray:
    """Ids, int64, of the special tokens at the head of every window (`model.bos`); what the tokenizer adds at the end
    is none of them.

    `word` is any that has a token. InputError if a token is asked for that the tokenizer does not name.
    """
    encoding = tokenizer(word, add_special_tokens=True, return_special_tokens_mask=True)
    n_added = encoding["special_tokens_mask"].index(0)
    added = [] if bos == "never" else encoding["input_ids"][:n_added]
    if bos == "always" and not added:
        if tokenizer.bos_token_id is None:
            raise InputError("model.bos: always, but the tokenizer names no BOS token; set model.bos: auto")
        added = [tokenizer.bos_token_id]
    return np.array(added, dtype=np.int64)


def model_shape(folder: str | Path, depth: int) -> Shape:
    """The shape of a model (:func:`dynalign.models.architecture.check_config`); InputError if it has another depth."""
    shape = check_config(folder)
    if shape.depth != depth:
        raise InputError(
            f"{folder}/config.json: the model has {shape.depth} transformer layers, but "
            f"model.depth is {depth}; set model.depth: {shape.depth}"
        )
    return shape


def tokenize(
    words: Sequence[str],
    word_index: np.ndarray,
    folder: str | Path,
    context_tokens: int,
    depth: int,
    bos: Bos = "auto",
    stories: Sequence | None = None,
) -> Tokens:
    """Tokenise the words of each story, joined by single spaces, once, with a local folder's tokenizer and config.json.

    `word_index`, (n_words,), is their position in the stimulus, `depth` what the configuration expects, `bos` its
    `model.bos`; `stories`, (n_words,), name each word's, whose words follow each other. Default: one story.
    """
    if not len(words):
        raise InputError("the story has no words for the model to see; story.drop drops them all")
    shape = model_shape(folder, depth)
    tokenizer = load_tokenizer(folder)
    names = np.zeros(len(words), dtype=int) if stories is None else np.asarray(stories)
    borders = [0, *(1 + np.flatnonzero(names[1:] != names[:-1])), len(words)]
    starts, parts = [0], []
    for begin, end in pairwise(borders):
        ids, *places = _tokenize_story(tokenizer, words[begin:end], word_index[begin:end])
        parts.append((ids, *(place + starts[-1] for place in places)))
        starts.append(starts[-1] + len(ids))
    ids, first, last = (np.concatenate(part) for part in zip(*parts, strict=True))
    starts = np.array(starts[:-1], dtype=np.int64)
    head = first_tokens(tokenizer, bos, words[0])
    window = len(head) + context_tokens
    if 0 < shape.max_context < window:
        raise InputError(
            f"{folder}/config.json: the model's context is {shape.max_context} tokens, shorter than the window of "
            f"{window}{' with BOS' if len(head) else ''}; lower model.context_tokens"
        )
    return Tokens(
        ids=ids,
        word_index=np.asarray(word_index, dtype=np.int64),
        first=first,
        last=last,
        represented=represented(words, first, last, context_tokens, word_index, starts),
        context_tokens=context_tokens,
        bos=head,
        starts=starts,
        **shape._asdict(),
    )


def _tokenize_story(tokenizer, words: Sequence[str], word_index: np.ndarray) -> tuple:
    """Ids of the tokens of one story, and each word's first and last token."""
    try:
        encoding = tokenizer(" ".join(words), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except Exception as error:
        raise InputError(f"the tokenizer cannot read the story: {one_line(error)}; choose another model") from None
    offsets = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    return np.array(encoding["input_ids"], dtype=np.int64), *locate(words, offsets, word_index)


@command
def main(words: str, tokenizer: Path, context_tokens: int, depth: int, output: str, bos: Bos = "auto") -> None:
    """Tokenise the story's words.

    Parameters
    ----------
    words
        ``story/words.tsv``.
    tokenizer
        Local folder, or a file in it, of the tokenizer and the model's ``config.json``.
    context_tokens
        Tokens in a window.
    depth
        Transformer layers expected (`model.depth`).
    output
        ``representation/tokens.npz`` to write.
    bos
        Whether a special token begins each window (`model.bos`).
    """
    folder = tokenizer.parent if tokenizer.is_file() else tokenizer
    table = read_words(words)
    seen = table[table["dropped"] == 0]
    with located(f"{words}, {folder}"):
        stories = seen["story"].to_numpy() if "story" in seen else None
        about_words = seen["word"].tolist(), seen["word_index"].to_numpy()
        tokens = tokenize(*about_words, folder, context_tokens, depth, bos, stories)
    if len(tokens.bos):
        note(f"each window begins with the special tokens {tokens.bos.tolist()}")
    write_record(output, tokens)


if __name__ == "__main__":
    run(main)
