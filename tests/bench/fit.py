"""A training that Keras runs: `model.fit`, with and without our callback."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from tests.bench.models import Model, Training
from tests.bench.variants import Run, Variant


class FitRun(Run):
    """A variant of a training by `model.fit`; a block is one `fit`."""

    def __init__(
        self,
        variant: Variant,
        model: Model,
        training: Training,
        logdir: str,
        stack: contextlib.ExitStack,
    ) -> None:
        images, labels = training.batch
        self._data = tf.data.Dataset.from_tensors((images, labels)).cache().repeat()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        training.model.compile(training.optimizer, loss, jit_compile=False)
        super().__init__(variant, model, training, logdir, stack)

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        # The callback writes below its directory.
        self._callbacks: list[Any] = []
        if self.variant.every:
            self._callbacks = [
                gs.KerasCallback(self._logdir, every=self.variant.every, on_error="raise")
            ]
        self._logdir = os.path.join(self._logdir, "train")

    def block(self, steps: int) -> float:
        """Trains so many steps; returns the seconds, without those of beginning."""
        clock = _Clock()
        self._training.model.fit(
            self._data, steps_per_epoch=steps, verbose=0, callbacks=[*self._callbacks, clock]
        )
        self.steps += steps
        return clock.seconds

    def _make_step(self, model: Model) -> Any:
        return None


class _Clock(keras.callbacks.Callback):
    """Comes last: begins when all others have begun, ends when they have ended."""

    seconds = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_train_end(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._start
