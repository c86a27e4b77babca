"""Lets Keras' own training step tell the losses apart that make up its total."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.optimizer.watched import watch_optimizer

_STEP = "train_step"


def install_fit(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Has Keras' own `train_step` watched, which `fit` and `train_on_batch` of most models run.

    One of a program's own has a tape of its own, with the losses that it names.

    Args:
      is_wanted: asked in each step, or where it is traced.

    Returns:
      What puts Keras' own method back.
    """
    model = getattr(sys.modules["keras"], "Model", object)
    cls = next((one for one in model.__mro__ if _STEP in vars(one)), None)
    if cls is None:
        return lambda: None
    from tb_gradscope.recording.keras.losses import seeing_losses

    original = vars(cls)[_STEP]

    @tf.autograph.experimental.do_not_convert
    @functools.wraps(original)
    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_wanted():
            return original(self, *args, **kwargs)
        with contained("watching an optimizer"):
            # Before its methods are looked into: who is there first is put back last.
            if getattr(self, "optimizer", None) is not None:
                watch_optimizer(self.optimizer)
        with seeing_losses(self):
            return original(self, *args, **kwargs)

    def remove() -> None:
        if vars(cls).get(_STEP) is train_step:
            setattr(cls, _STEP, original)

    setattr(cls, _STEP, train_step)
    return remove
