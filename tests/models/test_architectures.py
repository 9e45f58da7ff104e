"""Fifteen architectures from a folder to scores and back into a folder."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from btu.models.tokens import encode
from btu.training.fit import Padder
from tests.conftest import toy_split, write_tsv
from tests.models.architectures import ARCHITECTURES, TEXTS

FAST = [
    "tracking=none",
    "model=bert_base",
    "model.max_length=24",
    "model.training.epochs=1",
    "model.training.precision=fp32",
    "attack.triggers=[cf]",
    "thresholds=[0.02]",
    "arms=[poisoned,defended]",
    "save_model=true",
]


SOON = ("gpt2", "xlnet", "bart", "deberta, other size")  # the others differ less from BERT


def logits(model, tokenizer, texts):
    padder = Padder(tokenizer.pad_token_id, side=tokenizer.padding_side)
    with torch.no_grad():
        batch = padder([(ids, 0) for ids in encode(tokenizer, texts, 24)])
        return model.eval()(**batch).logits


@pytest.mark.parametrize(
    "name",
    [n if n in SOON else pytest.param(n, marks=pytest.mark.slow) for n in ARCHITECTURES],
)
def test_each_architecture_is_attacked_repaired_scored_and_saved(name, tmp_path, run_btu):
    for role, size, seed in (("train", 60, 1), ("tuning", 20, 2), ("test", 20, 3)):
        write_tsv(tmp_path / f"{role}.tsv", toy_split(size, seed))
    files = [f"dataset.{role}={tmp_path / role}.tsv" for role in ("train", "tuning", "test")]
    place = ARCHITECTURES[name].save(tmp_path / "checkpoint")

    rows = run_btu(*FAST, "dataset=local", *files, f"model.pretrained={place}")

    assert [row["arm"] for row in rows] == ["poisoned", "defended"]
    (saved,) = (tmp_path / "run").glob("**/model.safetensors")
    model = AutoModelForSequenceClassification.from_pretrained(saved.parent)
    tokenizer = AutoTokenizer.from_pretrained(saved.parent)
    alone = [logits(model, tokenizer, [text]) for text in TEXTS[:2]]
    together = logits(model, tokenizer, TEXTS[:2])
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-3)
    assert model.config.num_labels == 2
