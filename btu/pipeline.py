"""The experiment as a paper tells it: decide, train, edit, tune, predict, score, record.

The data set is poisoned before (`btu/attacks/stored.py`); `btu/experiment.py` goes through arms and
thresholds and keeps records.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from btu.defenses.base import Decision, Defense, Repair
from btu.defenses.evidence import describe_decision
from btu.evidence.words import split_words
from btu.job import Job
from btu.lab import Lab
from btu.metrics import score, score_detection, score_rows, score_words
from btu.models.base import Classifier
from btu.store.code import code_of, plugins_of
from btu.store.records import KEY_LENGTH, Record, provenance
from btu.store.stages import Stage, settings_of
from btu.types import Arm, Edit, Predictions, Split

COUNTED = ("num_found_words", "num_found_rows")


def measure(
    job: Job,
    lab: Lab,
    arm: Arm,
    threshold: float | None,
    decision: Decision,
    trigger: frozenset[int] | None,
    identity: str,
) -> tuple[Record, Predictions]:
    """Compute the record of one arm at one threshold.

    Args:
        job: what was asked for.
        lab: where its models are made.
        arm: which of its models.
        threshold: where the defenses decided; None for an arm that they do not touch.
        decision: what they decided.
        trigger: token ids of the true trigger, where one is known.
        identity: names everything that the record depends on.
    """
    start = time.perf_counter()
    with lab.collecting_stages() as stages:
        model = make_model(job, lab, arm, decision)
        predictions, reports = lab.predict(model, decision.screens, f"scores of {arm.name}")
    where = provenance(lab.compute.device, lab.compute.precision, plugins_of(job.components))
    record = Record(
        key=identity[:KEY_LENGTH],
        identity=identity,
        arm=arm.name,
        threshold=threshold,
        threshold_label=job.threshold_label if arm.defended else None,
        seed=job.seed,
        choices=job.choices(arm),
        scores=score(predictions, lab.data, rejects=bool(decision.screens)),
        detection=score_found(job, lab, decision, trigger),
        format_shifts=lab.data.format_shifts,
        cut=lab.cut,
        leaky=lab.data.clean.leaky,
        config=job.config,
        stages={**stages, **decision.stages},
        seconds=time.perf_counter() - start,
        provenance=where | lab.compute.several(),
        **describe_decision(decision, reports, lab, trigger),
    )
    return record, predictions


def score_found(
    job: Job, lab: Lab, decision: Decision, trigger: frozenset[int] | None
) -> dict[str, Any] | None:
    """How well suspects, words and rows hit what was planted; None where nothing was found.

    Where it is not known what was planted, words and rows found are counted alone.

    Where words were found, `precision` and `recall` are of them, not of suspect tokens. There is no
    precision where one of several attacks rewrites: any word may be its own.
    """
    if lab.data.target_label is None:
        counts = score_words(decision.found_words, ())
        counts |= score_rows(decision.found_rows, lab.data.train.poisoned)
        return {key: value for key, value in counts.items() if key in COUNTED} or None
    found = dict(score_detection(decision.suspects, trigger or ()) or {})
    if decision.found_words is not None:
        fold = lab.ignores_case
        samples = (sample.text[sample.start : sample.end] for sample in job.attack.samples())
        planted = {word for text in samples for word in split_words(text, fold)}
        words = {word.lower() if fold else word for word in decision.found_words}
        found |= score_words(words, planted)
    if "precision" in found and not all(part.samples() for part in job.attack.parts.values()):
        found["precision"] = None
    found |= score_rows(decision.found_rows, lab.data.train.poisoned)
    return found or None


def decide(job: Job, lab: Lab, threshold: float | None) -> Decision:
    """What the defenses decide at a threshold, each on top of those before it."""
    decision = Decision()
    with lab.collecting_stages() as stages:
        for defense in job.defenses:
            is_swept = defense is job.swept and threshold is not None
            at = threshold if is_swept else defense.threshold
            decision = _sign(defense, at, defense.decide(lab, at, decision))
    return replace(decision, stages=stages)


def make_model(job: Job, lab: Lab, arm: Arm, decision: Decision) -> Stage[Classifier]:
    """The model of an arm; nothing is trained until it is asked what it says."""
    training = job.model.training
    if arm.rows == "trusted":
        alone = replace(training, epochs=job.tuning.trusted_only_epochs)
        return lab.train(_need(lab.trusted), alone, title="trusted only", draws="trusted only")
    if arm.rows == "clean":
        return lab.train(lab.data.clean.train, training, title="clean model")
    model = lab.train(decision.keep(lab.rows), decision.training or training)
    for edit in decision.edits:
        model = lab.edit(model, edit)
    if not arm.tuned or (arm.defended and not job.tunes):
        return model
    repair = decision.repair or Repair(_need(lab.trusted), job.tuning.as_training(training))
    return repair.train(lab, model)


def _need(trusted: Split | None) -> Split:
    if trusted is None:
        raise ValueError("there is no clean tuning set; `possible_arms` leaves such arms out")
    return trusted


def _sign(defense: Defense, threshold: float | None, decision: Decision) -> Decision:
    """The decision with its new edits named by the code that applies them.

    One that names nothing it depends on gets all settings and the threshold: it must not be taken
    for the edit of another defense or threshold, nor for none.
    """
    code = code_of(type(defense))
    everything = {"settings": settings_of(defense), "threshold": threshold}

    def named(edit: Edit) -> Edit:
        return edit if edit.code else replace(edit, code=code, parts=edit.parts or everything)

    repair = decision.repair
    repair = repair and replace(repair, edits=tuple(map(named, repair.edits)))
    return replace(decision, edits=tuple(map(named, decision.edits)), repair=repair)
