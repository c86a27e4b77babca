"""One model in `fit`: the train function that records, in the place of Keras' own."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.failure import say_once
from tb_gradscope.recording.keras import step as keras_step
from tb_gradscope.recording.keras.recorder import FitRecorder
from tb_gradscope.recording.keras.step import Destination

_FUNCTION, _STEP = "train_function", "train_step"


class Fit:
    """Makes a model record while `fit` trains it.

    The model holds a train function of ours from the beginning of a batch until
    that is called, and Keras' own at all other times: for other callbacks (but see
    `_show`), for saving, and after an exception.

    Attributes:
      recorder: where to, as long as that stays the same directory.
    """

    def __init__(self, model: Any, recorder: FitRecorder) -> None:
        self._model = weakref.ref(model)
        self.recorder = recorder
        self._destination: Destination | None = None
        self._plain: Any = None
        self._made: Any = None
        self._step: Any = None
        self._armed: Any = None
        self._is_looked_at = False
        self._has_trained = False

    def is_of(self, model: Any) -> bool:
        """Tells whether this is the model."""
        return self._model() is model

    def begin(
        self, recorder: FitRecorder, tensorboard: Any | None, place: Any, is_looked_at: bool
    ) -> None:
        """Begins to record.

        Args:
          recorder: where to.
          tensorboard: the TensorBoard callback to write through, if there is one.
          place: `Place` message of the program's call of `fit`.
          is_looked_at: whether there is any TensorBoard callback.
        """
        self._is_looked_at = is_looked_at
        self.recorder = recorder
        self._destination = Destination(recorder, place)
        recorder.begin(tensorboard)

    def begin_batch(self) -> None:
        """Puts our train function into the model, for one call."""
        model = self._model()
        if model is None or not self.recorder.is_recording:
            return
        self._restore()
        if model.train_function is None:
            model.make_train_function()
        if model.train_function is not self._plain:
            self._plain = model.train_function
            self._made = self._make(model)
        self._armed = self._once(model)
        vars(model)[_FUNCTION] = self._armed

    def end(self) -> None:
        """Puts everything back, and writes what is left."""
        self._restore()
        if self._destination is not None:
            self._destination.end()
        was_recording = self.recorder.is_recording
        self.recorder.end()
        if was_recording and self._has_trained and not self.recorder.has_recorded:
            say_once(
                "gs.KerasCallback recorded nothing: the model's train_step takes no gradient of a "
                "tf.GradientTape, or is a tf.function that was traced before."
            )

    def _restore(self) -> None:
        model = self._model()
        if model is not None and vars(model).get(_FUNCTION) is self._armed is not None:
            vars(model)[_FUNCTION] = self._plain
        self._armed = None

    def _make(self, model: Any) -> Any:
        """Returns a train function as Keras makes it, of a step that records."""
        self._step = keras_step.recording(model.train_step, model, lambda: self._destination)
        with self._recording_step(model):
            model.train_function = None
            try:
                model.make_train_function()
                return model.train_function
            finally:
                model.train_function = self._plain

    def _once(self, model: Any) -> Callable[..., Any]:
        """Returns the function that stands in for Keras' in one call."""

        def train_function(*args: Any, **kwargs: Any) -> Any:
            self._restore()
            try:
                with self._recording_step(model), self._recording_outside(model):
                    logs = self._made(*args, **kwargs)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise  # the end of the data
            except BaseException:
                self.end()
                raise
            self._has_trained = True
            self._show(model)
            return logs

        return train_function

    def _show(self, model: Any) -> None:
        """Lets a TensorBoard callback look at the graph of the first batch, up to Keras 3.6.

        It expects that the train function is a `tf.function`, and was called.
        """
        if self._is_looked_at and hasattr(self._plain, "function_spec"):
            self._is_looked_at = False
            self._armed = vars(model)[_FUNCTION] = self._made

    @contextlib.contextmanager
    def _recording_step(self, model: Any) -> Iterator[None]:
        """Gives the model the step that records: Keras takes it now, or when it traces."""
        before = vars(model).get(_STEP)
        vars(model)[_STEP] = self._step
        try:
            yield
        finally:
            if before is None:
                del vars(model)[_STEP]
            else:
                vars(model)[_STEP] = before

    @contextlib.contextmanager
    def _recording_outside(self, model: Any) -> Iterator[None]:
        """Lets record what runs outside of the step: an optimizer that serves several replicas."""
        if self._destination is None:
            yield
        else:
            with keras_step.records_into(self._destination, model):
                yield
