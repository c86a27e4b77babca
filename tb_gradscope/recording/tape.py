"""The instrumented, drop-in `tf.GradientTape`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.destination import current
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.gradients import observe_gradients
from tb_gradscope.recording.losses import TapeLosses
from tb_gradscope.recording.recorder import Recorder
from tb_gradscope.recording.why import observing, windows
from tb_gradscope.recording.why.windows import TapeLog


class GradientTape(tf.GradientTape):
    """`tf.GradientTape` that also records what every gradient was.

    Everything behaves as in TensorFlow: results, errors, what is on the tape.
    Recording goes to `recorder`; else to the innermost `gs.record`; else to the
    default writer of `tf.summary`; else nowhere.

    Args:
      persistent: as in TensorFlow.
      watch_accessed_variables: as in TensorFlow.
      recorder: what `gs.record` returned, to record there and nowhere else.

    Raises:
      TypeError: `recorder` is something else.
    """

    def __init__(
        self,
        persistent: bool = False,
        watch_accessed_variables: bool = True,
        *,
        recorder: Recorder | None = None,
    ) -> None:
        if recorder is not None and not isinstance(recorder, Recorder):
            raise TypeError(
                f"GradientTape(recorder={recorder!r}): expected what gs.record(...) returns, "
                f"found {type(recorder).__name__}."
            )
        super().__init__(persistent, watch_accessed_variables)
        self._gradscope_recorder = recorder
        self._gradscope_losses = TapeLosses()
        self._gradscope_quiet = False
        self._gradscope_log = TapeLog(self, watch_accessed_variables)

    def __enter__(self) -> GradientTape:
        """As in TensorFlow."""
        super().__enter__()
        observing.entered(self._gradscope_log)
        return self

    def __exit__(self, *error: Any) -> None:
        """As in TensorFlow."""
        self._gradscope_log.note(windows.CLOSE)
        super().__exit__(*error)

    @tf.autograph.experimental.do_not_convert
    def watch(self, tensor: Any) -> None:
        """As `tf.GradientTape.watch`."""
        super().watch(tensor)
        self._gradscope_log.watch(tensor)

    @tf.autograph.experimental.do_not_convert
    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """As `tf.GradientTape.stop_recording`."""
        with super().stop_recording():
            self._gradscope_log.note(windows.STOP)
            try:
                yield
            finally:
                self._gradscope_log.note(windows.OPEN)

    @tf.autograph.experimental.do_not_convert
    def reset(self) -> None:
        """As `tf.GradientTape.reset`."""
        super().reset()
        self._gradscope_log.note(windows.RESET)

    @tf.autograph.experimental.do_not_convert
    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = tf.UnconnectedGradients.NONE,
        *,
        loss_name: str | None = None,
    ) -> Any:
        """As `tf.GradientTape.gradient`, and recorded.

        Args:
          target: as in TensorFlow.
          sources: as in TensorFlow.
          output_gradients: as in TensorFlow.
          unconnected_gradients: as in TensorFlow; what is None is recorded as None.
          loss_name: what to call the loss. Otherwise it is called by the local
            variable bound to it where `gradient` is called, or by the expression.

        Raises:
          TypeError: `loss_name` is no string.
        """
        if loss_name is not None and not isinstance(loss_name, str):
            raise TypeError(
                f"gradient(loss_name={loss_name!r}): expected a string, "
                f"found {type(loss_name).__name__}."
            )
        recorder = None if self._gradscope_quiet else current(self._gradscope_recorder)
        if recorder is None:
            return super().gradient(target, sources, output_gradients, unconnected_gradients)
        fill = _is_zero(unconnected_gradients)
        gradients = super().gradient(
            target,
            sources,
            output_gradients,
            tf.UnconnectedGradients.NONE if fill else unconnected_gradients,
        )
        with contained("recording gradients", recorder.on_error), internals.stop_recording():
            observe_gradients(
                recorder,
                self._gradscope_losses,
                target,
                tf.nest.flatten(sources),
                tf.nest.flatten(gradients),
                self._gradscope_log,
                has_output_gradients=output_gradients is not None,
                loss_name=loss_name,
                is_given=self._gradscope_recorder is not None,
            )
        return _filled(gradients, target, sources) if fill else gradients

    @tf.autograph.experimental.do_not_convert
    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: Any = tf.UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """As `tf.GradientTape.jacobian`; not recorded."""
        with self._gradscope_silence():
            return super().jacobian(
                target,
                sources,
                unconnected_gradients,
                parallel_iterations,
                experimental_use_pfor,
            )

    @tf.autograph.experimental.do_not_convert
    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: Any = tf.UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """As `tf.GradientTape.batch_jacobian`; not recorded."""
        with self._gradscope_silence():
            return super().batch_jacobian(
                target,
                source,
                unconnected_gradients,
                parallel_iterations,
                experimental_use_pfor,
            )

    @contextlib.contextmanager
    def _gradscope_silence(self) -> Iterator[None]:
        # TensorFlow computes a jacobian by calling gradient() for each element.
        self._gradscope_quiet = True
        try:
            yield
        finally:
            self._gradscope_quiet = False


def _is_zero(unconnected_gradients: Any) -> bool:
    return bool(getattr(unconnected_gradients, "value", unconnected_gradients) == "zero")


def _filled(gradients: Any, target: Any, sources: Any) -> Any:
    """Puts TensorFlow's own zeros where a gradient is None."""
    flat = tf.nest.flatten(gradients)
    missing = [index for index, gradient in enumerate(flat) if gradient is None]
    if not missing:
        return gradients
    with tf.GradientTape() as nothing_on_it:
        pass
    flat_sources = tf.nest.flatten(sources)
    zeros = nothing_on_it.gradient(
        target,
        [flat_sources[index] for index in missing],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    for index, zero in zip(missing, zeros, strict=True):
        flat[index] = zero
    return tf.nest.pack_sequence_as(sources, flat)
