"""`KerasCallback`: recording what `model.fit` does, whatever the model's `train_step`."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from typing import Any

from tb_gradscope.diagnose.finding import Finding, Severity
from tb_gradscope.recording.failure import contained, say_once
from tb_gradscope.recording.store import cadence, live

try:
    import keras
except ImportError as error:
    raise ImportError(
        f"tb_gradscope.KerasCallback records model.fit and needs Keras 3, which cannot be "
        f"imported ({error}); install it with: pip install 'keras>=3.3'"
    ) from error

from tb_gradscope.recording.keras import internals as keras_internals
from tb_gradscope.recording.keras import step as keras_step
from tb_gradscope.recording.keras.fit import Fit
from tb_gradscope.recording.keras.recorder import FitRecorder, log_directory
from tb_gradscope.recording.tape import place

_LOGGER = logging.getLogger("tb_gradscope")


class KerasCallback(keras.callbacks.Callback):
    """Records gradients, clipping and optimizer updates of `model.fit`.

        model.fit(x, y, epochs=5, callbacks=[gs.KerasCallback("logs")])

    Every loss of the model has a row: the total as `loss`; where that is a sum,
    each of the losses of `compile` as Keras logs it, `add_loss` and
    `regularization`. In a `train_step` of your own, whatever you take gradients
    of is recorded by the name it has there.

    The step of a record is the number of the training batch, counted over all
    epochs from 0. It goes on where an earlier `fit` of the model, its optimizer
    or `initial_epoch` stands.

    Nothing of the model is changed, other than its train function while a batch
    is trained. A model already trained is traced once more.

    Args:
      log_dir: as for `keras.callbacks.TensorBoard`: records go into its folder
        `train`. None for that of a TensorBoard callback in the same `fit`, or
        else "logs".
      every: N to record every N-th batch in full, or "auto": densely at first and
        ever more sparsely, so that logs stay small.
      on_finding: called, on a thread of ours, with each new `Finding` of severity
        error or warning. The first errors are logged ("tb_gradscope") in any case.
      stop_on: "error" or "warning" ends `fit` after the batch in which such a
        finding is seen: half a second after the fault, or with the epoch, at the
        latest. The log says which one it was.
      on_error: "warn" to warn once and let training go on when recording fails;
        "raise" for tests.

    Raises:
      TypeError: `log_dir` is no path, or `on_finding` no function.
      ValueError: `every`, `stop_on` or `on_error` has a value not named above.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        every: int | str = 10,
        *,
        on_finding: Callable[[Finding], None] | None = None,
        stop_on: Severity | None = None,
        on_error: str = "warn",
    ) -> None:
        super().__init__()
        if log_dir is not None and not isinstance(log_dir, str | os.PathLike):
            raise TypeError(
                f"gs.KerasCallback(log_dir={log_dir!r}): expected the path of a log directory or "
                f"None, found {type(log_dir).__name__}."
            )
        self.log_dir = None if log_dir is None else os.fspath(log_dir)
        if self.log_dir == "":
            raise ValueError("gs.KerasCallback(log_dir=''): expected the path of a log directory.")
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error={on_error!r}: expected 'warn' or 'raise'.")
        cadence.parse_every(every)
        live.check_arguments(on_finding, stop_on)
        self.every = every
        self.on_finding = on_finding
        self.stop_on = stop_on
        self.on_error = on_error
        self._fit: Fit | None = None
        self._goes_on = self._may_stop = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins to record."""
        with contained("recording model.fit", self.on_error):
            self._begin(keras_internals.callbacks_of_fit())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Learns at which batch training begins."""
        if self._fit is not None and not self._goes_on:
            with contained("counting batches", self.on_error):
                self._goes_on = True
                # Keras 3.3 has no `params` before a training loop gives it some.
                steps = (getattr(self, "params", None) or {}).get("steps") or 0
                keras_step.batches_of(self.model).go_on_from(
                    max(epoch * steps, keras_internals.batches_trained(self.model))
                )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Lets this batch be recorded."""
        if self._fit is not None:
            with contained("recording a batch", self.on_error):
                self._fit.begin_batch()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends training if there is a finding to stop for."""
        if self._fit is not None and self._may_stop:
            with contained("stopping model.fit", self.on_error):
                self._stop_for_a_finding()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Does so if that is in the last batches."""
        if self._fit is not None and self._may_stop:
            with contained("stopping model.fit", self.on_error):
                self._fit.recorder.flush()
                self._stop_for_a_finding()

    def on_train_end(self, logs: Any = None) -> None:
        """Writes what is left."""
        if self._fit is not None:
            with contained("ending the recording", self.on_error):
                self._fit.end()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fit": None}

    def _stop_for_a_finding(self) -> None:
        finding = None if self._fit is None else self._fit.recorder.live.stopping
        if finding is not None and not self.model.stop_training:
            self.model.stop_training = True
            _LOGGER.warning(
                "gs.KerasCallback(stop_on=%r) stops model.fit: %s", self.stop_on, live.said(finding)
            )

    def _begin(self, callbacks: list[Any]) -> None:
        if self._fit is not None:
            self._fit.end()
        problem = self._problem(callbacks)
        if problem is not None:
            self._fit = None
            say_once(f"gs.KerasCallback records nothing: {problem} Training goes on.")
            return
        directory, tensorboard = log_directory(self.log_dir, callbacks)
        if self._fit is None or not self._fit.is_of(self.model):
            self._fit = Fit(self.model, self._recorder(directory))
        recorder = self._fit.recorder
        if recorder.logdir != directory:
            recorder = self._recorder(directory)
        self._goes_on = False
        self._may_stop = self.stop_on is not None and self._is_alone()
        self._fit.begin(
            recorder,
            tensorboard,
            place.find_caller().message(),
            any(isinstance(one, keras.callbacks.TensorBoard) for one in callbacks),
        )

    def _recorder(self, directory: str) -> FitRecorder:
        recorder = FitRecorder(
            directory,
            self.every,
            on_finding=self.on_finding,
            stop_on=self.stop_on,
            on_error=self.on_error,
        )
        # An exception in another callback ends fit without a word to this one.
        weakref.finalize(self, recorder.end)
        return recorder

    def _is_alone(self) -> bool:
        """Tells whether no other process trains the model in step with this one."""
        strategy = self.model.distribute_strategy
        replicas: int = strategy.num_replicas_in_sync
        if replicas == 1 or replicas == len(strategy.extended.worker_devices):
            return True
        say_once(
            f"gs.KerasCallback(stop_on={self.stop_on!r}) does not stop a training on several "
            "workers, which would not all stop at the same batch; use on_finding there."
        )
        return False

    def _problem(self, callbacks: list[Any]) -> str | None:
        """Returns why this model or `fit` cannot be recorded, None if it can."""
        if keras.backend.backend() != "tensorflow":
            return f"Keras runs on {keras.backend.backend()}, expected its TensorFlow backend."
        if not isinstance(self.model, keras.Model):
            kind = type(self.model)
            return f"the model is a {kind.__module__}.{kind.__qualname__}, expected one of Keras 3."
        first = next((one for one in callbacks if isinstance(one, KerasCallback)), self)
        if first is not self:
            return "another gs.KerasCallback of the same fit does already."
        return None
