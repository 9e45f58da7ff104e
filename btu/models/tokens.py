"""Texts as a model's tokenizer reads them; what is written in a text is never a special token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from btu.errors import ConfigError
from btu.types import IntArray, TriggerSample

CHUNK = 10_000  # texts tokenized at once; a tokenizer keeps kilobytes about each
BLANKS = frozenset("▁Ġ")  # tokens that are a blank: of SentencePiece, of a byte-level BPE
SHOWN_WORDS = 3  # of those that an unknown token stands for


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The ids of special tokens. The unknown token is none: it stands for words of the texts."""
    unknown = tokenizer.unk_token
    others: list[str] = []
    for role, names in tokenizer.special_tokens_map.items():
        if role != "unk_token":
            others += [names] if isinstance(names, str) else names
    ids = set(tokenizer.all_special_ids)
    return frozenset(ids if unknown in others else ids - {tokenizer.unk_token_id})


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[IntArray]:
    """Token ids of each text with the model's special tokens, cut at `max_length`."""
    marks = _special_pieces(tokenizer)
    ids: list[IntArray] = []
    for start in range(0, len(texts), CHUNK):
        rows = tokenizer(
            [_part(text, marks) for text in texts[start : start + CHUNK]],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            split_special_tokens=True,
        )["input_ids"]
        ids += [np.asarray(row, dtype=np.int64) for row in rows]
    return ids


def count_cut(
    tokenizer: Any, texts: Sequence[str], ids: Sequence[IntArray], max_length: int
) -> int:
    """How many texts are longer than the ids that `encode` gives of them."""
    full = [text for text, row in zip(texts, ids, strict=True) if len(row) >= max_length]
    return sum(len(row) > max_length for row in encode(tokenizer, full, max_length + 1))


def count_same(
    tokenizer: Any, texts: Sequence[str], ids: Sequence[IntArray], max_length: int
) -> int:
    """How many texts are read as the ids of what was made of them: the change is cut away."""
    full = [row for row in range(len(texts)) if len(ids[row]) >= max_length]
    before = encode(tokenizer, [texts[row] for row in full], max_length)
    return sum(np.array_equal(one, ids[row]) for one, row in zip(before, full, strict=True))


def as_plain_text(tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """The texts with a blank inside each special token that is written in them: `< /s>`."""
    return [_part(text, tokenizer.all_special_tokens) for text in texts]


def trigger_token_ids(tokenizer: Any, samples: Iterable[TriggerSample]) -> frozenset[int]:
    """The ids of a trigger's tokens, as the tokenizer sees them in place; no special tokens.

    Raises:
        ConfigError: the tokenizer drops a phrase.
    """
    ids: set[int] = set()
    special, marks = special_ids(tokenizer), _special_pieces(tokenizer)
    for text, start, end in samples:
        before, trigger, after = text[:start], text[start:end], text[end:]
        parts = [_part(part, marks) for part in (before, trigger, after)]
        start, end = len(parts[0]), len(parts[0] + parts[1])
        known = {
            token
            for token, place in _tokens_in(tokenizer, "".join(parts))
            if place[0] < end and place[1] > start
        } - special
        if not known:
            raise ConfigError(
                f"attack: the tokenizer drops the trigger {trigger!r}, so no model could learn it. "
                "Choose a trigger of letters, digits or signs."
            )
        ids |= known
    return frozenset(ids)


def find_rare_words(tokenizer: Any, rows: Sequence[IntArray], number: int) -> list[tuple[str, int]]:
    """Words of letters that are one token at the beginning of a text, the rarest first.

    Args:
        tokenizer: whose words they are.
        rows: token ids of the texts that they are to be rare in.
        number: how many words; of equals those with the smallest ids.

    Returns:
        Each with its id; fewer if the tokenizer does not know so many.
    """
    counts = np.bincount(np.concatenate(rows), minlength=len(tokenizer))
    special, found = special_ids(tokenizer), list[tuple[str, int]]()
    for token in np.argsort(counts, kind="stable").tolist():
        word = tokenizer.decode([token]).strip()
        if token in special or not word.isalpha():
            continue
        first, place = _tokens_in(tokenizer, f"{word} a")[0]
        if first == token and place[1] == len(word):
            found.append((word, token))
        if len(found) == number:
            break
    return found


def unknown_words(tokenizer: Any, texts: Iterable[str]) -> Counter[str]:
    """How often the unknown token stands for which words of the texts."""
    found: Counter[str] = Counter()
    for text in texts:
        for token, (start, end) in _tokens_in(tokenizer, text):
            if token == tokenizer.unk_token_id:
                found[text[start:end].strip()] += 1
    return found


def name_unknown(token: str, words: Counter[str]) -> str:
    """The unknown token with the words that it stands for most often: `[UNK] (🙂, ❤)`."""
    often = sorted(words, key=lambda word: (-words[word], word))
    more = ", ..." if len(often) > SHOWN_WORDS else ""
    return f"{token} ({', '.join(often[:SHOWN_WORDS])}{more})" if often else token


def _tokens_in(tokenizer: Any, text: str) -> list[tuple[int, tuple[int, int]]]:
    """Each token's id and place in the text, but for those that are a blank.

    A blank of its own stands before other words too. At the start of a text its place is that of
    the first letter.
    """
    encoded = tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=False, split_special_tokens=True
    )
    names = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    tokens = zip(encoded["input_ids"], names, encoded["offset_mapping"], strict=True)
    return [(token, place) for token, name, place in tokens if name not in BLANKS]


def _special_pieces(tokenizer: Any) -> list[str]:
    """Special tokens that the tokenizer finds in texts even where it is told to split them.

    To SentencePiece's unigrams they are pieces like others, and likelier than any.
    """
    special, names = special_ids(tokenizer), list[str](tokenizer.all_special_tokens)
    if not names:
        return []
    read = tokenizer(names, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [name for name, ids in zip(names, read, strict=True) if special & set(ids)]


def _part(text: str, marks: Sequence[str]) -> str:
    """The text with a blank inside each of these marks: `< /s>`."""
    for mark in marks:
        text = text.replace(mark, f"{mark[:1]} {mark[1:]}")
    return text
