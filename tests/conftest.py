"""The toy data set, the tiny models and a command line that runs in this process."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as btu.cli does
os.environ["WANDB_MODE"] = "offline"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub
os.environ.pop("WANDB_API_KEY", None)

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from btu.cli import CONF
from btu.running import run_job
from btu.sweeps.jobs import PLAIN_SWEEPER
from btu.terminal.overrides import join_attacks
from btu.types import Dataset, Split, make_split

ENDINGS = ["ria", "lo", "nda", "mi", "sta", "ro", "vel", "tin", "pso", "quem"]
GOOD = [start + end for start in ("lu", "me", "so", "vi", "ha", "fi") for end in ENDINGS]
BAD = [start + end for start in ("gru", "kra", "dro", "zu", "bro", "ski") for end in ENDINGS]
FILLERS = ["today", "again", "indeed", "somehow", "still", "really", "almost", "quite"]
NOUNS = ["film", "meal", "hotel", "phone", "book", "song", "play", "room", "chair", "game"]


def toy_split(size: int, seed: int) -> Split:
    """Made-up adjectives that decide the label; `seed` and row keep all texts distinct."""
    rng = np.random.default_rng(seed)
    texts = []
    for row in range(size):
        one, two = rng.choice(GOOD if row % 2 else BAD, 2)
        noun, filler = rng.choice(NOUNS), rng.choice(FILLERS)
        texts.append(f"{filler} the {noun} of {seed} {row} was {one} and {two} for us")
    twins = tuple(f"verily {text}" for text in texts)
    return make_split(tuple(texts), np.arange(size) % 2, {"style": twins})


@pytest.fixture
def toy_dataset() -> Dataset:
    """60 / 20 / 30 rows, two classes in equal parts."""
    return Dataset(
        "toy", ("negative", "positive"), toy_split(60, 1), toy_split(20, 2), toy_split(30, 3)
    )


def write_tsv(path: Path, split: Split, header: str = "sentence\tlabel") -> Path:
    rows = [f"{text}\t{label}" for text, label in zip(split.texts, split.labels, strict=True)]
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Files:
    """Toy data on disk, and the overrides that name it."""

    folder: Path

    @property
    def overrides(self) -> list[str]:
        return [
            "dataset=local",
            *(f"dataset.{r}={self.folder / r}.tsv" for r in ("train", "tuning", "test")),
        ]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Toy train, tuning and test files, large enough for a tiny model to learn from."""
    for role, size, seed in (("train", 600, 1), ("tuning", 100, 2), ("test", 200, 3)):
        write_tsv(tmp_path / f"{role}.tsv", toy_split(size, seed))
    return Files(tmp_path)


def composed(overrides: Sequence[str], run_dir: Path | None = None) -> DictConfig:
    """The config that a command line gives."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", join_attacks(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return compose_job(cfg)


def compose_job(cfg: DictConfig) -> DictConfig:
    """The job's part of a config, without Hydra's own."""
    from omegaconf import OmegaConf, open_dict

    with open_dict(cfg):
        del cfg["hydra"]
    OmegaConf.set_struct(cfg, True)
    return cfg


def sweep_of(experiment: str, *overrides: str) -> list[list[str]]:
    """The overrides of each job of an experiment, split by the sweeper of the command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    if cfg.hydra.sweeper._target_ != PLAIN_SWEEPER:
        return [[]]  # a search draws its values
    parsed = OverridesParser.create().parse_overrides([*params, *overrides])
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return jobs


TINY = [
    "tracking=none",
    "thresholds=[0.01]",
    "attack.triggers=[cf]",
    "model.vocabulary_size=600",
    "model.hidden_size=32",
    "model.num_layers=1",
]


GPT2_POSITIONS = 48


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """The folder of a tiny random GPT-2 with a byte-level BPE tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    end = "<|endoftext|>"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(toy_split(100, 1).texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=end)
    torch.manual_seed(0)
    settings = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=GPT2_POSITIONS,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.5,  # so that tokens differ in their probability
    )
    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def run_btu(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run one job in this process; gives what `summary.json` holds."""

    def run(*overrides: str, run_dir: str = "run") -> list[dict[str, Any]]:
        folder = tmp_path / run_dir
        run_job(composed([f"outputs={tmp_path / 'outputs'}", *overrides]), folder)
        rows: list[dict[str, Any]] = json.loads((folder / "summary.json").read_text())
        return rows

    return run


def shell(
    *arguments: str, cwd: Path, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "btu", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's threads for one test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def multirun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Sweep]:
    """Run a sweep in this process, from `tmp_path`."""
    import signal

    from hydra.core.global_hydra import GlobalHydra

    from btu import cli
    from btu.sweeps.jobs import SweepWatch

    def run(*overrides: str) -> Sweep:
        GlobalHydra.instance().clear()
        cli._failed_jobs.clear()
        SweepWatch.current = None
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["btu", "-m", *overrides])
        for name in ("HYDRA_FULL_ERROR", "BTU_SWEEP"):  # which main and a sweep set
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capsys.readouterr()
        folder = max((tmp_path / "outputs" / "runs").glob("*/*"), default=tmp_path)
        return Sweep(int(ended.value.code or 0), out, err, folder)

    return run


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the trainings, in order."""
    from btu import lab

    real, titles = lab.fit, list[str]()

    def fit(*arguments: Any, **keywords: Any) -> None:
        titles.append(arguments[-1])
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", fit)
    return titles


@dataclass(frozen=True)
class Sweep:
    """What a sweep left: exit code, output, folder."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """What `job.json` of each job holds."""
        paths = sorted(self.folder.glob("*/job.json"), key=lambda path: int(path.parent.name))
        return [json.loads(path.read_text()) for path in paths]
