"""TensorFlow's clip functions, recorded: what went in, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import internals
from tb_gradscope.recording.clipping.clips import ClipCall, observe_clip, tape_recorder
from tb_gradscope.recording.failure import contained, say_once
from tb_gradscope.recording.store.destination import current


@tf.autograph.experimental.do_not_convert
def clip_by_global_norm(
    t_list: Any,
    clip_norm: Any,
    use_norm: Any = None,
    name: str | None = None,
    *,
    variables: Any = None,
) -> Any:
    """As `tf.clip_by_global_norm`, and recorded.

    Args:
      t_list: as in TensorFlow.
      clip_norm: as in TensorFlow.
      use_norm: as in TensorFlow.
      name: as in TensorFlow; also what to call this clip site.
      variables: what the gradients are of, for their names. Gradients that come
        straight from a tape are known without.
    """
    clipped, norm = tf.clip_by_global_norm(t_list, clip_norm, use_norm, name)
    method = messages.Clip.GLOBAL_NORM
    _observe(ClipCall(method, list(t_list), clipped, clip_norm, norm, name, variables))
    return clipped, norm


@tf.autograph.experimental.do_not_convert
def clip_by_norm(
    t: Any, clip_norm: Any, axes: Any = None, name: str | None = None, *, variables: Any = None
) -> Any:
    """As `tf.clip_by_norm`, and recorded.

    Args:
      t: as in TensorFlow.
      clip_norm: as in TensorFlow.
      axes: as in TensorFlow.
      name: as in TensorFlow; also what to call this clip site.
      variables: the variable that `t` is the gradient of, for its name.
    """
    clipped = tf.clip_by_norm(t, clip_norm, axes, name)
    method = messages.Clip.NORM if axes is None else messages.Clip.CUSTOM
    _observe(ClipCall(method, [t], [clipped], clip_norm, None, name, variables))
    return clipped


@tf.autograph.experimental.do_not_convert
def clip_by_value(
    t: Any,
    clip_value_min: Any,
    clip_value_max: Any,
    name: str | None = None,
    *,
    variables: Any = None,
) -> Any:
    """As `tf.clip_by_value`, and recorded.

    Args:
      t: as in TensorFlow.
      clip_value_min: as in TensorFlow.
      clip_value_max: as in TensorFlow; recorded as the threshold.
      name: as in TensorFlow; also what to call this clip site.
      variables: the variable that `t` is the gradient of, for its name.
    """
    clipped = tf.clip_by_value(t, clip_value_min, clip_value_max, name)
    _observe(ClipCall(messages.Clip.VALUE, [t], [clipped], clip_value_max, None, name, variables))
    return clipped


@tf.autograph.experimental.do_not_convert
def record_clipping(
    before: Any,
    after: Any,
    variables: Any = None,
    *,
    name: str,
    threshold: Any = None,
) -> None:
    """Records what a clipper of your own did.

    Args:
      before: gradients as they went in: a tensor, or a list that may hold None.
      after: gradients as they came out, in the same order.
      variables: what they are gradients of, for their names.
      name: what to call this clip site.
      threshold: what the clipper compares with, if there is one such number.

    Raises:
      TypeError: `name` is no string, or `threshold` no number.
    """
    if not isinstance(name, str):
        raise TypeError(f"record_clipping(name={name!r}): expected a string.")
    if isinstance(threshold, str | bytes | list | tuple | dict | set):
        raise TypeError(
            f"record_clipping(threshold={threshold!r}): expected a number or None, "
            f"found {type(threshold).__name__}."
        )
    went_in, came_out = _as_list(before), _as_list(after)
    if len(went_in) != len(came_out):
        say_once(
            f"tb_gradscope: record_clipping got {len(went_in)} gradients before and "
            f"{len(came_out)} after; expected the same list, clipped. It is not recorded."
        )
        return
    method = messages.Clip.CUSTOM
    _observe(ClipCall(method, went_in, came_out, threshold, None, name, variables))


def _as_list(gradients: Any) -> list[Any]:
    is_list = isinstance(gradients, Sequence) and not isinstance(gradients, tf.IndexedSlices)
    return list(gradients) if is_list else [gradients]


def _observe(call: ClipCall) -> None:
    recorder = current(tape_recorder(call.before))
    if recorder is None:
        return
    with contained("recording clipping", recorder.on_error), internals.stop_recording():
        observe_clip(recorder, call)
