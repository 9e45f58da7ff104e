"""What an open W&B run is given: curves, tables, a summary; whatever W&B does, the job goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from btu.components import Tracker
from btu.errors import ConfigError, first_line
from btu.report.run import SUSPECT_COLUMNS, suspect_rows
from btu.report.verdicts import FINDING_COLUMNS, list_findings
from btu.store.records import summary_rows
from btu.types import REPAIRED

log = logging.getLogger(__name__)
CONVICTED_COLUMNS = tuple(  # without the texts of rows
    name for name in FINDING_COLUMNS if name not in {"convicted", "marks", "reason", "examples"}
)
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class OpenRun(Tracker):
    """The W&B run of a job that is being computed."""

    run: Any
    failures: list[str] = field(default_factory=list)  # what W&B could not do

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost so far."""
        return not self.failures

    def log_result(self, result: Any, run_dir: Path, objective: float | None) -> str | None:
        """Curves over the threshold, tables, the plot, the summary."""
        with telling_failures("take the results", self.failures):
            self._log(result, run_dir, objective)
            if self.run.settings.mode == "offline":
                where = where_is(self.run)
                log.info("W&B offline run; to upload it: wandb sync %s", where)
                return where
        return None

    def _log(self, result: Any, run_dir: Path, objective: float | None) -> None:
        import wandb

        run = self.run
        run.define_metric("threshold")
        for arm in REPAIRED:
            run.define_metric(f"{arm}/*", step_metric="threshold")
        for point in curve_points(result.records):
            run.log(point)
        rows = [
            {k: v for k, v in row.items() if not isinstance(v, dict) and k != "detection"}
            for row in summary_rows(result.records)
        ]
        suspects = suspect_rows(result.records)
        media: dict[str, Any] = {
            "records": _table(wandb, rows, list(rows[0])),
            "suspects": _table(wandb, suspects, SUSPECT_COLUMNS),
        }
        if convicted := [row for row in list_findings(result.records) if row["convicted"]]:
            media["findings"] = _table(wandb, convicted, CONVICTED_COLUMNS)
        if (run_dir / "curve.png").is_file():
            media["curve"] = wandb.Image(str(run_dir / "curve.png"))
        if objective is not None:
            media["objective"] = objective  # logged, not only summarised: W&B sweeps want it so
        run.log(media)
        run.summary.update(summary_values(result))


@contextmanager
def telling_failures(what: str, failures: list[str] | None = None) -> Iterator[None]:
    """Say in the log what W&B cannot do, and go on: wandb raises errors of many kinds."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        log.warning("W&B cannot %s (%s); the results are kept here", what, reason)
        if failures is not None:
            failures.append(reason)


def where_is(run: Any) -> str:
    """The page of a run, or the folder of one that was kept offline."""
    return str(Path(run.dir).parent) if run.settings.mode == "offline" else str(run.url)


def curve_points(records: Any) -> list[dict[str, Any]]:
    """One point per threshold, with the scores of every arm that has one there."""
    points: dict[float, dict[str, Any]] = {}
    for record in records:
        if record.threshold is not None:
            point = points.setdefault(record.threshold, {"threshold": record.threshold})
            point |= _scores(record)
    return [points[threshold] for threshold in sorted(points)]


def summary_values(result: Any) -> dict[str, Any]:
    """Scores of the arms without a threshold, and those at the chosen threshold."""
    values: dict[str, Any] = {}
    for record in result.records:
        if record.threshold is None or record is result.chosen:
            values |= _scores(record)
    if result.chosen is not None:
        if result.chosen.threshold is not None:
            values["chosen_threshold"] = result.chosen.threshold
        if result.chosen.threshold_label is not None:
            values["threshold_label"] = result.chosen.threshold_label
        values |= {
            f"evidence/{k}": v for k, v in result.chosen.evidence.items() if isinstance(v, _PLAIN)
        }
        values |= {f"detection/{k}": v for k, v in (result.chosen.detection or {}).items()}
    for metric, entries in (result.stealth or {}).items():
        if isinstance(entries, Mapping):
            values |= {f"stealth/{metric}/{k}": v for k, v in entries.items()}
    return values


def _scores(record: Any) -> dict[str, Any]:
    """The scores of a record, and how many suspects it has where its defense looks for any."""
    scores = {f"{record.arm}/{k}": v for k, v in asdict(record.scores).items() if v is not None}
    if record.suspects is not None:
        scores[f"{record.arm}/num_suspects"] = len(record.suspects)
    return scores


def _table(wandb: Any, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    return wandb.Table(columns=list(columns), data=[[row[c] for c in columns] for row in rows])
