"""A step that an optimizer is about to make: whether it is recorded, and who looks at it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.clipping.clips import tape_recorder
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.measure.gradients import are_large
from tb_gradscope.recording.optimizer import internals as keras
from tb_gradscope.recording.optimizer.series import Optimizer, Recognised, recognised
from tb_gradscope.recording.optimizer.step import Step
from tb_gradscope.recording.store.counted import count, in_function
from tb_gradscope.recording.store.destination import current
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.verdict import Verdicts
from tb_gradscope.recording.tape.origins import ORIGINS


def begin(watched: Hashable, outer: Any, name: str, grads: Any, variables: Any) -> Step | None:
    """Counts a step that is about to be made; returns None where nothing is recorded.

    Args:
      watched: stands for the optimizer.
      outer: what the program applies.
      name: of the optimizer, as far as it is free.
      grads: as given to `apply`.
      variables: as given to `apply`.
    """
    if variables is None:
        variables = keras.variables_of(outer)
    if not isinstance(grads, list | tuple) or not isinstance(variables, list | tuple):
        return None  # Keras says what is wrong, or reads what can be read but once
    pairs = [
        pair for pair in zip(grads, variables, strict=False) if not keras.is_overwritten(pair[1])
    ]
    gradients, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    recorder = current(tape_recorder(gradients))
    if recorder is None or all(gradient is None for gradient in gradients):
        return None
    with contained("recording an optimizer", recorder.on_error), internals.stop_recording():
        in_function()  # raises where nothing can be recorded
        optimizer = Optimizer.of(outer)
        one = recognised(recorder, watched, optimizer, name, gradients, found)
        return _counted(recorder, optimizer, one, gradients, found)
    return None


def _counted(
    recorder: Recorder,
    optimizer: Optimizer,
    one: Recognised,
    gradients: list[Any],
    variables: list[Any],
) -> Step | None:
    if not one.descriptions:
        return None
    taken = keras.applications(optimizer.inner)
    is_update: Any = True
    if optimizer.accumulation > 1:
        if taken is None:
            raise NotImplementedError("this Keras does not count micro-batches where it used to")
        is_update = tf.equal((taken + 1) % optimizer.accumulation, 0)
    # What is made of several gradients, or has a loss scale in it, is not what a tape gave.
    is_as_taken = optimizer.accumulation == 1 and not optimizer.may_skip
    verdicts = Verdicts(recorder, gradients if is_as_taken else [None] * len(gradients))
    were_looked_at = is_as_taken and _were_looked_at(recorder, gradients, verdicts)
    if one.is_reduced:
        # Where Keras clips first, or takes a scale out, what is reduced is something else again.
        is_same = one.clip is None and keras.loss_scale(optimizer.outer) is None
        were_looked_at = are_large(gradients) or (were_looked_at and is_same)
    descriptions = one.descriptions
    if one.update is not None and recorder.has_sentinel and not were_looked_at:
        descriptions[0] = descriptions[0].with_sentinel
    counted = count(
        recorder,
        descriptions[0],
        descriptions[0].none,
        condition=is_update,
        calls_to_one=optimizer.accumulation,
    )
    step = Step(
        optimizer, one, descriptions, gradients, variables, counted, taken, is_update, verdicts
    )
    # What accumulates gradients is made by the first step.
    if optimizer.accumulation == 1 or optimizer.inner.built:
        step.reach()
    return step


def _were_looked_at(recorder: Recorder, gradients: Sequence[Any], verdicts: Verdicts) -> bool:
    """Tells whether its sentinel has looked at all gradients; eager ones have a verdict if odd."""
    if not tf.executing_eagerly():
        return verdicts.were_looked_at
    origins = [ORIGINS.of(gradient) for gradient in gradients if gradient is not None]
    seen_by = [None if origin is None else origin.seen_by for origin in origins]
    return all(each is not None and each() is recorder for each in seen_by)
