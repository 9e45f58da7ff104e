"""What a report is about: the records of its sources, what was left out, which jobs failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from btu.errors import DataError
from btu.metrics import by_size
from btu.store.records import CHOICES, Record, read_record
from btu.sweeps.jobs import FINISHED, JOB, JobReport, load_job
from btu.sweeps.jobs import FORMAT as JOB_FORMAT
from btu.types import ARM_NAMES


@dataclass(frozen=True)
class LeftOut:
    """A file that is in no table, and why."""

    path: Path
    name: str  # within its source
    reason: str


@dataclass(frozen=True)
class Study:
    """Everything that the sources hold, in an order that does not depend on theirs."""

    records: tuple[Record, ...]
    paths: Mapping[str, Path]  # record key -> its file
    left_out: tuple[LeftOut, ...]
    jobs: tuple[JobReport, ...]

    @property
    def unfinished(self) -> tuple[JobReport, ...]:
        """The jobs that failed, were stopped or still run."""
        return tuple(job for job in self.jobs if job.status != FINISHED)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each file left out and for each job that did not finish."""
        files = [f"left out: {item.path}: {item.reason}" for item in self.left_out]
        jobs = [f"job {j.name} {j.status}{f': {j.error}' * bool(j.error)}" for j in self.unfinished]
        return (*files, *jobs)


@dataclass
class _Reader:
    """Collects records, each file and each key once."""

    entries: dict[str, tuple[Record, Path]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    jobs: list[JobReport] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def source(self, source: Path) -> None:
        """Read one source: a record, a folder of records, or the folder of a run or a sweep."""
        if not source.exists():
            raise DataError(
                f"{source} does not exist. Name a folder of records, or the folder of a run."
            )
        if source.is_file():
            for path in [source] if source.name != JOB else self._job(source, source.parent):
                self._record(path, source.parent)
            return
        jobs = _job_files(source)
        records = [path for job in jobs for path in self._job(job, source)]
        files = [path for path in sorted(source.iterdir()) if path.is_file()]
        if not jobs and not any(_is_candidate(path) for path in files):
            raise DataError(
                f"{source} holds neither records (*.json) nor a run (job.json). Name a folder such "
                "as outputs/records, or that of a run or a sweep in outputs/runs/<date>/."
            )
        for path in records if jobs else files:
            self._record(path, source)

    def _skip(self, path: Path, root: Path, reason: str) -> None:
        inside = path.is_relative_to(root)
        name = path.relative_to(root).as_posix() if inside else path.name
        self.left_out.append(LeftOut(path, name, reason))

    def _job(self, path: Path, root: Path) -> list[Path]:
        try:
            job = load_job(path)
        except (OSError, ValueError) as error:
            self._skip(path, root, f"is not a job report of format {JOB_FORMAT} ({_short(error)})")
            return []
        self.jobs.append(job)
        return [path.parent / name for name in job.records]

    def _record(self, path: Path, root: Path) -> None:
        resolved = path.resolve()
        if resolved in self.seen or path.name.startswith("."):
            return
        self.seen.add(resolved)
        if path.suffix == ".npz" and path.with_suffix(".json").exists():
            return
        try:
            record = load_record(path)
        except ValueError as error:
            self._skip(path, root, str(error))
            return
        self._add(record, path)

    def _add(self, record: Record, path: Path) -> None:
        known, other = self.entries.setdefault(record.key, (record, path))
        same = ("arm", "threshold", "seed", "choices", "scores")
        if any(getattr(known, name) != getattr(record, name) for name in same):
            raise DataError(
                f"two records claim one key: {other} and {path} have different scores for "
                f"{record.key}. Leave one of them out."
            )


def read_study(sources: Sequence[Path]) -> Study:
    """All records of the sources, each key once.

    Raises:
        DataError: a source holds nothing to read, two files claim one key, or no record is left.
    """
    reader = _Reader()
    for source in sources:
        reader.source(source)
    if not reader.entries:
        raise DataError(_nothing(sources, reader))
    pairs = sorted(reader.entries.values(), key=lambda pair: _order(pair[0]))
    return Study(
        records=tuple(record for record, _ in pairs),
        paths={record.key: path for record, path in pairs},
        left_out=tuple(sorted(reader.left_out, key=lambda item: (item.name, item.reason))),
        jobs=tuple(sorted(reader.jobs, key=lambda job: (job.name, job.overrides))),
    )


def load_record(path: Path) -> Record:
    """A record whose predictions lie beside it.

    Raises:
        ValueError: why it is not one, as the end of a sentence that begins with the file.
    """
    if path.suffix == ".npz":
        raise ValueError("incomplete: predictions without their record (.json)")
    if path.suffix != ".json":
        raise ValueError("is not a record")
    try:
        record = read_record(path)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if not path.with_suffix(".npz").exists():
        raise ValueError("incomplete: its predictions (.npz) are missing")
    return record


def _job_files(folder: Path) -> list[Path]:
    own = folder / JOB
    below: Iterator[Path] = (entry / JOB for entry in sorted(folder.iterdir()))
    return [path for path in (own, *below) if path.is_file()]


def _is_candidate(path: Path) -> bool:
    return path.suffix == ".json" and not path.name.startswith(".")


def _order(record: Record) -> tuple[Any, ...]:
    choices = tuple(record.choices[name] for name in CHOICES)
    at = by_size(record.threshold)
    return (*choices, ARM_NAMES.index(record.arm), at, record.seed, record.key)


def _nothing(sources: Sequence[Path], reader: _Reader) -> str:
    where = ", ".join(map(str, sources))
    first = next((f": {item.name} {item.reason}" for item in reader.left_out), "")
    failed = [job for job in reader.jobs if job.status != FINISHED]
    jobs = f", {len(failed)} jobs not finished" if failed else ""
    files = f"{len(reader.left_out)} files left out{first}"
    why = next((f" The first says: {job.error}" for job in failed if job.error), "")
    return f"no records in {where} ({files}{jobs}). Run btu, or repeat the sweep.{why}"


def _short(value: object, width: int = 80) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
