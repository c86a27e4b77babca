"""One model in `fit`: the train function that records, in the place of Keras' own."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import keras_step
from tb_gradscope.recording.keras_recorder import FitRecorder

_NAME = "train_function"


class Fit:
    """Makes a model record while `fit` trains it.

    The model holds a train function of ours from the beginning of a batch until
    that is called, and Keras' own at all other times: for other callbacks, for
    saving, and after an exception.
    """

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self._plain: Any = None
        self._made: Any = None
        self._step: Any = None
        self._armed: Any = None
        self.recorder: FitRecorder | None = None

    def is_of(self, model: Any) -> bool:
        """Tells whether this is the model."""
        return self._model() is model

    def begin_batch(self) -> None:
        """Puts our train function into the model, for one call."""
        model = self._model()
        if model is None or self.recorder is None or not self.recorder.is_recording:
            return
        self.restore()
        if model.train_function is None:
            model.make_train_function()
        if model.train_function is not self._plain:
            self._plain = model.train_function
            self._made = self._make(model)
        self._armed = self._once(model)
        vars(model)[_NAME] = self._armed

    def restore(self) -> None:
        """Puts Keras' own train function back."""
        model = self._model()
        if model is not None and self._armed is not None:
            if vars(model).get(_NAME) is self._armed:
                vars(model)[_NAME] = self._plain
            self._armed = None

    def end(self) -> None:
        """Puts everything back, and writes what is left."""
        self.restore()
        if self.recorder is not None:
            self.recorder.end()

    def _make(self, model: Any) -> Any:
        """Returns a train function as Keras makes it, of a step that records."""
        self._step = keras_step.recording(model.train_step, model, lambda: self.recorder)
        with self._recording_step(model):
            model.train_function = None
            try:
                model.make_train_function()
                return model.train_function
            finally:
                model.train_function = self._plain

    def _once(self, model: Any) -> Callable[..., Any]:
        def train_function(*args: Any, **kwargs: Any) -> Any:
            self.restore()
            try:
                with self._recording_step(model), self._recording_here(model):
                    return self._made(*args, **kwargs)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise  # the end of the data
            except BaseException:
                self.end()
                raise

        return train_function

    def _recording_here(self, model: Any) -> AbstractContextManager[None]:
        """Lets record what runs outside of the step: an optimizer that serves several replicas."""
        if self.recorder is None:
            return contextlib.nullcontext()
        return keras_step.records_into(self.recorder, model)

    @contextlib.contextmanager
    def _recording_step(self, model: Any) -> Iterator[None]:
        """Gives the model a step that records: Keras takes it now, or when it traces."""
        before = vars(model).get("train_step")
        vars(model)["train_step"] = self._step
        try:
            yield
        finally:
            if before is None:
                vars(model).pop("train_step", None)
            else:
                vars(model)["train_step"] = before
