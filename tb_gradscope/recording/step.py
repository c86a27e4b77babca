"""The program's own training step, where it tells TensorFlow one."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tb_gradscope.recording.failure import say_once

_LIVE = (tf.Variable, tf.Tensor)  # what a graph reads anew in every call


def is_users() -> bool:
    """Tells whether `user_step` has one to give."""
    step = tf.summary.experimental.get_step()
    return step is not None and (tf.executing_eagerly() or isinstance(step, _LIVE))


def user_step() -> Any | None:
    """Returns the default step of `tf.summary` as an int64 scalar, or None.

    In eager code a Python int, in a graph a tensor. A Python int would be frozen
    into a graph, so that every call had the same step: it counts as none there.
    """
    step = tf.summary.experimental.get_step()
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
    """Returns the default step of `tf.summary` as it is at this moment, while tracing too."""
    step = tf.summary.experimental.get_step()
    try:
        if isinstance(step, tf.Variable):
            with tf.init_scope():
                return int(step.numpy())
        return None if step is None else int(step)
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None
