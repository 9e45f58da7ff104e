"""A plan for a reader: tables, and sentences about what stands in them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from btu.planning.estimates import COMPUTED, MEASURED
from btu.planning.jobs import Launcher
from btu.planning.plan import JOB_SECONDS, PROCESS_SECONDS, Plan, StageCounts
from btu.terminal.text import plain

MEANING = {
    "poisoned set": "the data set with an attack's triggers planted",
    "victim": "a model trained on a poisoned set",
    "clean model": "a model trained on rows without a trigger",
    "round": "an epoch that shows which words move furthest",
    "tuning": "a trained model trained on trusted rows after that",
    "trusted only": "a model trained on the trusted rows alone",
    "evaluation": "a model scored on the test rows",
    "outputs": "what a model says of texts, for a defense",
    "record": "the scores of an arm at a threshold",
}
PLURALS = {"trusted only": "trusted-only models", "outputs": "outputs"}
SOURCES = {MEASURED: "finished stages", COMPUTED: "operations"}


def tables(plan: Plan, launcher: Launcher) -> RenderableType:
    """Everything that the plan says."""
    if plan.search:
        return (
            f"a search of {plan.num_jobs:,} trials, one job each. {plan.search} draws the settings "
            "of a trial from the results of those before, so what the trials share, and with it "
            "hours and disk, cannot be told before it runs."
        )
    parts: list[RenderableType] = [_jobs(plan), _stages(plan), *_foot(plan), _hours(plan, launcher)]
    parts += [_disk(plan), *(Text(plain(f"note: {note}")) for note in plan.notes)]
    parts += [Text(plain(f"warning: {warning}"), style="bold") for warning in plan.warnings]
    return Group(*parts)


def _jobs(plan: Plan) -> Text:
    lines = [f"{plan.num_jobs:,} {'job' if plan.num_jobs == 1 else 'jobs'}, {plan.at_once} at once"]
    for sentence, jobs in plan.failing.items():
        shown = ", ".join(map(str, jobs[:5])) + (", ..." if len(jobs) > 5 else "")
        number = f"{len(jobs):,} of them" if len(jobs) < plan.num_jobs else "all of them"
        lines.append(f"{number} cannot begin (number {shown}): {plain(sentence)}")
    return Text("\n".join(lines))


def _stages(plan: Plan) -> Table:
    table = Table(title="What is computed", title_justify="left")
    table.add_column("what")
    for head in ("asked for", "different", "done already", "to compute", "time"):
        table.add_column(head, justify="right")
    table.add_column("estimated from")
    for line in plan.stages:
        table.add_row(*_cells(line), _hours_cell(line), _source(line))
    if plan.records:
        table.add_section()
        table.add_row(*_cells(plan.records), "", "")
    return table


def _cells(line: StageCounts) -> list[str]:
    counts = [line.asked_for, line.different, line.different - line.to_compute, line.to_compute]
    is_round = line.kind.startswith("round")
    cells = [
        f"detection {line.kind}" if is_round else PLURALS.get(line.kind, f"{line.kind}s"),
        *(f"{count:,}" for count in counts),
    ]
    if line.at_most:
        cells[2] += "*"
        cells[4] += "*"
    return cells


def _hours_cell(line: StageCounts) -> str:
    return "unknown" if line.seconds is None else hours(line.seconds)


def _source(line: StageCounts) -> str:
    return ", ".join(SOURCES[name] for name in line.estimated_from if name in SOURCES)


def _foot(plan: Plan) -> Iterator[str]:
    kinds = {line.kind.split()[0] if "round" in line.kind else line.kind for line in plan.stages}
    meanings = (f"{kind}: {m}" for kind, m in MEANING.items() if kind in {*kinds, "record"})
    yield "; ".join(meanings) + "."
    yield (
        "asked for: by all jobs in sum; different: what several jobs ask for is computed once; "
        "done already: in the cache, or needed only for records that are there."
    )
    if any(line.at_most for line in plan.stages):
        yield (
            "* at most: what the defenses decide is known only when the stages before have run; "
            "where decisions turn out to be the same, or are in the cache, less is computed."
        )


def hours(seconds: float) -> str:
    """Hours, in minutes or seconds where that is shorter."""
    if seconds >= 5400:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _hours(plan: Plan, launcher: Launcher) -> Table:
    table = Table(title=_where(plan), title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("time", justify="right")
    table.add_column("how")
    if plan.work_seconds is None or plan.wall_seconds is None:
        table.add_row("computing", "unknown", "see the notes")
        return table
    each = "every job" if launcher.every_job_starts else "every process"
    table.add_row("stages in sum", hours(plan.work_seconds), _how(plan))
    start = f"{PROCESS_SECONDS:.0f} s for {each} to begin, {JOB_SECONDS:g} s for a job's files"
    table.add_row("starting and ending jobs", hours(plan.start_seconds), start)
    table.add_row(
        f"from start to end, {plan.at_once} at once",
        hours(plan.wall_seconds),
        "jobs that need what another is computing wait for it",
    )
    if plan.longest_job_seconds is not None:
        table.add_row(
            "longest job",
            hours(plan.longest_job_seconds),
            "however many run at once, it takes as long as this",
        )
    return table


def _where(plan: Plan) -> str:
    if plan.given_rate is None:
        return "How long on this machine, estimated"
    return f"How long on a machine of {plan.given_rate:g} TFLOP/s, estimated"


def _how(plan: Plan) -> str:
    sources = {name for line in plan.stages for name in line.estimated_from if line.seconds}
    said = []
    if MEASURED in sources:
        said.append("finished stages: as long per row as the same stage took, by the cache")
    if COMPUTED in sources:
        rates = ", ".join(f"{name} {rate:.2f} TFLOP/s" for name, rate in plan.rates.items())
        machine = f"the rate of matrix products just now ({rates})" if rates else "--rate"
        said.append(f"operations: those of the work, over {machine}")
    return "; ".join(said) or "nothing is left to compute"


def _disk(plan: Plan) -> Table:
    table = Table(title="How much disk, estimated", title_justify="left", show_footer=True)
    known = [size for size in plan.disk if size.bytes_together is not None]
    more = "" if len(known) == len(plan.disk) else "at least "
    together = sum(size.bytes_together or 0 for size in known)
    added = sum(size.bytes_more or 0 for size in known)
    table.add_column("what", footer="together")
    table.add_column("number", justify="right")
    table.add_column("all of them", footer=f"{more}{megabytes(together)}", justify="right")
    table.add_column("more than now", footer=f"{more}{megabytes(added)}", justify="right")
    for size in plan.disk:
        table.add_row(
            size.what, f"{size.number:,}", *map(megabytes, (size.bytes_together, size.bytes_more))
        )
    return table


def megabytes(size: float | None) -> str:
    """A size in MB, or in GB where that is shorter."""
    if size is None:
        return "unknown"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
