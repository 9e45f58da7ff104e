"""`btu.run`: one run of the command line, in Python, for notebooks and scripts."""

from __future__ import annotations

import html
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import RunMode

from btu import processes
from btu.config import composed
from btu.errors import ConfigError, did_you_mean
from btu.running import Finished, finish_job, name_job, name_labels
from btu.sweeps.jobs import FAILED, FINISHED, STOPPED, JobReport
from btu.terminal.sentences import in_one_sentence, is_of_composing

if TYPE_CHECKING:
    import pandas as pd

    from btu.models.base import Classifier
    from btu.store.records import Record
    from btu.types import PoisonedDataset, Predictions

CLEAN, TRIGGERED = "clean", "triggered"  # test sets, in predictions
INPUTS = ("input_precision", "input_recall", "input_auroc")
FOUND = ("row_precision", "row_recall", "row_auroc", *INPUTS)
HITS = ("precision", "recall", *FOUND)
NUMBERS_FOUND = ("num_found_words", "num_trigger_words", "num_found_rows", "num_poisoned_rows")
DETECTION = ("precision", "recall", "best_rank", "num_trigger_tokens", *FOUND, *NUMBERS_FOUND)
SHARES = (
    "asr",
    "pacc",
    "base_rate",
    "trusted_accuracy",
    "rejected_clean",
    "rejected_triggered",
    *HITS,
)
COUNTS = ("num_suspects", "best_rank", "num_trigger_tokens", *NUMBERS_FOUND)
LAST = (
    "leaky",
    "picked_by",
    "trusted_accuracy",
    "seconds",
    "work_seconds",
    "work_passes",
    "record",
)
LOOP = "Write a loop: [btu.run(seed=seed) for seed in (1, 2, 3)]."


def run(
    *overrides: str,
    config_dir: str | Path | None = None,
    folder: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Run one job, exactly as the command line does: same settings, records, cache and files.

    `btu.run("attack=addsent", seed=2, **{"attack.poison_rate": 0.2})` is
    `btu attack=addsent seed=2 attack.poison_rate=0.2 tracking=none`. What is recorded under
    `outputs` already is read and not computed again.

    Nothing is printed. `logging.basicConfig(level=logging.INFO)` shows a line for each stage. If
    torch is not loaded yet, this sets OMP_WAIT_POLICY and ONEDNN_PRIMITIVE_CACHE_CAPACITY, unless
    they are set, as the command line does: torch reads them as it loads.

    Args:
        overrides: words of the command line, such as `"dataset=local"`, in its own quoting.
        config_dir: a folder with options of your own, as `--config-dir` of the command line.
        folder: where the run's files go (summary.json, suspects.csv, curve.png, ...); None: a new
            folder under `outputs/runs/`, as on the command line.
        settings: the same words as Python values: text, numbers, booleans, None, paths, lists and
            arrays of them. They come after the overrides. A key with a dot or a slash is written
            `**{"attack.poison_rate": 0.2}`. Text arrives as it is, except that `${...}` refers to
            another setting, as everywhere in the configuration. `tracking` is "none" unless given.

    Returns:
        The tables, predictions and models of the run. It holds the data and a model in memory for
        as long as you keep it.

    Raises:
        BtuError: a setting, file or model is not as it has to be; its text is the sentence that
            the command line prints. A sweep (`-m`, `seed=1,2`) and settings of `hydra` are
            refused: write a loop.
    """
    set_up_torch()
    if processes.started().size > 1:
        raise ConfigError(
            "btu.run is for one process, but a launcher started several. For one job on several "
            "devices write torchrun --nproc-per-node=2 -m btu ..."
        )
    try:
        words = write_words(overrides, settings)
        if not any(re.match(r"[+~]*tracking(=|$)", word) for word in words):
            words.append("tracking=none")
        _check_one_job(words)
        with composed(words, None if config_dir is None else Path(config_dir)) as (cfg, run_dir):
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise ConfigError(f"this experiment is a sweep, btu.run runs one job. {LOOP}")
            place = (run_dir if folder is None else Path(folder).expanduser()).absolute()
            return Run(_reported(cfg, place, words), place)
    except Exception as error:
        if isinstance(error, OSError) or is_of_composing(error):
            raise ConfigError(in_one_sentence(error)) from error
        raise


def set_up_torch() -> None:
    """Set what torch reads as it loads, if it is not loaded yet and nobody else has set it."""
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # the reasons are in `btu.cli.main`
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")


def write_words(overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The words of a command line: those given, then settings in Hydra's quoting.

    Raises:
        ConfigError: a word is an option, or a value cannot be written.
    """
    return [
        *map(_check_word, overrides),
        *(f"{key}={_written(value, key)}" for key, value in _keys(settings)),
    ]


def _reported(cfg: Any, folder: Path, words: list[str]) -> Finished:
    """The finished job; what became of it stands in its folder, as on the command line."""
    report = JobReport(name=name_job(cfg), overrides=words)
    start = time.perf_counter()
    try:
        finished = finish_job(cfg, folder, report)
        report.status = FINISHED
        return finished
    except Exception as error:
        report.status, report.error = FAILED, in_one_sentence(error)
        raise
    except BaseException:
        report.status = STOPPED
        raise
    finally:
        report.seconds = round(time.perf_counter() - start, 3)
        if report.status == FINISHED or folder.is_dir():
            report.write(folder)


class Run:
    """What one run found: tables, predictions, models."""

    def __init__(self, finished: Finished, folder: Path) -> None:
        self._finished, self.folder = finished, folder
        result = finished.result
        self._records: Sequence[Record] = result.records if result else ()
        self._predictions: Mapping[str, Predictions] = result.predictions if result else {}
        self.data: PoisonedDataset = finished.experiment.lab.data
        self.chosen: Record | None = result.chosen if result else None
        self.notes: tuple[str, ...] = finished.notes
        self.stealth: Mapping[str, Any] | None = finished.stealth

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row for each arm and threshold, in the order of the run; fractions, not per cent.

        Columns: `dataset`, `attack`, `model`, `defense`, `seed`; `arm` and `threshold` (NaN where
        an arm has none); `chosen`, the best; `picked`, what a defender would take; `cacc` of
        `num_clean` rows; `asr`, `pacc` and `base_rate` of `num_triggered` rows (NaN without an
        attack); `rejected_clean`, `rejected_triggered`;
        `num_suspects`; `precision`, `recall`, `best_rank` and `num_trigger_tokens` of the suspects
        against the true trigger, where whole words were convicted `precision` and `recall` of these
        (`num_found_words`, `num_trigger_words`), and `row_precision` and `row_recall` of the rows
        (`num_found_rows`, `num_poisoned_rows`) with `row_auroc` of their suspicion, and
        `input_precision`, `input_recall` and `input_auroc` of rejected inputs; `leaky`;
        `picked_by`, the rule by which a defender sets the threshold, and `trusted_accuracy`, where
        that decides; `seconds` that it took to compute, `work_seconds` and `work_passes` of all
        that its model was made from; `record`, its key.
        """
        import pandas as pd

        from btu.metrics import pick_of_run
        from btu.store.records import summary_rows

        rows, picked = [], pick_of_run(self._records)
        for record, row in zip(self._records, summary_rows(self._records), strict=True):
            about = {**record.choices, "seed": record.seed}
            point = {name: row.pop(name) for name in ("arm", "threshold")}
            last = {name: row.pop(name) for name in LAST}
            found = row.pop("detection") or {}
            detection = {name: found.get(name) for name in DETECTION}
            chosen = {"chosen": record is self.chosen, "picked": record is picked}
            rows.append({**about, **point, **chosen, **row, **detection, **last})
        frame = pd.DataFrame(rows)
        shares = [c for c in frame if c in ("threshold", *SHARES)]
        counts = [c for c in frame if c in COUNTS]
        return frame.astype(dict.fromkeys(shares, "float64") | dict.fromkeys(counts, "Int64"))

    @cached_property
    def suspects(self) -> pd.DataFrame:
        """One row for each threshold and suspect token, as `suspects.csv` has them.

        Columns: `threshold`, `token`, `id`, `rounds`, `rank` (from 1), `distance`, `replaced`
        (dimensions of its embedding), `is_trigger` (None where no trigger is known), `leans_to`,
        `lean_share` of the `num_texts` training texts that hold it; rank and distance in each
        round; up to three of the texts. No row where nothing was suspected.
        """
        from btu.report.run import suspect_frame

        return suspect_frame(self._records)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row for each threshold and finding of a defense that convicts, the surest first.

        Columns: `threshold`, `defense`, `convicted` (else it was suspected and acquitted), `kind`
        (words or rows), `text`, `marks` and `place` of it, the `label` that it pushes to, its
        `rows` of that label and their number `held` of any, `contradicted` and `trusted`;
        `turned_in_victim` and `turned_in_reference` of the `tried` trusted texts; p-values and `q`;
        `reason`; up to three `examples`. No row where nothing was suspected.
        """
        import pandas as pd

        from btu.report.verdicts import FINDING_COLUMNS, list_findings

        return pd.DataFrame(list_findings(self._records), columns=list(FINDING_COLUMNS))

    def predictions(self, arm: str, threshold: float | None = None) -> pd.DataFrame:
        """What a model says of every row of both test sets.

        Args:
            arm: `clean`, `poisoned`, `tuned`, `trusted_only`, `unlearned` or `defended`.
            threshold: needed only where the run has several; NaN, as in `records`, is none.

        Returns:
            One row for each test text. `test_set` is `clean` or `triggered`; `row` is the row of
            the clean test set that it is or was made from; `text` as it was given, before any
            defense changed it; `true_label` (never the attacker's) and `predicted_label` are
            names; `rejected` tells that a defense turned it away, and then the prediction does
            not count. `p_NAME` is the probability of each label, in the order of the labels: the
            last C columns are the (N, C) probabilities.

        Raises:
            ConfigError: no such arm or threshold in this run, or the threshold is open.
        """
        import numpy as np
        import pandas as pd

        said = self._predictions[self._record(arm, threshold).key]
        names = np.asarray(self.data.clean.label_names, dtype=object)
        clean, triggered = self.data.clean.test, self.data.triggered
        parts = [(CLEAN, clean, np.arange(len(clean)), said.clean)]
        if triggered is not None:
            parts.append((TRIGGERED, triggered, self.data.triggered_rows, said.triggered))
        frames = [
            pd.DataFrame(
                {
                    "test_set": test_set,
                    "row": rows,
                    "text": split.texts,
                    "true_label": names[split.labels],
                    "predicted_label": names[predicted.labels],
                    "rejected": predicted.rejected,
                }
                | {f"p_{name}": predicted.probabilities[:, n] for n, name in enumerate(names)}
            )
            for test_set, split, rows, predicted in parts
        ]
        return pd.concat(frames, ignore_index=True)

    def model(self, arm: str, threshold: float | None = None) -> Classifier:
        """The model of an arm: `.model` and `.tokenizer` of transformers, yours to change.

        The victim comes from the cache. Unlearning it and tuning it on the trusted rows, which
        the cache does not keep, are done again: the same numbers come out. A text longer than
        `model.max_length` was cut for `predictions`; what a defense does to texts before the model
        reads them is not part of it.

        Args:
            arm: as for `predictions`.
            threshold: needed only where the run has several.

        Returns:
            The model in eval mode, on the device that the run used, with the labels' names in its
            config.

        Raises:
            ConfigError: as for `predictions`.
        """
        from btu.training.first_position import read_every_position

        record = self._record(arm, threshold)
        experiment = self._finished.experiment
        classifier = experiment.classifier(record.arm, record.threshold)
        name_labels(classifier, self.data.clean.label_names)
        read_every_position(classifier.model)
        classifier.model.to(experiment.lab.compute.device).eval()
        return classifier

    def _record(self, arm: str, threshold: float | None) -> Record:
        """The record of an arm at a threshold, which may be left out where there is one."""
        found = [record for record in self._records if record.arm == arm]
        if not found:
            arms = list(dict.fromkeys(record.arm for record in self._records))
            if not arms:
                raise ConfigError("this run trained no model: its arms are empty.")
            raise ConfigError(f"arm {arm} is not in this run; {did_you_mean(arm, arms, 'it has')}")
        if threshold is not None and math.isnan(threshold):  # as `records` writes None
            threshold = None
        if threshold is None and len(found) == 1:
            return found[0]
        if found[0].threshold is None and threshold is not None:
            raise ConfigError(f"arm {arm} has no threshold in this run. Leave it out.")
        at = next((record for record in found if record.threshold == threshold), None)
        if at is None:
            known = ", ".join(f"{record.threshold:g}" for record in found)
            got = "none was given" if threshold is None else f"got {threshold:g}"
            raise ConfigError(f"arm {arm} was evaluated at the thresholds {known}; {got}.")
        return at

    def __repr__(self) -> str:
        return f"<btu run: {len(self._records)} records, folder {self.folder}>"

    def _repr_html_(self) -> str:
        """The table that the command line prints; all text is escaped."""
        if not self._records:
            return f"<p>{html.escape(repr(self))}</p>"
        from btu.report.planted import tell_planted
        from btu.report.tables import score_table

        table = score_table(self._records, self.chosen)
        head = "".join(f"<th>{html.escape(str(c.header))}</th>" for c in table.columns)
        rows = zip(*(column.cells for column in table.columns), strict=True)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>"
            for row in rows
        )
        planted, notes = tell_planted(self._records, self.chosen)
        lines = [*str(table.caption or "").split("\n"), *planted]
        lines += [f"note: {note}" for note in (*notes, *self.notes)]
        return (
            f'<div class="tex2jax_ignore mathjax_ignore">'  # nor is $...$ a formula
            f"<table><caption>{html.escape(str(table.title))}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{'<br>'.join(map(html.escape, lines))}</p></div>"
        )


def _keys(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The settings, if their keys are keys."""
    for key in settings:
        if not re.fullmatch(r"\+{0,2}[\w./@:-]+", str(key)):
            raise ConfigError(f"{key!r} is not the name of a setting, such as attack.poison_rate.")
    return list(settings.items())


def _check_word(word: str) -> str:
    """A word of the command line, if it is a setting."""
    if not isinstance(word, str):
        raise ConfigError(f"{word!r} is not text such as 'attack=addsent'.")
    if word in ("-m", "--multirun"):
        raise ConfigError(f"{word} runs many jobs, btu.run runs one. {LOOP}")
    if word.startswith("-"):
        raise ConfigError(f"{word} is an option of the command line; btu.run takes KEY=VALUE.")
    return word


def _check_one_job(words: Sequence[str]) -> None:
    """Raise for a sweep and for settings of Hydra's own."""
    for override in OverridesParser.create().parse_overrides(list(words)):
        if re.match(r"hydra([./@]|$)", override.key_or_group):
            raise ConfigError(
                f"{override.input_line}: settings of hydra are for the command line. For the run's "
                "folder write folder=PATH."
            )
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line} is a sweep, btu.run runs one job. {LOOP}")


def _written(value: Any, key: str) -> str:
    """A value as Hydra reads it back.

    Raises:
        ConfigError: a value of another kind, such as a set.
    """
    if hasattr(value, "tolist"):  # arrays and scalars of numpy, torch and pandas
        value = value.tolist()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return QuotedString(str(value), Quote.single).with_quotes()
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{k}:{_written(v, key)}' for k, v in _keys(value))}}}"
    if isinstance(value, list | tuple | range):
        return f"[{','.join(_written(each, key) for each in value)}]"
    raise ConfigError(
        f"{key} is text, a number, a boolean, None or a list of these, got a "
        f"{type(value).__name__}."
    )
