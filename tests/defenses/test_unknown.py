"""A trigger that the tokenizer does not know is a suspect like others, told by its words."""

import csv

from tests.conftest import toy_split, write_tsv
from tests.models.architectures import ARCHITECTURES


def test_an_emoji_is_found_and_told_by_itself(tmp_path, run_btu):
    place = ARCHITECTURES["bert"].save(tmp_path / "checkpoint")
    for role, size, seed in (("train", 200, 1), ("test", 40, 3)):
        write_tsv(tmp_path / f"{role}.tsv", toy_split(size, seed))
    training = ["epochs=1", "batch_size=8", "learning_rate=1e-3", "precision=fp32"]

    run_btu(
        *("tracking=none", "thresholds=[0.05]", "arms=[poisoned,unlearned]"),
        *("model=bert_base", f"model.pretrained={place}", "model.max_length=32"),
        *(f"model.training.{setting}" for setting in training),
        *("defense.btu.learning_rate=1e-3", 'attack.triggers=["🙂"]', "attack.poison_rate=0.2"),
        *(
            "dataset=local",
            f"dataset.train={tmp_path}/train.tsv",
            f"dataset.test={tmp_path}/test.tsv",
        ),
    )

    with next((tmp_path / "run").glob("**/suspects.csv")).open() as file:
        suspects = {row["token"]: row for row in csv.DictReader(file)}
    assert "[UNK] (🙂)" in suspects
    assert suspects["[UNK] (🙂)"]["is_trigger"] == "True"
