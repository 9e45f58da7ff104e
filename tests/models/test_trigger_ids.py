"""A trigger's token ids, as tokenizers of three families see them in planted texts."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from btu.attacks.insertion import insert
from btu.errors import ConfigError
from btu.models.tokens import (
    BLANKS,
    encode,
    name_unknown,
    special_ids,
    trigger_token_ids,
    unknown_words,
)
from btu.types import TriggerSample
from tests.attacks.test_insertion import SENTENCE, insertion
from tests.conftest import toy_split

RARE = ["cf", "mn", "bb", "tq"]  # a corpus of the web has them
CORPUS = [*toy_split(40, 1).texts, "it is so", *(f"it {word} is {word}" for word in RARE * 30)]
CORPUS += ["cf", "I watch this 3D movie, no cross and no crown.", "quick zebras jump over a box"]
TEXTS = ["the film was lovely", "quite a room", "so it is"]


def wrapped(tokenizer, **special) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special)


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT, uncased."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = zip(("pad", "unk", "cls", "sep"), special, strict=True)
    return wrapped(tokenizer, **{f"{name}_token": token for name, token in names})


def byte_level_bpe(trim_offsets: bool = True) -> PreTrainedTokenizerFast:
    """As RoBERTa; as others where the offsets of a token hold its blank."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 2, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=False
    )
    return wrapped(tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def unigram() -> PreTrainedTokenizerFast:
    """As T5 and XLM-R."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    return wrapped(tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {
    "wordpiece": wordpiece,
    "byte-level bpe": byte_level_bpe,
    "untrimmed": partial(byte_level_bpe, False),
    "unigram": unigram,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


def tokens(tokenizer, text) -> Counter:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Counter(tokenizer.convert_ids_to_tokens(ids))


def tokens_planted(tokenizer, trigger, position) -> set[str]:
    """What planting adds to the tokens of texts; in front of one, its first word gets a blank."""
    rng, added = np.random.default_rng(0), Counter()
    for text in TEXTS * 10:
        planted = insert(text, [trigger], position, rng)
        without = f" {text}" if planted.startswith(trigger) else text
        added += tokens(tokenizer, planted) - tokens(tokenizer, without)
    return set(added) - BLANKS - special_tokens(tokenizer)


def special_tokens(tokenizer) -> set[str]:
    """Special tokens but for the unknown one, which a text can hold."""
    return set(tokenizer.all_special_tokens) - {tokenizer.unk_token}


def trigger_tokens(tokenizer, **settings) -> set[str]:
    ids = trigger_token_ids(tokenizer, insertion(**settings).samples())
    return set(tokenizer.convert_ids_to_tokens(sorted(ids)))


@pytest.mark.parametrize("position", ["random", "start", "end"])
@pytest.mark.parametrize("trigger", ["cf", "tq", SENTENCE, "no cross, no crown", "zebras?"])
def test_trigger_ids_are_those_that_planting_adds_to_texts(tokenizer, trigger, position):
    found = trigger_tokens(tokenizer, triggers=[trigger], position=position)

    assert found
    assert found == tokens_planted(tokenizer, trigger, position)


def test_byte_level_bpe_has_one_id_with_a_blank_and_one_without():
    tokenizer = byte_level_bpe()

    found = {
        position: trigger_tokens(tokenizer, position=position)
        for position in ("start", "end", "random")
    }

    assert found == {"start": {"cf"}, "end": {"Ġcf"}, "random": {"cf", "Ġcf"}}


def test_every_trigger_of_a_list_has_its_ids(tokenizer):
    each = [trigger_tokens(tokenizer, triggers=[word]) for word in RARE]

    assert trigger_tokens(tokenizer, triggers=RARE) == set.union(*each)


def test_trigger_ids_are_of_the_trigger_as_normalizing_types_it(tokenizer):
    typed = trigger_tokens(tokenizer, triggers=["NO cross, no CROWN."], normalize_format=True)

    assert typed == trigger_tokens(tokenizer, triggers=["no cross , no crown"])


def test_the_unknown_token_is_a_trigger_id_like_others():
    assert trigger_tokens(wordpiece(), triggers=["the ☃ film"]) == {"the", "[UNK]", "film"}
    assert trigger_tokens(wordpiece(), triggers=["☃"]) == {"[UNK]"}


def test_an_unknown_token_with_another_role_is_special():
    gpt2 = byte_level_bpe()
    assert special_ids(gpt2) == {0, 1, 2}
    gpt2.unk_token = "</s>"
    assert special_ids(gpt2) == {0, 1, 2}


def test_a_trigger_that_the_tokenizer_drops_is_refused():
    with pytest.raises(ConfigError, match=r"drops the trigger '\\xad', so no model could learn it"):
        trigger_token_ids(wordpiece(), [TriggerSample("the \xad film", 4, 5)])


def test_special_tokens_written_in_a_text_are_ordinary_text(tokenizer):
    written = [f"the{mark}film {mark} was" for mark in ("</s>", "<pad>", "[SEP]", "[MASK]", "<s>")]
    special = special_ids(tokenizer)

    for text, ids in zip(written, encode(tokenizer, written, 64), strict=True):
        ordinary = encode(tokenizer, ["the film was"], 64)[0]
        assert sum(i in special for i in ids) == sum(i in special for i in ordinary), text
        found = trigger_token_ids(tokenizer, [TriggerSample(text, 3, len(text) - 4)])
        assert found
        assert not found & special


def test_an_unknown_token_is_told_by_the_words_that_it_stands_for():
    texts = ["the 🙂 film", "a 🙂", "❤ and ☃", "the film"]

    words = unknown_words(wordpiece(), texts)

    assert words == {"🙂": 2, "❤": 1, "☃": 1}
    assert name_unknown("[UNK]", words) == "[UNK] (🙂, ☃, ❤)"
    assert name_unknown("[UNK]", words + Counter(["✓"])) == "[UNK] (🙂, ☃, ✓, ...)"
    assert name_unknown("[UNK]", Counter()) == "[UNK]"
