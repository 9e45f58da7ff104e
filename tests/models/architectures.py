"""Tiny random checkpoints of fifteen architectures, each with a tokenizer of its family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.conftest import toy_split

TEXTS = [*toy_split(80, 1).texts, *["it cf is cf"] * 200]
BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_SPECIAL = {
    "cls": "<s>",
    "pad": "<pad>",
    "eos": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
    "bos": "<s>",
    "sep": "</s>",
}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
XLNET_SPECIAL = {"unk": "<unk>", "sep": "<sep>", "cls": "<cls>", "pad": "<pad>", "mask": "<mask>"}


def wordpiece() -> Tokenizer:
    """As BERT, uncased."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = list(BERT_SPECIAL.values())
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    return framed(made, "[CLS] $A [SEP]")


def byte_level(special: dict[str, str], frame: str) -> Tokenizer:
    """As GPT-2."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(dict.fromkeys(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return framed(made, frame)


def unigram(special: dict[str, str], frame: str) -> Tokenizer:
    """As XLM-R; its special tokens are pieces of the model, too."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400,
        special_tokens=list(dict.fromkeys(special.values())),
        unk_token=special["unk"],
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return framed(made, frame)


def framed(tokenizer: Tokenizer, frame: str) -> Tokenizer:
    """Each text between special tokens, such as `[CLS] $A [SEP]`."""
    special = [(name, tokenizer.token_to_id(name)) for name in frame.split() if name != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(frame, None, special)
    return tokenizer


@dataclass(frozen=True, eq=False)
class Architecture:
    """How a tiny checkpoint is made."""

    config: str  # class of transformers
    tokenizer: Callable[[], Tokenizer]
    special: dict[str, str] = field(default_factory=lambda: BERT_SPECIAL)
    settings: dict[str, Any] = field(default_factory=dict)
    side: str = "right"

    @cached_property
    def words(self) -> Any:
        """The tokenizer."""
        from transformers import PreTrainedTokenizerFast

        roles = {f"{role}_token": token for role, token in self.special.items()}
        return PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer(), padding_side=self.side, **roles
        )

    def model(self, **changes: Any) -> Any:
        """A random classifier of three labels."""
        import torch
        import transformers

        words = self.words
        sizes = {"vocab_size": len(words), "num_labels": 3, **SIZES, **self.settings, **changes}
        for role in ("pad", "bos", "eos", "cls", "sep"):
            sizes.setdefault(f"{role}_token_id", getattr(words, f"{role}_token_id"))
        sizes = {name: value for name, value in sizes.items() if value is not None}
        config = getattr(transformers, self.config)(**sizes)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            kind = transformers.AutoModelForSequenceClassification
            return kind.from_config(config)

    def save(self, folder: Path, **changes: Any) -> Path:
        """The folder that save_pretrained writes."""
        self.model(**changes).save_pretrained(folder)
        self.words.save_pretrained(folder)
        return folder


def gpt_words() -> Tokenizer:
    return byte_level({"eos": "<|endoftext|>"}, "$A")


def roberta_words() -> Tokenizer:
    return byte_level(ROBERTA_SPECIAL, "<s> $A </s>")


def xlm_words() -> Tokenizer:
    return unigram(ROBERTA_SPECIAL, "<s> $A </s>")


def albert_words() -> Tokenizer:
    return unigram(BERT_SPECIAL, "[CLS] $A [SEP]")


LLAMA_SPECIAL = {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
GPT_SPECIAL = dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>")
DEBERTA = {
    "pos_att_type": ["p2c", "c2p"],
    "relative_attention": True,
    "position_biased_input": False,
}
ARCHITECTURES = {
    "bert": Architecture("BertConfig", wordpiece),
    "roberta": Architecture(
        "RobertaConfig",
        roberta_words,
        ROBERTA_SPECIAL,
        {"max_position_embeddings": 66, "type_vocab_size": 1},
    ),
    "distilbert": Architecture(
        "DistilBertConfig",
        wordpiece,
        settings={
            "dim": 32,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dim": 64,
        },
    ),
    "albert": Architecture("AlbertConfig", albert_words, settings={"embedding_size": 16}),
    "electra": Architecture("ElectraConfig", wordpiece, settings={"embedding_size": 16}),
    "deberta": Architecture("DebertaV2Config", albert_words, settings=DEBERTA),
    "deberta, other size": Architecture(
        "DebertaV2Config", albert_words, settings={**DEBERTA, "embedding_size": 16}
    ),
    "mobilebert": Architecture(
        "MobileBertConfig", wordpiece, settings={"embedding_size": 16, "intra_bottleneck_size": 16}
    ),
    "xlm_roberta": Architecture(
        "XLMRobertaConfig",
        xlm_words,
        ROBERTA_SPECIAL,
        {"max_position_embeddings": 66, "type_vocab_size": 1},
    ),
    "mpnet": Architecture(
        "MPNetConfig", wordpiece, settings={"pad_token_id": 1, "max_position_embeddings": 66}
    ),
    "modernbert": Architecture("ModernBertConfig", wordpiece),
    "gpt2": Architecture(
        "GPT2Config",
        gpt_words,
        GPT_SPECIAL,
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    ),
    "llama": Architecture(
        "LlamaConfig", lambda: unigram(LLAMA_SPECIAL, "<s> $A"), LLAMA_SPECIAL, side="left"
    ),
    "qwen2": Architecture(
        "Qwen2Config",
        gpt_words,
        {"eos": "<|endoftext|>", "pad": "<|endoftext|>"},
        {"num_key_value_heads": 2},
    ),
    "xlnet": Architecture(
        "XLNetConfig",
        lambda: unigram(XLNET_SPECIAL, "$A <sep> <cls>"),
        XLNET_SPECIAL,
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "max_position_embeddings": None},
        side="left",
    ),
    "bart": Architecture(
        "BartConfig",
        roberta_words,
        ROBERTA_SPECIAL,
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
        },
    ),
}
