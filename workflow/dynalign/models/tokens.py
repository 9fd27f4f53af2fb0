"""Words → the language model's tokens, and which words have a representation (METHOD section 4).

The text is tokenised once. A causal model's tokenizer splits at spaces, so the tokens of a prefix of the
words are a prefix of these tokens; :func:`locate` checks that no token spans two words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynalign.cli import command, run
from dynalign.io.arrays import write_record
from dynalign.io.errors import InputError, located
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
    words: Sequence[str], first: np.ndarray, last: np.ndarray, context_tokens: int, word_index: np.ndarray
) -> np.ndarray:
    """Mask, (n_words,), of the words with more than `context_tokens` tokens before them (METHOD section 4).

    The other arguments are those of :func:`locate`. InputError if there is none, or one is longer than that window.
    """
    chosen = first > context_tokens
    if not chosen.any():
        raise InputError(
            f"the story is shorter than the context: it has {last[-1] + 1} tokens, and no word has more than "
            f"{context_tokens} before it; lower model.context_tokens"
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
    """Load the fast tokenizer of a local folder; one that gives no offsets is refused."""
    from transformers import AutoTokenizer

    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; it must hold the tokenizer and the model's config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: holds no tokenizer that transformers can load: {error}") from None
    if not tokenizer.is_fast:
        raise InputError(
            f"{folder}: {type(tokenizer).__name__} gives no character offsets; use a model with a fast "
            "tokenizer (a tokenizer.json file)"
        )
    return tokenizer


def model_shape(folder: str | Path, depth: int, context_tokens: int) -> dict[str, int]:
    """Read `depth`, `hidden` and `max_context` of :class:`Tokens` from a folder's config.json.

    InputError if there is none, it has another depth, or its context is shorter than the window.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: holds no model configuration that transformers can load: {error}") from None
    if config.num_hidden_layers != depth:
        raise InputError(
            f"{folder}/config.json: the model has {config.num_hidden_layers} transformer layers, but "
            f"model.depth is {depth}; set model.depth: {config.num_hidden_layers}"
        )
    # Not every architecture states a longest context (ALiBi, recurrent models).
    max_context = getattr(config, "max_position_embeddings", None) or 0
    if 0 < max_context < context_tokens:
        raise InputError(
            f"{folder}/config.json: the model's context is {max_context} tokens, shorter than the window of "
            f"{context_tokens}; lower model.context_tokens"
        )
    return {"depth": depth, "hidden": config.hidden_size, "max_context": max_context}


def tokenize(
    words: Sequence[str], word_index: np.ndarray, folder: str | Path, context_tokens: int, depth: int
) -> Tokens:
    """Tokenise the words, joined by single spaces, once, with the tokenizer and the config.json of a local folder.

    `word_index`, (n_words,), is their position in the stimulus, `depth` what the configuration expects.
    """
    if not len(words):
        raise InputError("the story has no words for the model to see; story.drop drops them all")
    shape = model_shape(folder, depth, context_tokens)
    tokenizer = load_tokenizer(folder)
    encoding = tokenizer(" ".join(words), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    first, last = locate(words, offsets, word_index)
    return Tokens(
        ids=np.array(encoding["input_ids"], dtype=np.int64),
        word_index=np.asarray(word_index, dtype=np.int64),
        first=first,
        last=last,
        represented=represented(words, first, last, context_tokens, word_index),
        context_tokens=context_tokens,
        **shape,
    )


@command
def main(words: str, tokenizer: Path, context_tokens: int, depth: int, output: str) -> None:
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
    """
    folder = tokenizer.parent if tokenizer.is_file() else tokenizer
    table = read_words(words)
    seen = table[table["dropped"] == 0]
    with located(f"{words}, {folder}"):
        tokens = tokenize(seen["word"].tolist(), seen["word_index"].to_numpy(), folder, context_tokens, depth)
    write_record(output, tokens)


if __name__ == "__main__":
    run(main)
