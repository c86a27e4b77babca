"""What is recorded in one training step of a Keras model, and nowhere else."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals, step
from tb_gradscope.recording.distribution.replica import device_here, replica_here
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.keras.losses import seeing_losses
from tb_gradscope.recording.keras.optimizers import watching_optimizers
from tb_gradscope.recording.patch.everything import patched_here
from tb_gradscope.recording.store.destination import within
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape import place
from tb_gradscope.recording.why import observing

_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("gradscope_fit", default=False)


class Batches:
    """Counts the batches that a model was trained on, over all epochs and calls of `fit`.

    Attributes:
      variable: int64, the number of the batch to come, the first is 0.
    """

    def __init__(self) -> None:
        device = device_here()

        def create() -> Any:
            with tf.device(device):
                return tf.Variable(0, dtype=tf.int64, trainable=False, name="gradscope_batches")

        self.variable = HOST.call(create)

    def go_on_from(self, batches: int) -> None:
        """Counts on from `batches`, unless it has counted further."""
        HOST.call(lambda: self.variable.assign(max(int(self.variable.numpy()), batches)))

    def count(self, outputs: Any) -> None:
        """Counts one batch, eagerly or in the graph under construction: once for all replicas.

        Args:
          outputs: of the step. Up to Keras 3.6, a step that finds no data fails when
            all that does not need them was done.
        """
        if _is_last_replica():
            found = [one for one in tf.nest.flatten(outputs) if isinstance(one, tf.Tensor)]
            with tf.control_dependencies([one for one in found if tf.is_symbolic_tensor(one)]):
                self.variable.assign_add(1)


_counted: weakref.WeakKeyDictionary[Any, Batches] = weakref.WeakKeyDictionary()


def batches_of(model: Any) -> Batches:
    """Returns what counts the batches of a model, for as long as the model lives."""
    return _counted.get(model) or _counted.setdefault(model, Batches())


class Destination:
    """Where the steps of one `fit` are recorded.

    Attributes:
      recorder: where to.
      place: the `Place` message of the program's call of `fit`.
    """

    def __init__(self, recorder: Recorder, place: Any) -> None:
        self.recorder = recorder
        self.place = place
        self._is_observed = False

    def observe(self) -> None:
        """Lets eager steps be observed, to tell why gradients are missing."""
        if tf.executing_eagerly() and not self._is_observed:
            self._is_observed = True
            observing.begin()

    def end(self) -> None:
        """Ends what `observe` began."""
        if self._is_observed:
            self._is_observed = False
            observing.end()


def recording(
    train_step: Callable[..., Any], model: Any, destination: Callable[[], Destination | None]
) -> Callable[..., Any]:
    """Returns a model's `train_step` that records.

    It is all that is done to a model: outside of it, tapes, losses and
    optimizers are TensorFlow's and Keras' own.

    Args:
      train_step: of the model.
      model: held weakly.
      destination: asked in each step, or where it is traced; None to record nothing.
    """
    held = weakref.ref(model)
    batches = batches_of(model)

    @tf.autograph.experimental.do_not_convert
    @functools.wraps(train_step)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        here = destination()
        if here is None or not here.recorder.is_recording or _inside.get():
            return train_step(*args, **kwargs)
        with contained("observing a step", here.recorder.on_error):
            here.observe()
        with _recorded(held(), here):
            outputs = train_step(*args, **kwargs)
        with contained("counting a batch", here.recorder.on_error), internals.stop_recording():
            batches.count(outputs)
        return outputs

    made: Callable[..., Any] = recorded
    return made


@contextlib.contextmanager
def records_into(destination: Destination, model: Any) -> Iterator[None]:
    """Records there what is recorded in here, at the model's own step."""
    with (
        within(destination.recorder),
        step.counted_by(batches_of(model).variable),
        place.called_from(destination.place),
    ):
        yield


@contextlib.contextmanager
def _recorded(model: Any, destination: Destination) -> Iterator[None]:
    token = _inside.set(True)
    try:
        # Replicas run in threads of their own.
        with (
            records_into(destination, model),
            patched_here(),
            watching_optimizers(model),
            seeing_losses(model),
        ):
            yield
    finally:
        _inside.reset(token)


def _is_last_replica() -> bool:
    """Tells whether all other replicas of this process have recorded their batch."""
    replica = replica_here()
    if replica is None:
        return True
    local = len(tf.distribute.get_strategy().extended.worker_devices)
    return replica.index % local == local - 1
