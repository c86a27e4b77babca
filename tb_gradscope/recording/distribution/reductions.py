"""Gradients reduced over replicas: recorded where the program, or Keras, reduces them.

Nothing tells from a tensor that it is a sum over replicas. TensorFlow's own
functions that reduce are therefore watched, from the first tape on that is made under
a strategy: what they return of gradients of replicas is known to be their sum or mean.
What the program changes before it reduces it, or reduces by other means, is not
recognised.
"""

from __future__ import annotations

import collections
import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import internals
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.measure.loss_value import with_loss
from tb_gradscope.recording.store import labels
from tb_gradscope.recording.store.counted import in_function
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.destination import current
from tb_gradscope.recording.store.observe import observe, schema
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.verdict import remember
from tb_gradscope.recording.tape import place
from tb_gradscope.recording.tape.origins import ORIGINS, Origin, Taken

_lock = threading.Lock()
_is_watching = False
# all_reduce is made of batch_reduce_to, which another thread calls.
_inside: collections.Counter[int] = collections.Counter()


class _Here(threading.local):
    """What this thread did: each call of a replica function has one of its own."""

    def __init__(self) -> None:
        self.has_reduced = False


_here = _Here()


def watch_reductions() -> None:
    """Has reduced gradients recorded from now on; before a method is looked up to be called."""
    global _is_watching
    with _lock:
        if _is_watching:
            return
        _is_watching = True
    _wrap(tf.distribute.ReplicaContext, "all_reduce", _of_all_reduce)
    _wrap(tf.distribute.Strategy, "reduce", _of_reduce)
    _wrap(tf.distribute.StrategyExtended, "reduce_to", _of_reduce_to)
    _wrap(tf.distribute.StrategyExtended, "batch_reduce_to", _of_batch_reduce_to)


def has_reduced_here() -> bool:
    """Tells whether this call of a replica function has all-reduced anything.

    A further backward pass through that would reduce once more; if not all replicas
    make it, they no longer meet.
    """
    return _here.has_reduced


def observe_reduced(op: Any, before: Sequence[Any], copies: Sequence[Sequence[Any]]) -> None:
    """Records gradients that were reduced.

    Args:
      op: a `tf.distribute.ReduceOp`, or its name.
      before: what was reduced, as it was in one replica.
      copies: the results in the same order, once for each replica that has them.
    """
    groups: dict[tuple[int, str], list[tuple[int, Origin, Taken]]] = {}
    for position, tensor in enumerate(before):
        origin = ORIGINS.of(tensor)
        taken = None if origin is None else origin.taken
        if origin is not None and taken is not None and _is_local(taken.schema.label):
            group = groups.setdefault((id(taken.schema), origin.site), [])
            group.append((position, origin, taken))
    for group in groups.values():
        positions, origins, takens = zip(*group, strict=True)
        _observe(
            str(getattr(op, "value", op)).upper(),
            origins,
            takens,
            [[copy[position] for position in positions] for copy in copies],
        )


def _is_local(label: Any) -> bool:
    # The loss scale of a scaled gradient is not known here.
    is_scaled = label.stage != messages.Label.RAW
    return bool(label.reduction == messages.Label.LOCAL and not is_scaled)


def _observe(
    op: str, origins: Sequence[Origin], takens: Sequence[Taken], copies: list[list[Any]]
) -> None:
    given = origins[0].recorder
    recorder = current(None if given is None else given())
    if recorder is None:
        return
    with contained("recording reduced gradients", recorder.on_error), internals.stop_recording():
        in_function()  # raises where nothing can be recorded
        sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in copies[0])
        key = ("reduced", op, sparse, origins)
        one = recorder.seen.get(key)
        if one is None:
            one = _Reduced(recorder, op, origins, takens, sparse)
            recorder.remember(key, one)
        for copy in copies:
            ORIGINS.remember(copy, one.origins)
        if labels.is_elsewhere(one.description.schema.label):
            return
        found, gradients = [taken.source() for taken in takens], copies[0]
        sources = [g if s is None else s for s, g in zip(found, gradients, strict=True)]
        measured = Gradients(gradients, sources)
        call = observe(
            recorder,
            [one.description],
            lambda: [with_loss(tf.reshape(measured.statistics(), [-1]), None, None)],
            (False,) * len(gradients),
            gradients=measured,
        )
        remember(gradients, call.verdict)


class _Reduced:
    """Gradients that are reduced together, as recognised at one call site."""

    def __init__(
        self,
        recorder: Recorder,
        op: str,
        origins: Sequence[Origin],
        takens: Sequence[Taken],
        sparse: bool,
    ) -> None:
        local = takens[0].schema
        label = messages.Label()
        label.CopyFrom(local.label)
        label.replica = labels.REDUCED
        label.reduction = messages.Label.Reduction.Value(op)
        label.sparse = sparse
        label.clipped = origins[0].site
        reduced = schema(
            local.kind,
            local.name,
            [taken.schema.variables[taken.row] for taken in takens],
            place.find_caller().message(),
            label=label,
        )
        self.description = Description(reduced)
        self.origins = [
            Origin(
                tuple(variable.name for variable in reduced.variables),
                position,
                origin.site,
                origin.recorder,
                Taken(reduced, position, taken.source),
                weakref.ref(recorder) if recorder.has_sentinel else None,
            )
            for position, (origin, taken) in enumerate(zip(origins, takens, strict=True))
        ]


_Reduction = tuple[Any, Sequence[Any], Sequence[Sequence[Any]]]
"""The arguments of `observe_reduced`."""


def _wrap(owner: type, name: str, reduction_of: Callable[..., _Reduction | None]) -> None:
    method = getattr(owner, name)
    is_whole = owner is tf.distribute.ReplicaContext

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        strategy = id(getattr(self.strategy if is_whole else self, "extended", self))
        _here.has_reduced |= is_whole and self.num_replicas_in_sync > 1
        with _lock:
            is_part = _inside[strategy] > 0 and not is_whole
            _inside[strategy] += 1
        try:
            result = method(self, *args, **kwargs)
        finally:
            with _lock:
                _inside[strategy] -= 1
        reduction = None
        if not is_part:
            with contained("recognising reduced gradients"):
                reduction = reduction_of(result, *args, **kwargs)
        if reduction is not None:
            observe_reduced(*reduction)
        return result

    setattr(owner, name, tf.autograph.experimental.do_not_convert(wrapped))


def _of_all_reduce(result: Any, reduce_op: Any, value: Any, options: Any = None) -> _Reduction:
    return reduce_op, tf.nest.flatten(value), [tf.nest.flatten(result)]


def _of_reduce(result: Any, reduce_op: Any, value: Any, axis: Any) -> _Reduction | None:
    return _of_reduce_to(result, reduce_op, value, None) if axis is None else None


def _of_reduce_to(
    result: Any, reduce_op: Any, value: Any, destinations: Any, options: Any = None
) -> _Reduction:
    return _of_batch_reduce_to([result], reduce_op, [(value, destinations)])


def _of_batch_reduce_to(
    result: Any, reduce_op: Any, value_destination_pairs: Any, options: Any = None
) -> _Reduction:
    before = [_replicas_of(value)[0] for value, _ in value_destination_pairs]
    after = [_replicas_of(value) for value in result]
    return reduce_op, before, list(zip(*after, strict=True))


def _replicas_of(value: Any) -> Sequence[Any]:
    """Returns a value as it is in each replica of this process."""
    is_distributed = isinstance(value, tf.distribute.DistributedValues)
    return value.values if is_distributed else [value]
