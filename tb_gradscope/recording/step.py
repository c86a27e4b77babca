"""The program's own training step, where it or Keras counts one."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.failure import say_once

_LIVE = (tf.Variable, tf.Tensor)  # what a graph reads anew in every call

_counted: contextvars.ContextVar[Any] = contextvars.ContextVar("gradscope_step", default=None)


@contextlib.contextmanager
def counted_by(variable: Any) -> Iterator[None]:
    """Takes the step from an int64 variable in what is called from here.

    It stands before the step of `tf.summary`, which stays what it is.
    """
    token = _counted.set(variable)
    try:
        yield
    finally:
        _counted.reset(token)


def _found() -> Any | None:
    counted = _counted.get()
    return tf.summary.experimental.get_step() if counted is None else counted


def is_users() -> bool:
    """Tells whether `user_step` has one to give."""
    step = _found()
    return step is not None and (tf.executing_eagerly() or isinstance(step, _LIVE))


def user_step() -> Any | None:
    """Returns the step as an int64 scalar, or None.

    In eager code a Python int, in a graph a tensor. A Python int would be frozen
    into a graph, so that every call had the same step: it counts as none there.
    """
    step = _found()
    if step is None:
        return None
    if tf.executing_eagerly():
        return int(step.numpy()) if hasattr(step, "numpy") else int(step)
    if isinstance(step, _LIVE):
        return tf.cast(step.read_value() if isinstance(step, tf.Variable) else step, tf.int64)
    say_once(
        f"tb_gradscope: the step of tf.summary is the Python number {step!r}, which a tf.function "
        "freezes when it is traced. Calls are counted instead; for your own steps pass a "
        "tf.Variable to tf.summary.experimental.set_step."
    )
    return None


def user_step_now() -> int | None:
    """Returns the step as it is at this moment, while tracing too."""
    step = _found()
    try:
        if isinstance(step, tf.Variable):
            with tf.init_scope():
                return int(step.numpy())
        return None if step is None else int(step)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None
