"""From what gets where to the cause."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import sources
from tb_gradscope.recording.why import custom, exits, program, windows
from tb_gradscope.recording.why.blockers import DECIDES, Blocker, blockers, line_of
from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.nodes import CARRIES_GRADIENT, Key, Node
from tb_gradscope.recording.why.reach import Bits, Reach
from tb_gradscope.recording.why.state import writes
from tb_gradscope.recording.why.windows import TapeLog
from tb_gradscope.recording.why.world import World

_WINDOWS = {
    windows.BEFORE: "outside_tape",
    windows.AFTER: "outside_tape",
    windows.STOPPED: "stopped",
    windows.RESET: "stopped",
}
_TO_NUMBERS = frozenset({"Cast", "Bitcast", "AsString", "SaturateCast"})
_ITERATOR = "MakeIterator"
_CUSTOM = "tf.custom_gradient"
_ENDS = 200  # operations, from the last one back, after which an exit is sought
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


@dataclasses.dataclass(frozen=True)
class Missing:
    """A source without a gradient.

    Attributes:
      source: the variable or tensor.
      find_rebound: returns where its name was bound to a tensor instead, None if it
        was not. That takes a search.
    """

    source: Any
    find_rebound: Callable[[], Line | None]

    @functools.cached_property
    def rebound(self) -> Line | None:
        """Where its name was bound to a tensor instead."""
        return self.find_rebound()

    @property
    def is_variable(self) -> bool:
        return sources.is_variable(self.source)

    @property
    def handle(self) -> Any:
        """What stands for it in operations."""
        handle = sources.handle_of(self.source)
        return self.source if handle is None else handle

    @property
    def dtype(self) -> Any:
        return tf.as_dtype(getattr(self.source, "dtype", tf.float32))

    @property
    def is_trainable(self) -> bool:
        """Whether tapes watch it by themselves. A frozen Keras layer changes nothing here."""
        value = getattr(self.source, "value", None)
        raw = self.source if isinstance(self.source, tf.Variable) or callable(value) else value
        return bool(getattr(raw, "trainable", True))


def judge(
    world: World,
    missing: list[Missing],
    log: TapeLog,
    watched: set[int],
    loss: Line,
    bound: Line,
) -> list[Cause]:
    """Returns the cause of each missing gradient.

    Args:
      world: the operations.
      missing: the sources.
      log: what the tape was told.
      watched: ids of the handles of all variables that the tape watched.
      loss: the line that made the loss.
      bound: where the asking function got it.
    """
    court = _Court(world, missing, log, watched, loss, bound)
    return [court.cause(position) for position in range(len(missing))]


class _Court:
    def __init__(
        self,
        world: World,
        missing: list[Missing],
        log: TapeLog,
        watched: set[int],
        loss: Line,
        bound: Line,
    ) -> None:
        self._world, self._missing, self._log = world, missing, log
        self._watched, self._loss, self._bound = watched, loss, bound
        self._handles = [world.key(one.handle) for one in missing]
        self._everyone = (1 << len(missing)) - 1
        self._reach = self._follow(custom_passes=True)
        self._blockers = self._found(self._reach)
        self._writes: list[tuple[Node, Bits, tuple[Node, ...]]] | None = None
        self._readers = world.readers(self._handles)
        self._known: dict[int, Cause] = {}
        self._strict: list[Blocker] | None = None

    def cause(self, position: int) -> Cause:
        """Returns the cause of one missing gradient."""
        one = self._missing[position]
        readers = self._readers[position]
        if one.dtype in CARRIES_GRADIENT and not self._reaches(self._reach.values, position):
            return self._unconnected(position)
        use = _first_line(readers.serving) or _first_line(readers.idle)
        if one.dtype not in CARRIES_GRADIENT:
            return Cause("integer", use or self._loss, detail="source")
        if not self._is_watched(one, position):
            if not one.is_variable:
                if one.rebound is not None:
                    return Cause("overwritten", one.rebound, detail="asked", other=use)
                return Cause("not_watched", use, detail="tensor")
            if not one.is_trainable:
                return Cause("not_watched", use, detail="not_trainable")
            if not self._log.watches_variables:
                return Cause("not_watched", use, detail="switched_off")
        blocker = self._blocker(position)
        if blocker is None:
            if any(self._log.watched_late(one.source, node) for node in readers.serving):
                return Cause("not_watched", use, detail="late")
            return Cause("unknown", self._loss, detail="connected")
        known = self._known.get(id(blocker))
        if known is None:
            known = self._known[id(blocker)] = self._blocked(blocker)
        return known

    def _follow(self, custom_passes: bool) -> Reach:
        reach = Reach(custom_passes, self._log.window)
        for position, key in enumerate(self._handles):
            reach.seed(key, 1 << position)
        reach.run(self._world.nodes)
        return reach

    def _found(self, reach: Reach) -> list[Blocker]:
        world = self._world
        return list(blockers(world.nodes, reach, world.needed, world.keys, self._everyone))

    def _reaches(self, found: dict[Key, int], position: int) -> bool:
        return any(found.get(key, 0) >> position & 1 for key in self._world.losses)

    def _is_watched(self, one: Missing, position: int) -> bool:
        if id(one.handle) in self._watched or self._log.is_watched(one.source):
            return True
        if one.is_variable:
            # Read while nothing was recorded: that is the cause, not the watching.
            return one.is_trainable and self._log.watches_variables
        # A tensor that was made from what is watched is on the tape as well.
        maker = self._world.maker(self._handles[position])
        return (
            maker is not None
            and self._log.window(maker) is None
            and not self._reaches(self._reach.gradients, position)
        )

    def _blocker(self, position: int) -> Blocker | None:
        if self._reaches(self._reach.gradients, position):
            # All that is left are gradient functions of the program, which may return None.
            return self._custom_blocker(position)
        found = [blocker for blocker in self._blockers if blocker.bits >> position & 1]
        return min(found, key=lambda b: (b.rank, -b.node.index), default=None)

    def _custom_blocker(self, position: int) -> Blocker | None:
        """Returns the gradient function of the program that must have returned None."""
        bit = 1 << position
        if self._strict is None:
            self._strict = self._found(self._follow(custom_passes=False))
        first = [b for b in self._strict if b.node.custom and b.bits & bit]
        behind = [
            Blocker(node, bit, 0)
            for node in self._world.nodes
            if node.custom
            and not self._world.keys.isdisjoint(node.outs)
            and any(self._reach.gradients.get(key, 0) & bit for key in node.ins)
        ]
        found = list({id(b.node): b for b in (*first, *behind)}.values())
        if len(found) > 1:  # then only the source can tell
            found = [b for b in found if (f := _custom(b)) and custom.may_return_none(f)]
        return found[0] if found else None

    def _blocked(self, blocker: Blocker) -> Cause:
        node, line = blocker.node, blocker.line
        if line is not None:
            line = program.sharpened(line, node.type)
        if blocker.window:
            kind = _WINDOWS[blocker.window]
            where = self._log.line_of(blocker.window, node) or line
            return Cause(kind, where, _op(node), blocker.window, line)
        if node.custom:
            function = _custom(blocker)
            known = node.custom if node.graph is None else _CUSTOM
            name = known if function is None else function.name
            return Cause("blocked", line, name, "custom_gradient")
        if node.type == "StopGradient":
            return Cause("blocked", line, node.type, "stop_gradient")
        if node.type in _PYTHON:
            return Cause("blocked", line, node.type, "python")
        if blocker.is_shape:
            return Cause("blocked", line, node.type, "shape")
        if node.type in _TO_NUMBERS and not _is_number(node.out_dtypes[blocker.output]):
            return Cause("integer", line, node.type, "cast")
        if blocker.reason == DECIDES:
            return Cause("blocked", line, _op(node), "decides")
        return Cause("blocked", line, _op(node), "no_gradient")

    def _unconnected(self, position: int) -> Cause:
        idle, serving = self._readers[position].idle, self._readers[position].serving
        bit = 1 << position
        if self._writes is None:
            self._writes = list(self._written())
        written = [(node, around) for node, bits, around in self._writes if bits & bit]
        if written:
            node, around = written[-1]
            lines = (line_of(inner) for inner in (node, *reversed(around)))
            line = next(filter(None, lines), None)
            if node.type == _ITERATOR:
                return Cause("blocked", line, node.type, "data")
            return Cause("state", line, node.type, "assigned")
        left = self._left(position)
        if left is not None:
            return left
        one = self._missing[position]
        if not (serving or idle) and one.rebound is not None:
            return Cause("overwritten", one.rebound, detail="used")
        foreign = self._foreign()
        if foreign is not None:
            return Cause("unknown", foreign, detail="foreign")
        elsewhere = self._left_elsewhere(position)
        if elsewhere is not None:
            return Cause("unknown", elsewhere, detail="left_elsewhere")
        if idle or serving:
            return Cause("unused", self._loss, detail="read", other=_first_line(idle))
        if self._may_be_read_before():
            return Cause("unknown", self._loss, detail="not_read", is_final=False)
        return Cause("unused", self._loss, detail="never_read")

    def _foreign(self) -> Line | None:
        """Returns where the loss uses a tensor of unknown origin, None if it uses none."""
        world, observer = self._world, self._world.observer
        if observer is None:
            return None
        if any(map(observer.is_foreign, world.losses)):
            return self._loss
        return observer.foreign(world.keys)

    def _may_be_read_before(self) -> bool:
        """Tells whether the loss uses values of before anything was observed."""
        world, observer = self._world, self._world.observer
        if observer is None or not observer.since_tape:
            return False
        return any(
            key <= observer.first and dtype in CARRIES_GRADIENT and dtype != tf.resource
            for node in world.nodes
            for key, dtype in zip(node.ins, node.in_dtypes, strict=True)
            if key in world.keys
        )

    def _left(self, position: int) -> Cause | None:
        """Returns a cause if the value left TensorFlow on its way to the loss."""
        world, bit = self._world, 1 << position
        if world.observer is None:
            return None
        values = self._reach.values
        for left in reversed(world.observer.exits):
            if not values.get(left.key, 0) & bit or not left.lines:
                continue
            line = left.lines[0]
            if exits.is_only_shown(line):
                continue
            if exits.is_condition(line):
                if exits.decides(line, self._loss):
                    return Cause("blocked", line, detail="decides")
                continue
            if self._has_fresh_constant(left.key) and exits.flows(left.lines, self._bound):
                return Cause("blocked", line, detail="left_tensorflow")
        ends = [
            node
            for node in world.nodes
            if any(
                values.get(key, 0) & bit and dtype != tf.resource
                for key, dtype in zip(node.outs, node.out_dtypes, strict=True)
            )
        ]
        for node in reversed(ends[-_ENDS:]):
            if node.line is not None:
                found = exits.exit_after(node.line, self._bound)
                if found is not None:
                    return Cause("blocked", found, detail="left_tensorflow")
        return None

    def _left_elsewhere(self, position: int) -> Line | None:
        """Returns where another thread may have made a number of the value, for the loss to use."""
        observer = self._world.observer
        if observer is None:
            return None
        is_read = observer.is_read_elsewhere(self._handles[position])
        for left in reversed(observer.exits):
            may_be = self._reach.values.get(left.key, 0) >> position & 1
            may_be |= is_read and observer.is_foreign(left.key)
            if not (left.is_elsewhere and left.lines and may_be):
                continue
            if exits.is_handed_on(left.lines[0]) and self._has_fresh_constant(left.key):
                return left.lines[0]
        return None

    def _has_fresh_constant(self, since: Key) -> bool:
        """Tells whether the loss uses a value that entered TensorFlow after a tensor was made."""
        world = self._world
        return any(key > since and world.maker(key) is None for key in world.keys)

    def _written(self) -> Iterator[tuple[Node, Bits, tuple[Node, ...]]]:
        """Yields what writes a value that was not computed from gradients alone.

        An optimizer's step leads nowhere: no program means to differentiate it.
        """
        world = self._world
        reach = Reach()
        for position, key in enumerate(self._handles):
            reach.seed(key, 1 << position)
        is_backward = functools.cache(_is_backward_line)
        forward = [
            node
            for node in world.nodes
            if not (_is_backward(node) if node.graph is not None else is_backward(node.line))
        ]
        reach.run(forward)
        return writes(forward, reach, world.keys)


def _is_backward(node: Node) -> bool:
    """Tells whether an operation of a graph computes a gradient."""
    return "gradient_tape/" in node.name


def _is_backward_line(line: Line | None) -> bool:
    """Tells whether eager operations run at a line compute a gradient."""
    return line is not None and program.calls(line, "gradient")


def _first_line(found: list[Node]) -> Line | None:
    return next(filter(None, map(line_of, found)), None)


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_floating or dtype.is_complex)


def _op(node: Node) -> str:
    return "" if node.type.startswith("__") else node.type


def _custom(blocker: Blocker) -> program.Function | None:
    return None if blocker.line is None else custom.called_at(blocker.line)
