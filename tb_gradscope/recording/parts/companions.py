"""Which losses are of the same step: those whose gradients can be compared."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.internals import graphs_of_this_call
from tb_gradscope.recording.measure.cosines import MOST_COMPARED
from tb_gradscope.recording.tape import sources


@dataclasses.dataclass
class _Observed:
    """One loss, as last observed.

    Attributes:
      begin: when it was observed in this step, for the first time if several times.
      before: the same of the step before; -1 if there was none.
      last: when it was observed last.
      steps: in how many steps.
      gradients: by variable: references to both.
    """

    begin: int
    before: int = -1
    last: int = -1
    steps: int = 0
    gradients: dict[int, tuple[weakref.ref[Any], weakref.ref[Any]]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Companion:
    """A loss observed before another one, in the same step.

    Attributes:
      name: of the loss.
      gradients: references to its gradients, one for each variable of the other
        loss; None where it has none.
    """

    name: str
    gradients: tuple[weakref.ref[Any] | None, ...]

    def alive(self) -> list[Any]:
        """Returns the gradients, None in place of those that are gone."""
        return [None if reference is None else reference() for reference in self.gradients]


class Companions(threading.local):
    """The losses of one recorder, as each thread observed them: replicas have one each.

    Holds on to no gradient: those of a loss can be compared for as long as the
    program itself keeps them.
    """

    def __init__(self) -> None:
        self._clock = itertools.count()
        self._losses: dict[str, _Observed] = {}

    def observe(
        self, name: str, found: list[Any], gradients: list[Any], is_repeat: bool
    ) -> list[Companion]:
        """Notes the gradients of a loss.

        Args:
          name: of the loss.
          found: flat sources.
          gradients: one for each; None is data.
          is_repeat: asked for again in the same step, of other variables perhaps.

        Returns:
          The losses observed before it in the same step that share a variable.
        """
        now = next(self._clock)
        here = self._losses.get(name)
        if here is None:
            here = self._losses[name] = _Observed(now)
            is_repeat = False
        elif not is_repeat:
            here.before, here.begin = here.begin, now
        if not is_repeat:
            here.steps += 1
            here.gradients = {}
        here.last = now
        there = [(s, g) for s, g in zip(found, gradients, strict=True) if g is not None]
        companions = [
            companion
            for other, observed in self._losses.items()
            if other != name and _is_of_same_step(observed, here)
            if (companion := _companion(other, observed, found, gradients)) is not None
        ]
        here.gradients.update({id(s): (_reference(s), weakref.ref(g)) for s, g in there})
        return companions[-MOST_COMPARED:]


_of_recorders: weakref.WeakKeyDictionary[Any, Companions] = weakref.WeakKeyDictionary()


def companions_of(recorder: Any) -> Companions:
    """Returns the losses of a recorder."""
    return _of_recorders.get(recorder) or _of_recorders.setdefault(recorder, Companions())


def _is_of_same_step(other: _Observed, here: _Observed) -> bool:
    # The first time, what came before may be of another phase of the program,
    # unless it is just as new.
    return other.last > here.before and (here.before >= 0 or other.steps == 1 or _in_graph())


def _companion(
    name: str, observed: _Observed, found: list[Any], gradients: list[Any]
) -> Companion | None:
    shared: list[weakref.ref[Any] | None] = []
    for source, gradient in zip(found, gradients, strict=True):
        known = observed.gradients.get(id(source))
        its_source, its_gradient = (None, None) if known is None else (known[0](), known[1]())
        is_shared = gradient is not None and its_source is source and _is_within_reach(its_gradient)
        shared.append(known[1] if known is not None and is_shared else None)
    return Companion(name, tuple(shared)) if any(shared) else None


def _reference(source: Any) -> Any:
    return sources.reference(source) if sources.is_variable(source) else weakref.ref(source)


def _in_graph() -> bool:
    return not tf.executing_eagerly()


def _is_within_reach(gradient: Any) -> bool:
    """Tells whether a gradient is of this very execution: this graph, or one it is a branch of."""
    tensors = tf.nest.flatten(gradient, expand_composites=True)
    graphs = [getattr(tensor, "graph", None) for tensor in tensors]
    if tf.executing_eagerly():
        return gradient is not None and not any(graphs)
    around = list(graphs_of_this_call())
    return gradient is not None and all(any(graph is one for one in around) for graph in graphs)
