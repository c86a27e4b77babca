"""The same training step, recorded in one way or another."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.host import HOST
from tests.bench.models import Model, Training

NEVER = 10**9
PLAIN = "plain"
AGAIN = "again"
SCALARS = "scalars"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
      key: in the JSON.
      title: in the table.
      every: steps to one record; None if it writes nothing.
      ours: recorded by us, with a recorder or (`every` None) without.
      sentinel: looks at the steps that are not due.
      write: writes summaries of (variables, gradients), by hand.
      share: of the others' steps, for what is so slow that fewer will do.
      watches_optimizer: what the optimizer does is recorded as well.
    """

    key: str
    title: str
    every: int | None = None
    ours: bool = False
    sentinel: bool = True
    write: Callable[[Sequence[Any], Sequence[Any]], None] | None = None
    share: float = 1.0
    watches_optimizer: bool = False


def _values(gradient: Any) -> Any:
    # tf.norm of an IndexedSlices would make it dense, which would flatter us.
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _write_norms(variables: Sequence[Any], gradients: Sequence[Any]) -> None:
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            tf.summary.scalar(f"{_name(variable)}/norm", tf.norm(_values(gradient)))


def _write_histograms(variables: Sequence[Any], gradients: Sequence[Any]) -> None:
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            tf.summary.histogram(_name(variable), _values(gradient))


def _name(variable: Any) -> str:
    # Keras calls most of them "kernel" and "bias".
    return str(getattr(variable, "path", variable.name))


VARIANTS = (
    Variant(PLAIN, "plain tf.GradientTape"),
    Variant(AGAIN, "the same again (noise)"),
    Variant("off", "ours, nothing recording", ours=True),
    Variant(
        "optimizer_off",
        "ours, watch_optimizer, nothing recording",
        ours=True,
        watches_optimizer=True,
    ),
    Variant("never", "ours, never due, no sentinel", NEVER, ours=True, sentinel=False),
    Variant("sentinel", "ours, never due: the sentinel alone", NEVER, ours=True),
    Variant("every100", "ours, every=100", 100, ours=True),
    Variant("every10", "ours, every=10", 10, ours=True),
    Variant("every1", "ours, every=1", 1, ours=True),
    Variant(SCALARS, "scalar(norm) per variable", 1, write=_write_norms),
    Variant("histograms", "histogram per variable", 1, write=_write_histograms, share=0.2),
    Variant(
        "optimizer_sentinel",
        "ours, watch_optimizer, the sentinel alone",
        NEVER,
        ours=True,
        watches_optimizer=True,
    ),
    Variant("optimizer10", "ours, watch_optimizer, every=10", 10, True, watches_optimizer=True),
    Variant("optimizer1", "ours, watch_optimizer, every=1", 1, True, watches_optimizer=True),
    Variant("callback_sentinel", "KerasCallback, the sentinel alone", NEVER, ours=True),
    Variant("callback10", "KerasCallback(every=10)", 10, ours=True),
    Variant("callback1", "KerasCallback(every=1)", 1, ours=True),
)


class Run:
    """A variant of a training, ready to be measured.

    Attributes:
      variant: which one.
      steps: done so far.
    """

    def __init__(
        self,
        variant: Variant,
        model: Model,
        training: Training,
        logdir: str,
        stack: contextlib.ExitStack,
        records_first: bool = True,
    ) -> None:
        """Prepares it, and runs the first step.

        Args:
          variant: which one.
          model: what is trained.
          training: freshly made.
          logdir: where to write.
          stack: ends what is begun here.
          records_first: False for not even the first step to be due.
        """
        self.variant = variant
        self.steps = 0
        self._training = training
        self._logdir = os.path.join(logdir, variant.key)
        self._recorder: Any = None
        self._writer: Any = None
        self._prepare(stack)
        if self._recorder and not records_first:
            self._recorder._every = cadence.OFF
        self._step = self._make_step(model)
        self.block(1)
        if self._recorder:
            HOST.remove(self._recorder)

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        variant = self.variant
        if variant.ours and variant.every:
            self._recorder = gs.record(
                self._logdir, variant.every, sentinel=variant.sentinel, on_error="raise"
            )
            # Given to its own tapes, and not entered: an eager tape of another variant finds it.
            self._recorder.open()
            stack.callback(self._recorder.close)
            stack.callback(HOST.add, self._recorder)
        elif variant.write:
            self._writer = tf.summary.create_file_writer(self._logdir)
            stack.callback(self._writer.close)
        if variant.watches_optimizer:
            gs.watch_optimizer(self._training.optimizer)

    def block(self, steps: int) -> float:
        """Trains so many steps, until all they recorded is on disk; returns the seconds."""
        batch, loss = self._training.batch, None
        # The thread that writes is one for all: only the variant in its turn may use it.
        if self._recorder:
            HOST.add(self._recorder)
        start = time.perf_counter()
        for _ in range(steps):
            loss = self._step(*batch)
        if loss is not None:
            loss.numpy()
        self._flush()
        seconds = time.perf_counter() - start
        if self._recorder:
            HOST.remove(self._recorder)
        self.steps += steps
        return seconds

    @property
    def records(self) -> int:
        """Steps recorded so far: the first, and every N-th from there."""
        every = self.variant.every
        return -(-self.steps // every) if every else 0

    @property
    def bytes_written(self) -> int:
        """Size of the event files."""
        if not os.path.isdir(self._logdir):
            return 0
        return sum(entry.stat().st_size for entry in os.scandir(self._logdir))

    def gradients(self) -> list[Any]:
        """Returns the values of one step's gradients."""
        training = self._training

        def gradients_of(*batch: Any) -> list[Any]:
            with tf.GradientTape(persistent=True) as tape:
                losses = training.loss(*batch)
            found = [tape.gradient(loss, training.variables) for loss in as_list(losses)]
            return [_values(each) for each in tf.nest.flatten(found) if each is not None]

        found: list[Any] = tf.function(gradients_of)(*training.batch)
        return found

    def _flush(self) -> None:
        if self._recorder:
            self._recorder.flush()
        if self._writer:
            self._writer.flush()

    def _make_step(self, model: Model) -> Callable[..., Any]:
        training, variant, recorder = self._training, self.variant, self._recorder
        optimizer, writer, several = training.optimizer, self._writer, model.losses > 1

        def step(*batch: Any) -> Any:
            if variant.ours:
                tape = gs.GradientTape(several, recorder=recorder)
            else:
                tape = tf.GradientTape(several)
            with tape:
                losses = training.loss(*batch)
            found = [tape.gradient(loss, training.variables) for loss in as_list(losses)]
            gradients = [_sum(each) for each in zip(*found, strict=True)] if several else found[0]
            if variant.write:
                tf.summary.experimental.set_step(tf.cast(optimizer.iterations.value, tf.int64))
                with writer.as_default():
                    for each in found:
                        variant.write(training.variables, each)
                tf.summary.experimental.set_step(None)
            optimizer.apply(gradients, training.variables)
            return tf.nest.flatten(losses)[0]

        if model.way == "eager":
            return step
        made: Callable[..., Any] = tf.function(step, jit_compile=model.way == "xla" or None)
        return made


def as_list(losses: Any) -> list[Any]:
    """Returns what is differentiated alone: one loss, several, or a sum of parts."""
    return losses if isinstance(losses, list) else [losses]


def _sum(gradients: Sequence[Any]) -> Any:
    return tf.add_n([gradient for gradient in gradients if gradient is not None])
