"""The instrumented, drop-in `tf.GradientTape`."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.distribution.reductions import watch_reductions
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.parts.mirror import Mirror
from tb_gradscope.recording.parts.parts_of_sum import GivenParts, Sum, sum_of
from tb_gradscope.recording.store.destination import current, current_if_any
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape.foresight import learn, needs_second_tape, place_of_tape
from tb_gradscope.recording.tape.gradients import observe_gradients
from tb_gradscope.recording.tape.losses import TapeLosses
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
        if tf.distribute.has_strategy():
            watch_reductions()
        self._gradscope_recorder = recorder
        self._gradscope_losses = TapeLosses()
        self._gradscope_quiet = False
        self._gradscope_log = TapeLog(self, watch_accessed_variables)
        self._gradscope_parts = GivenParts(persistent)
        self._gradscope_mirror = Mirror(self, persistent, watch_accessed_variables)
        self._gradscope_place: Hashable = None

    def __enter__(self) -> GradientTape:
        """As in TensorFlow."""
        super().__enter__()
        observing.entered(self._gradscope_log)
        with _mirroring():
            self._gradscope_place = place_of_tape()
            self._gradscope_mirror.begin(self._gradscope_needs_second_tape)
        return self

    def __exit__(self, *error: Any) -> None:
        """As in TensorFlow."""
        self._gradscope_log.note(windows.CLOSE)
        with _mirroring():
            self._gradscope_mirror.pause()
        super().__exit__(*error)

    @tf.autograph.experimental.do_not_convert
    def watch(self, tensor: Any) -> None:
        """As `tf.GradientTape.watch`."""
        super().watch(tensor)
        self._gradscope_log.watch(tensor)
        with _mirroring():
            self._gradscope_mirror.watch(tensor)

    @tf.autograph.experimental.do_not_convert
    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """As `tf.GradientTape.stop_recording`."""
        with super().stop_recording():
            self._gradscope_log.note(windows.STOP)
            with _mirroring():
                self._gradscope_mirror.pause()
            try:
                yield
            finally:
                self._gradscope_log.note(windows.OPEN)
                with _mirroring():
                    self._gradscope_mirror.begin()

    @tf.autograph.experimental.do_not_convert
    def reset(self) -> None:
        """As `tf.GradientTape.reset`."""
        super().reset()
        self._gradscope_log.note(windows.RESET)
        with _mirroring():
            self._gradscope_mirror.reset()

    @tf.autograph.experimental.do_not_convert
    def losses(self, **parts: Any) -> None:
        """Names the parts of the total that is differentiated next, to record each of them.

            with gs.GradientTape() as tape:
                recon, kl = losses(model(x), y)
                total = recon + 0.1 * kl
            tape.losses(recon=recon, kl=kl)
            gradients = tape.gradient(total, variables)

        records the rows `total`, `recon` and `kl`, and the cosine between `recon`
        and `kl` on each variable. The parts need not sum to the total. What
        `gradient` returns is TensorFlow's gradient of the total, to the last bit.

        For each part one more backward pass is made, in the steps that are recorded
        and in no others. Then a `tf.custom_gradient` with side effects has them once
        more for each part. In a `tf.function` a backward pass that does more than
        compute, such as one through `tf.py_function`, is not made for parts.

        Args:
          **parts: tensors, or nested structures of them, whose sum is the part. A
            number has no gradient, and is recorded as such; one other than zero is
            warned of.

        Raises:
          TypeError: there is no part, or one is nothing of these.
        """
        self._gradscope_parts.add(parts)

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
          target: as in TensorFlow. The values of a dict, whose sum is differentiated,
            are recorded as parts too, see `losses`; written where it is passed, the
            sum is called "total".
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
        parts = self._gradscope_prepare(recorder, target, output_gradients)
        if recorder is None:
            return super().gradient(target, sources, output_gradients, unconnected_gradients)
        fill = _is_zero(unconnected_gradients)
        recorder.was_asked = True
        gradients = super().gradient(
            target,
            sources,
            output_gradients,
            tf.UnconnectedGradients.NONE if fill else unconnected_gradients,
        )
        with (
            contained("recording gradients", recorder.on_error),
            internals.stop_recording(),
            observing.ours(),
        ):
            description = observe_gradients(
                recorder,
                self._gradscope_losses,
                target,
                tf.nest.flatten(sources),
                tf.nest.flatten(gradients),
                self._gradscope_log,
                has_output_gradients=output_gradients is not None,
                loss_name=loss_name,
                is_given=self._gradscope_recorder is not None,
                parts=parts,
            )
            of_sum = description.counter if description and parts else None
            learn(recorder, self._gradscope_place, of_sum)
            self._gradscope_mirror.drop()
            self._gradscope_parts.done()
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

    def _gradscope_needs_second_tape(self) -> bool:
        recorder = current_if_any(self._gradscope_recorder)
        return recorder is not None and needs_second_tape(recorder, self._gradscope_place)

    def _gradscope_prepare(
        self, recorder: Recorder | None, target: Any, output_gradients: Any
    ) -> Sum | None:
        """Returns the parts of what is about to be differentiated."""
        parts = None
        with contained("finding the parts of a sum", recorder.on_error if recorder else "warn"):
            self._gradscope_mirror.is_asked()
            if recorder is not None:
                given, mirror = self._gradscope_parts, self._gradscope_mirror
                parts = sum_of(given, mirror, target, output_gradients)
            if parts is None:  # before the backward pass, which needs the memory
                self._gradscope_mirror.drop()
        return parts

    @contextlib.contextmanager
    def _gradscope_silence(self) -> Iterator[None]:
        # TensorFlow computes a jacobian by calling gradient() for each element.
        self._gradscope_quiet = True
        try:
            yield
        finally:
            self._gradscope_quiet = False


def _mirroring() -> AbstractContextManager[None]:
    return contained("mirroring a tape")


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
