"""One audit from a job to its files: for the command line and from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from btu.api import set_up_torch, write_words
from btu.auditing.examine import examine
from btu.auditing.kept import write_relabelled, write_without
from btu.auditing.opened import open_files
from btu.auditing.page import PAGE, make_page
from btu.auditing.told import Told
from btu.auditing.written import REPORT, ROWS, find_planted, suggest_labels, write_rows
from btu.config import composed
from btu.data.local import LocalDataset
from btu.defenses.selfset import SelfSet
from btu.errors import ConfigError
from btu.job import Job, build_job
from btu.store.files import write_json
from btu.terminal.sentences import in_one_sentence, is_of_composing

BASE = ("dataset=local", "attack=none", "defense=selfset", "tracking=none", "dataset.name=audit")


class Audited(Told):
    """What an audit found, with all that it says and writes."""

    def write(self, folder: str | Path, relabel: bool = False) -> Path:
        """Write rows.csv, clean.*, report.json and report.html into a folder, which is made.

        Args:
            folder: where they go; files of these names that are there are replaced.
            relabel: whether to write relabelled.*, too.
        """
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.examined, folder / ROWS)
        planted, opened = find_planted(self.examined), self.examined.opened
        write_without(opened, planted, folder)
        if relabel:
            write_relabelled(opened, suggest_labels(self.examined, planted), folder)
        write_json(folder / REPORT, self.report)
        (folder / PAGE).write_text(make_page(self, relabel), encoding="utf-8")
        if self.trained:
            self.trained.save(folder)
        return folder


def audit(
    file: str | Path,
    *overrides: str,
    trusted: str | Path | None = None,
    text: str | None = None,
    label: str | None = None,
    model: str | None = None,
    fast: bool = False,
    save_model: bool = False,
    **settings: Any,
) -> Audited:
    """What was planted in a file, exactly as `btu audit` finds it; nothing is printed or written.

    Args:
        file: labelled texts: TSV, CSV, JSON or parquet, also with .gz.
        overrides: further words of the command line, such as `"seed=2"`.
        trusted: a file of labelled texts that you trust; None: the file is judged by itself.
        text: the column of the texts; None: guessed by its name.
        label: that of the labels.
        model: the network, such as `"bert_base"`; None: MiniLM.
        fast: whether to train linear models of words and no network.
        save_model: whether to train models without what was found; `.write` saves the best.
        settings: further settings as Python values, as in `btu.run`.

    Returns:
        `.planted`, `.sentences`, `.suspicions`, `.notes` and `.report` (all of it, as in
        report.json); `.write(folder)` writes the files.

    Raises:
        BtuError: a file or a setting is not as it has to be; its text is one sentence.
    """
    set_up_torch()
    chosen = {
        "dataset.train": str(file),
        "dataset.tuning": None if trusted is None else str(trusted),
        "dataset.text_column": text,
        "dataset.label_column": label,
        "model": model,
    }
    given = {key: value for key, value in chosen.items() if value is not None}
    words = [*BASE, *write_words((), given), *write_words(overrides, settings)]
    try:
        with composed(words) as (cfg, _):
            job, _ = build_job(cfg)
            return audit_job(job, fast, save_model)
    except Exception as error:
        if isinstance(error, OSError) or is_of_composing(error):
            raise ConfigError(in_one_sentence(error)) from error
        raise


def audit_job(job: Job, fast: bool, save_model: bool = False) -> Audited:
    """Audit the training file of a job by its tuning file.

    Raises:
        ConfigError: the job is of another kind of data set or another defense.
        DataError: a file is not as it has to be.
    """
    if not isinstance(job.dataset, LocalDataset) or not isinstance(job.defenses[-1], SelfSet):
        raise ConfigError(
            "an audit needs dataset=local and defense=selfset. Leave both as they are."
        )
    opened = open_files(job.dataset)
    if not save_model:
        return Audited(examine(opened, job, fast))
    from btu.auditing.trained import check_trusted, train_models  # loads torch

    check_trusted(len(opened.trusted))
    examined = examine(opened, job, fast)
    return Audited(examined, train_models(examined, job))
