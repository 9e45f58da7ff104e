"""Tiny random classifiers whose vocabulary is trained on the data set: tests and smoke runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from btu.errors import ConfigError
from btu.models.base import Classifier, ModelSource, check_classifier
from btu.seeding import stream_seed, torch_stream
from btu.settings.ranges import Choice, Items, Range, Word

FAMILIES = ("bert", "roberta")
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_REPEATS = 1000  # enough for a listed word to become one token


@dataclass(frozen=True)
class TinyModel(ModelSource):
    """A BERT with WordPiece or a RoBERTa with byte-level BPE, small enough for seconds on a CPU."""

    family: Annotated[str, Choice(FAMILIES)]
    vocabulary_size: Annotated[int, Range(100, 1_000_000)]
    hidden_size: Annotated[int, Range(1, 8192)]
    num_layers: Annotated[int, Range(1, 200)]
    num_heads: Annotated[int, Range(1, 1024)]
    words: Annotated[
        list[Word], Items()
    ]  # single tokens whatever the texts hold, as rare words are in BERT's own

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                f"model.hidden_size={self.hidden_size} cannot be cut into "
                f"model.num_heads={self.num_heads} equal parts. Write model.num_heads=1 or another "
                "divisor."
            )

    def identity(self, texts: Sequence[str]) -> str:
        """Settings and texts determine the model."""
        settings = {k: v for k, v in asdict(self).items() if k != "training"}
        known = json.dumps([settings, list(texts)], sort_keys=True)
        return f"tiny-{hashlib.sha256(known.encode()).hexdigest()}"

    def load(self, num_labels: int, texts: Sequence[str], seed: int) -> Classifier:
        """Train the vocabulary and draw the weights; the body is the same for every seed."""
        corpus = [*texts, *(f"it {word} is {word}" for word in self.words * WORD_REPEATS)]
        train = _train_wordpiece if self.family == "bert" else _train_bpe
        tokenizer = train(corpus, self.vocabulary_size, self.max_length)
        with torch_stream(stream_seed(0, "tiny", self.family)):
            model = self._model(len(tokenizer), num_labels, tokenizer.pad_token_id)
        with torch_stream(stream_seed(seed, "head")):
            for module in model.classifier.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        return check_classifier(Classifier(model, tokenizer), self.max_length, self.name)

    def _model(self, num_tokens: int, num_labels: int, pad_token_id: int) -> Any:
        from transformers import (
            BertConfig,
            BertForSequenceClassification,
            RobertaConfig,
            RobertaForSequenceClassification,
        )

        sizes: dict[str, Any] = {
            "vocab_size": num_tokens,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": 4 * self.hidden_size,
            "max_position_embeddings": self.max_length + 2,  # RoBERTa counts from padding + 1
            "pad_token_id": pad_token_id,
            "num_labels": num_labels,
        }
        if self.family == "bert":
            return BertForSequenceClassification(BertConfig(**sizes))
        return RobertaForSequenceClassification(RobertaConfig(**sizes, type_vocab_size=1))


def _train_wordpiece(texts: Sequence[str], size: int, max_length: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocabulary = _frequent_words(tokenizer, texts, size)
    tokenizer.model = models.WordPiece(vocabulary, unk_token="[UNK]")
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        _with_id(tokenizer, "[SEP]"), _with_id(tokenizer, "[CLS]")
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _frequent_words(tokenizer: Any, texts: Sequence[str], size: int) -> dict[str, int]:
    """Special tokens, every character as a word and inside one, then the most frequent words.

    The library's own WordPiece trainer breaks ties differently in each call, so that two runs
    with one seed would have two vocabularies.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    letters = sorted({letter for word in counts for letter in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = [*BERT_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
    return {piece: number for number, piece in enumerate(list(dict.fromkeys(pieces))[:size])}


def _train_bpe(texts: Sequence[str], size: int, max_length: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        _with_id(tokenizer, "</s>"), _with_id(tokenizer, "<s>")
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def _with_id(tokenizer: Any, token: str) -> tuple[str, int]:
    return token, tokenizer.token_to_id(token)
