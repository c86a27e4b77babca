"""Watches the eager operations of one thread while a step is observed.

Nothing is observed in ordinary steps. Operations are noted by number, type and
line: no tensor is held, none is changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place
from tb_gradscope.recording.why import internals, lines, nodes
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.nodes import Body, Key, Node

MOST_OPERATIONS = 50_000
"""How many operations of a step are noted before observing gives up."""

MOST_BEFORE = 20_000
"""How many are noted before the first tape is entered."""

MOST_BETWEEN = 5_000
"""How many are noted after a tape was asked, until the next one is entered."""

_READ = "ReadVariableOp"


@dataclasses.dataclass(frozen=True)
class Exit:
    """A tensor turned into a Python number or a NumPy array.

    Attributes:
      key: of the tensor.
      index: after how many operations.
      lines: where, and who called that, the innermost first.
      is_elsewhere: in another thread.
    """

    key: Key
    index: int
    lines: tuple[Line, ...]
    is_elsewhere: bool = False


class Observer:
    """The operations of one thread since `start`.

    Args:
      is_ours: tells whether what runs in this thread is not the program's.
      since_tape: nothing was seen of what ran before the tape.

    Attributes:
      nodes: in the order in which they were run.
      exits: values that left TensorFlow.
      first: every tensor made later than this has a greater key.
      is_on: operations are noted.
      is_whole: whether nothing is missing since the start.
      most: how many operations are noted at most.
      since_tape: as given.
    """

    def __init__(self, is_ours: Callable[[], bool], since_tape: bool) -> None:
        self._is_ours = is_ours
        self.since_tape = since_tape
        self.nodes: list[Node] = []
        self.exits: list[Exit] = []
        self.first = self._last = 0
        self.is_on = self.is_whole = False
        self.most = MOST_BEFORE
        self._thread = threading.get_ident()
        self._read_elsewhere: set[Key] = set()
        self._reads: set[Key] = set()
        self._constants: set[Key] = set()
        self._knows_constants = False
        self._foreign: dict[Key, Line | None] = {}
        self._graphs: list[Any] = []
        self._undo = contextlib.ExitStack()
        self._undo_everywhere = contextlib.ExitStack()

    @property
    def count(self) -> int:
        """How many operations were noted."""
        return len(self.nodes)

    def has_seen(self, tensors: list[Any]) -> bool:
        """Tells whether all that was run is noted, since before these tensors were made."""
        return self.is_whole and all(
            internals.is_eager(tensor)
            and internals.eager_key(tensor) > self.first
            and (self.is_on or internals.eager_key(tensor) <= self._last)
            for tensor in tensors
        )

    def foreign(self, keys: set[Key]) -> Line | None:
        """Returns where one of these tensors was used first that came from elsewhere.

        Another thread made it, or another library; what it depends on is not known.
        """
        if not self._knows_constants:
            return None
        return next((line for key, line in self._foreign.items() if line and key in keys), None)

    def is_read_elsewhere(self, handle: Key) -> bool:
        """Tells whether another thread has read the variable with this handle."""
        return handle in self._read_elsewhere

    def is_foreign(self, key: Key) -> bool:
        """Tells whether a tensor came from elsewhere, and no operation used it."""
        is_seen = key <= self.first or key in self._reads or key in self._constants
        return self._knows_constants and not is_seen

    def start(self) -> bool:
        """Begins to observe this thread; False where TensorFlow does not allow it."""
        # Before TensorFlow has started there is no tensor, and making one would start it.
        if internals.has_started():
            self.first = internals.eager_key(tf.constant(0.0))
        if not internals.add_op_callback(self._noted):
            return False
        self._undo.callback(internals.remove_op_callback, self._noted)
        for hook in (internals.on_numpy, internals.on_dlpack):
            self._undo_everywhere.enter_context(hook(self._guarded(self._left)))
        self._undo_everywhere.enter_context(internals.on_read(self._guarded(self._read)))
        made = internals.on_constant(self._guarded(self._made))
        self._knows_constants = self._undo_everywhere.enter_context(made)
        self.is_on = self.is_whole = True
        return True

    def stop(self) -> None:
        """Ends observing, on the same thread; what was noted stays."""
        if self.is_on:
            self._last = max((key for node in self.nodes for key in node.outs), default=self.first)
        self.is_on = False
        self._undo.close()
        self._undo_everywhere.close()

    def abandon(self) -> None:
        """Ends observing as far as another thread can; the observed one may have ended."""
        self.is_on = self.is_whole = False
        self._undo_everywhere.close()
        # TensorFlow's own way of running operations is all threads'; this puts it back.
        if internals.add_op_callback(self._noted):
            internals.remove_op_callback(self._noted)

    def _noted(self, *run: Any, **named: Any) -> Any:
        # TensorFlow calls it as (type, inputs, attributes, outputs, name, graph), the
        # last two by name or not. Nothing may get out into the program's own operation.
        if named.get("graph") is not None or (len(run) > 5 and run[5] is not None):
            # What is returned is what the next callback gets for outputs: those of
            # tf.debugging.enable_check_numerics, say.
            return run[3]
        try:
            if self._is_ours():
                return None
            if len(self.nodes) >= self.most:
                self.is_on = self.is_whole = False
            if not self.is_on:
                # Operations of a thread with a callback take TensorFlow longer.
                if internals.is_only_op_callback(self._noted):
                    self.stop()
                return None
            self._note(run[0], run[1], run[2], run[3], sys._getframe(1))
        except Exception:
            self.is_whole = False
        return None

    def _note(
        self, op_type: Any, inputs: Any, attributes: Any, outputs: Any, frame: FrameType
    ) -> None:
        kind = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
        line = lines.of_frame(frame)
        for tensor in inputs:
            key = internals.eager_key(tensor)
            if key > self.first and key not in self._reads and tensor.dtype != tf.resource:
                self._reads.add(key)
                self._note_origin(tensor, key, frame, line)
        outs = [internals.eager_key(tensor) for tensor in outputs]
        self._reads.update(outs)
        for key in outs:  # a ForwardAccumulator uses them before they are told of
            self._foreign.pop(key, None)
        ins = [internals.eager_key(tensor) for tensor in inputs]
        in_dtypes = [tensor.dtype for tensor in inputs]
        bodies: tuple[Body, ...] = ()
        custom = ""
        if kind.startswith("__"):
            graph = internals.called_graph(frame)
            if graph is not None:
                self._graphs.append(graph)
                bodies = (Body(nodes.CALL, _reference(graph)),)
        elif kind == "Identity":
            found = internals.custom_gradient(frame)
            if found is not None:
                custom = found[0]
                for argument in found[1]:
                    handle = getattr(argument, "handle", None)
                    tensor = argument if handle is None else handle
                    if internals.is_eager(tensor):
                        ins.append(internals.eager_key(tensor))
                        in_dtypes.append(tensor.dtype)
        self.nodes.append(
            Node(
                type=kind,
                index=len(self.nodes),
                ins=ins,
                outs=outs,
                in_dtypes=tuple(in_dtypes),
                out_dtypes=tuple(tensor.dtype for tensor in outputs),
                bodies=bodies,
                custom=custom,
                graph=None,
                name="",
                line=line,
                attributes=attributes,
                shapes=(
                    [tensor.shape for tensor in inputs],
                    [tensor.shape for tensor in outputs],
                ),
            )
        )

    def _note_origin(self, tensor: Any, key: Key, frame: FrameType, line: Line | None) -> None:
        """Notes where a tensor comes from that no operation seen here has made."""
        arguments = [
            one
            for _, value in place.locals_of(frame)
            for one in (value if isinstance(value, list | tuple) else (value,))
        ]
        if any(one is tensor for one in arguments):
            if key not in self._constants:
                self._foreign[key] = line
            return
        for one in arguments:
            if isinstance(one, tf.Variable) and self._note_silent_read(one, tensor, key, line):
                return

    def _note_silent_read(self, variable: Any, tensor: Any, key: Key, line: Line | None) -> bool:
        """Notes a variable read within another operation: `tf.reduce_sum(variable)`.

        TensorFlow reports no operation for that read, but the variable is an argument
        of the Python function that runs the operation.
        """
        handle = getattr(variable, "handle", None)
        if not internals.is_eager(handle):
            return False
        if variable.dtype != tensor.dtype or variable.shape != tensor.shape:
            return False
        read = nodes.plain(
            _READ,
            len(self.nodes),
            [internals.eager_key(handle)],
            [key],
            ((tf.resource,), (tensor.dtype,)),
        )
        read.line = line
        self.nodes.append(read)
        return True

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Returns a callback for the program's own calls, into which nothing of ours may get out.

        Once it has failed, no operation counts as seen: nothing is claimed from their lack.
        """

        def guarded(value: Any) -> None:
            try:
                callback(value)
            except Exception:
                self.is_whole = False

        return guarded

    def _read(self, variable: Any) -> None:
        if threading.get_ident() == self._thread or not self.is_on or self._is_ours():
            return
        handle = getattr(variable, "handle", None)
        if internals.is_eager(handle):
            self._read_elsewhere.add(internals.eager_key(handle))

    def _made(self, constant: Any) -> None:
        if len(self._constants) >= self.most:
            self._knows_constants = False
        if self._knows_constants:
            self._constants.add(internals.eager_key(constant))

    def _left(self, tensor: Any) -> None:
        if not self.is_on or self._is_ours() or len(self.exits) >= self.most:
            return
        if internals.is_eager(tensor):
            stack = lines.stack_of(sys._getframe(1))
            is_elsewhere = threading.get_ident() != self._thread
            key = internals.eager_key(tensor)
            self.exits.append(Exit(key, len(self.nodes), stack, is_elsewhere))


def _reference(graph: Any) -> Any:
    return lambda: graph
