"""The experiment as a paper tells it: decide, train, edit, tune, predict, score, record.

The data set is poisoned before (`btu/attacks/stored.py`); `btu/experiment.py` goes through arms and
thresholds and keeps records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from btu.defenses.base import Decision, Defense, Repair
from btu.defenses.evidence import describe_decision
from btu.evidence.words import split_words
from btu.job import Job
from btu.lab import Lab
from btu.metrics import (
    accuracy,
    answers,
    score,
    score_detection,
    score_rejections,
    score_rows,
    score_suspicion,
    score_words,
)
from btu.models.base import Classifier
from btu.store.code import code_of, plugins_of
from btu.store.records import KEY_LENGTH, Choice, Record, Work, provenance
from btu.store.stages import Stage, settings_of
from btu.types import ACCURACY, BEFOREHAND, Arm, Edit, Predicted, Predictions, Split

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
        title, judging = f"scores of {arm.name}", find_judging(job, lab, arm)
        predictions, reports, of_trusted = lab.predict(model, decision.screens, title, judging)
    choice = describe_choice(job, lab, of_trusted) if arm.defended else None
    used = {**stages, **decision.stages}
    where = provenance(lab.compute.device, lab.compute.precision, plugins_of(job.components))
    record = Record(
        key=identity[:KEY_LENGTH],
        identity=identity,
        arm=arm.name,
        threshold=threshold,
        threshold_label=job.threshold_label if arm.defended else None,
        seed=job.seed,
        choices=job.choices(arm),
        scores=score(predictions, lab.data),
        detection=score_found(job, lab, decision, trigger, predictions),
        format_shifts=lab.data.format_shifts,
        cut=lab.cut,
        leaky=lab.data.clean.leaky,
        config=job.config,
        stages={name: stage.key for name, stage in used.items()},
        seconds=time.perf_counter() - start,
        provenance=where | lab.compute.several(),
        work=add_up(lab, used.values()),
        choice=choice,
        **describe_decision(decision, reports, lab, trigger),
    )
    return record, predictions


def find_judging(job: Job, lab: Lab, arm: Arm) -> Split | None:
    """The trusted rows where the accuracy on them says how to set the threshold."""
    by_accuracy = arm.defended and job.rule == ACCURACY and job.threshold_label is not None
    return lab.trusted if by_accuracy else None


def describe_choice(job: Job, lab: Lab, said: Predicted | None) -> Choice | None:
    """What a defender goes by to set the threshold; None where there is none.

    Args:
        job: with the defense that is swept.
        lab: whose undefended victim is compared with.
        said: of the trusted rows by the defended model, where their accuracy decides.
    """
    swept = job.swept
    if swept is None or swept.knob is None:
        return None
    choice = Choice(job.rule, swept.threshold, swept.knob.low_is_strong)
    if said is None:
        return replace(choice, rule=BEFOREHAND)
    trusted = _need(lab.trusted)
    victim = lab.train(lab.rows, job.model.training)
    undefended = lab.get(lab.outputs(victim, trusted.texts)).labels
    return replace(
        choice,
        accuracy=accuracy(answers(said), trusted.labels),
        undefended=accuracy(undefended, trusted.labels),
    )


def add_up(lab: Lab, used: Iterable[Stage[Any]]) -> Work:
    """What stages took, and all that they were made from, whoever made it and when."""
    every = {stage.key: stage for last in used for stage in last.lineage()}.values()
    kept = [stage for stage in every if stage.format is not None]
    seconds = sum(lab.cache.took(stage.name, stage.key) for stage in kept)
    rows = sum(stage.cost.rows * stage.cost.passes for stage in every if stage.cost)
    return Work(round(seconds, 3), round(rows / len(lab.rows), 3))


def score_found(
    job: Job,
    lab: Lab,
    decision: Decision,
    trigger: frozenset[int] | None,
    predictions: Predictions,
) -> dict[str, Any] | None:
    """How well suspects, words, rows and rejections hit what was planted; None of nothing found.

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
    poisoned = lab.data.train.poisoned
    found |= score_rows(decision.found_rows, poisoned)
    if decision.suspicion is not None:
        found["row_auroc"] = score_suspicion(decision.suspicion, poisoned)
    found |= score_rejections(predictions)
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
