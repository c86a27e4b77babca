"""What `GradientTape.gradient` hands to the recorder."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import names, place, sources, statistics
from tb_gradscope.recording.observe import in_function, observe_eagerly, observe_in_graph, schema
from tb_gradscope.recording.origins import ORIGINS, Origin
from tb_gradscope.recording.recorder import Recorder
from tb_gradscope.recording.series import Description, Series

_MOST_CACHED = 10_000


class LossKeys:
    """Tells the losses of one tape apart that have the same name and call site.

    `for y in outputs: tape.gradient(y, ...)` calls every target `y`. Within a
    tape the n-th distinct target keeps number n, so that the next step's tape,
    which has new tensors, counts alike.
    """

    def __init__(self) -> None:
        self._targets: dict[Any, list[Any]] = {}

    def number(self, name: str, site: Any, target: Any, is_fresh: bool) -> tuple[int, bool]:
        """Returns the number of a target among those of its name and site, and if it is known.

        Args:
          name: its candidate name.
          site: its call site.
          target: what is differentiated.
          is_fresh: count it as a new one even if the target is known.
        """
        known = self._targets.setdefault((name, site), [])
        flat = tf.nest.flatten(target)
        if not is_fresh:
            for number, references in enumerate(known):
                if len(references) == len(flat) and all(
                    reference() is part for reference, part in zip(references, flat, strict=True)
                ):
                    return number, True
        known.append([_reference(part) for part in flat])
        return len(known) - 1, False


def observe_gradients(
    recorder: Recorder,
    keys: LossKeys,
    target: Any,
    found: list[Any],
    gradients: list[Any],
    *,
    has_output_gradients: bool,
    loss_name: str | None,
) -> None:
    """Records one call of `gradient`.

    Args:
      recorder: where to.
      keys: of the tape.
      target: the loss.
      found: flat sources.
      gradients: one for each source; None is data.
      has_output_gradients: the loss was weighted, so that it may come again otherwise.
      loss_name: given by the user, or None.
    """
    if not found:
        return
    graph = in_function()
    caller = place.find_caller()
    candidate = loss_name if loss_name is not None else _candidate(recorder, target, caller)
    # A name that the user gives is the loss's identity; another's is where it stands.
    site = None if loss_name is not None else caller.key
    number, is_repeat = keys.number(candidate, site, target, has_output_gradients)
    loss = (candidate, site, 0 if loss_name is not None else number)
    identity = tuple(id(source) if sources.is_variable(source) else None for source in found)
    key = (*loss, caller.line, identity)
    none = tuple(gradient is None for gradient in gradients)
    sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)
    cached = recorder.cache.get(key)
    if cached is None or not cached.is_for(found, sparse):
        cached = _Identified(recorder, loss, caller, found, sparse)
        if len(recorder.cache) >= _MOST_CACHED:
            recorder.cache.clear()
        recorder.cache[key] = cached
    ORIGINS.remember(gradients, cached.origins)
    payload = functools.partial(statistics.gradient_statistics, gradients, found)
    if graph:
        description = Description(cached.schema, none)
        observe_in_graph(
            recorder,
            description,
            lambda: tf.reshape(payload(), [-1]),
            is_repeat=is_repeat,
        )
        return
    series = cached.series(recorder)
    observe_eagerly(recorder, series, payload, none, is_repeat)


def _candidate(recorder: Recorder, target: Any, caller: place.Caller) -> str:
    # Looking at a frame's variables is slow, and the same call calls its loss the same.
    site = (caller.frame.f_code, caller.frame.f_lasti)
    if site not in recorder.cache:
        recorder.cache[site] = names.loss_candidate(target, caller)
    return str(recorder.cache[site])


class _Identified:
    """A loss and its variables as recognised at one call site."""

    def __init__(
        self,
        recorder: Recorder,
        key: tuple[Any, ...],
        caller: place.Caller,
        found: list[Any],
        sparse: bool,
    ) -> None:
        candidate, site, number = key
        argument = place.argument_of(caller, names.GRADIENT, 1)
        variables = recorder.names.of_variables(found, caller, argument)
        described = [
            sources.describe(source, name) for source, name in zip(found, variables, strict=True)
        ]
        self.schema = schema(
            messages.Schema.GRADIENT,
            recorder.names.of_loss(candidate, (site, number)),
            described,
            caller.message(),
            label=messages.Label(sparse=sparse, replicas=1),
        )
        self.origins = [Origin(tuple(variables), position) for position in range(len(variables))]
        self._sources = [
            _reference(source) if sources.is_variable(source) else None for source in found
        ]
        self._sparse = sparse
        self._series: Series | None = None

    def is_for(self, found: list[Any], sparse: bool) -> bool:
        """Tells whether these are the same variables still: an id may come again."""
        return sparse == self._sparse and all(
            reference is None or reference() is source
            for reference, source in zip(self._sources, found, strict=True)
        )

    def series(self, recorder: Recorder) -> Series:
        if self._series is None:
            self._series = recorder.series(Description(self.schema))
        return self._series


def _reference(part: Any) -> Any:
    try:
        return weakref.ref(part)
    except TypeError:
        return _nothing


def _nothing() -> None:
    """Stands for a reference to what cannot be referred to."""
