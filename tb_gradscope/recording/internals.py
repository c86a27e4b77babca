"""Every private name of TensorFlow that recording uses, each with a way to do without.

A TensorFlow that moves one of them costs a detail (named at each function),
never a recording and never a training step.
"""

from __future__ import annotations

import contextlib
import functools
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

import tensorflow as tf

_DEPTH_OF_WAITING = 12
_OWN_SEED = 20_240_229
_CONTROL_FLOW = ("CondBranchFuncGraph", "WhileCondFuncGraph", "WhileBodyFuncGraph")

TRACER = "func_graph_from_py_func"
"""The function of TensorFlow that traces functions, branches and loop bodies.

Under another name, a helper that makes both tape and loss has more rows: one for each place
that calls a `tf.function` with it inside for the first time.
"""


@contextlib.contextmanager
def stop_recording() -> Iterator[None]:
    """Keeps what is computed inside from tapes and debuggers of this thread.

    Our NaN mean "not measured" and are nobody's fault: `tf.debugging.enable_check_numerics`
    must not end the program for them.
    """
    with _tapes_stopped(), _op_callbacks_stopped():
        yield


@contextlib.contextmanager
def _op_callbacks_stopped() -> Iterator[None]:
    """Keeps what is put into a graph from callbacks; without the private name it is not kept."""
    try:
        from tensorflow.python.eager import context

        here = context.context()
        before = here.invoking_op_callbacks
        here.invoking_op_callbacks = True
    except (ImportError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        here.invoking_op_callbacks = before


def _tapes_stopped() -> AbstractContextManager[None]:
    """Stops the tapes of this thread.

    Without the private name, only eager operations are kept off (`tf.init_scope`
    would lift operations out of a graph under construction).
    """
    try:
        from tensorflow.python.eager import record

        stopped: AbstractContextManager[None] = record.stop_recording()
        return stopped
    except (ImportError, AttributeError):
        return tf.init_scope() if tf.executing_eagerly() else contextlib.nullcontext()


def mapped_stack() -> list[tuple[str, int, str]]:
    """Returns the stack, outermost first, as (file, line, function).

    While autograph-converted code runs, its frames are mapped back to the
    user's file. Without the private name the list is empty, and places in
    converted code are those of the generated file.
    """
    try:
        from tensorflow.python.util import tf_stack

        return [(frame.filename, frame.lineno, frame.name) for frame in tf_stack.extract_stack()]
    except (ImportError, AttributeError):
        return []


def source_of_converted(file: str, line: int) -> tuple[str, int, str] | None:
    """Returns (file, line, function) that a line of autograph's generated code comes from.

    The stack of a replica's thread is not mapped: its function was converted in
    another thread. Without the private name, such places are those of the generated file.
    """
    try:
        from tensorflow.python.autograph.impl import api
        from tensorflow.python.autograph.pyct.origin_info import LineLocation

        for converted in list(api._TRANSPILER._cache._cache.values()):
            for factory in list(converted.values()):
                if factory.module.__file__ == file:
                    origin = factory.source_map.get(LineLocation(file, line))
                    if origin is None:
                        return None
                    place = origin.loc
                    return str(place.filename), int(place.lineno), str(origin.function_name or "")
    except (ImportError, AttributeError):
        pass
    return None


def frame_behind_replicas(frame: FrameType) -> FrameType | None:
    """Returns the frame that waits for the replicas, if `frame` begins a replica's thread.

    Without the private names, what lies outside of `strategy.run` is not seen from the
    replicas: whose lines and local variables it would be.
    """
    # The thread that waits may have been begun by Python's threading as well.
    begins = frame.f_back is None and frame.f_code.co_name == "_bootstrap"
    if not begins or frame.f_locals.get("self") is not threading.current_thread():
        return None
    waiting = _behind_replicas()
    return None if waiting is None else waiting[1]


def thread_behind_replicas() -> int | None:
    """Returns the identifier of the thread that waits for this one, which runs a replica.

    Without the private names, replicas record into the recording entered last, whatever
    thread entered it.
    """
    waiting = _behind_replicas()
    return None if waiting is None else waiting[0]


def _behind_replicas() -> tuple[int, FrameType] | None:
    thread = threading.current_thread()
    if type(thread).__name__ != "_MirroredReplicaThread":
        return None
    for identifier, innermost in sys._current_frames().items():
        at: FrameType | None = innermost
        for _ in range(_DEPTH_OF_WAITING):
            if at is None:
                break
            if at.f_code.co_name == "_call_for_each_replica":
                found = at.f_locals
                threads = found.get("threads", ())
                if sys.version_info < (3, 13):
                    found.clear()  # a copy that stays with the frame, and keeps tensors alive
                if any(other is thread for other in threads):
                    return identifier, at
                break
            at = at.f_back
    return None


def should_record_summaries() -> Any:
    """As `tf.summary.should_record_summaries`, which says no in all replicas but the first.

    Without the private name: the same, so that the others are not recorded.
    """
    try:
        from tensorflow.python.ops import summary_ops_v2

        state = summary_ops_v2._summary_state
        kept = state.is_recording_distribution_strategy
    except (ImportError, AttributeError):
        return tf.summary.should_record_summaries()
    state.is_recording_distribution_strategy = True
    try:
        return tf.summary.should_record_summaries()
    finally:
        state.is_recording_distribution_strategy = kept


def default_summary_writer() -> Any | None:
    """Returns the writer of `with writer.as_default():` here, or None.

    Without the private name, recording goes to `gs.record` only.
    """
    try:
        from tensorflow.python.ops import summary_ops_v2

        return summary_ops_v2._summary_state.writer
    except (ImportError, AttributeError):
        return None


def is_record_if_set() -> bool:
    """Tells whether `tf.summary.record_if` is in force here.

    Without the private name: no, and the usual cadence applies beside it.
    """
    try:
        from tensorflow.python.ops import summary_ops_v2

        return summary_ops_v2._summary_state.is_recording is not None
    except (ImportError, AttributeError):
        return False


def summary_resource(writer: Any) -> Any | None:
    """Returns the resource handle of a summary writer.

    Without the private name, each record takes five times as long to write.
    """
    try:
        return writer._resource
    except AttributeError:
        return None


def replica_index(context: Any) -> int:
    """Returns the number of a replica among all.

    Without the private name, each call adds a constant to the program's graph.

    Raises:
      NotImplementedError: it is known on the device only.
    """
    index = getattr(context, "_replica_id_in_sync_group", None)
    if not isinstance(index, int):
        index = tf.get_static_value(context.replica_id_in_sync_group)
    if index is None:
        raise NotImplementedError("which replica runs here is known on the device only")
    return int(index)


def eager_device() -> str | None:
    """Returns the device of `with tf.device(...)` around eager code or the function it traces.

    Without the private name: None. A function that XLA compiles for any but the first
    device then fails while it is recorded.
    """
    try:
        from tensorflow.python.eager import context

        return context.context().device_name or None
    except (ImportError, AttributeError):
        return None


def cluster_task() -> tuple[str, int, list[str]] | None:
    """Returns job and number of this process in the cluster it joined, and all jobs.

    Without the private name, `TF_CONFIG` alone is asked.
    """
    try:
        from tensorflow.python.eager import context

        joined = context.context()
        server = joined._server_def or joined._collective_ops_server_def
        if server is None:
            return None
        return server.job_name, server.task_index, [job.name for job in server.cluster.job]
    except (ImportError, AttributeError):
        return None


def keep_as_one_operation(result: Any, most_bytes: int) -> None:
    """Lets the `tf.cond` that gave a result run as one operation.

    TensorFlow takes it apart, so that each tensor used inside passes through an
    operation of its own: a microsecond for each gradient in each step. Without the
    private names it does.

    Args:
      result: of the cond.
      most_bytes: it is taken apart as well where it uses more than so many, or nobody
        knows how many: one operation holds all it uses until the last is there.
    """
    with contextlib.suppress(AttributeError, IndexError, ValueError):
        operation = result.op
        while operation.type == "Identity":
            operation = operation.inputs[0].op
        if operation.type not in ("If", "StatelessIf"):
            return
        numbers = [used for used in operation.inputs if used.dtype != tf.resource]
        counts = [used.shape.num_elements() for used in numbers]
        if None not in counts and most_bytes >= sum(
            count * used.dtype.size for count, used in zip(counts, numbers, strict=True)
        ):
            value = tf.compat.v1.AttrValue(b=False)
            operation._set_attr("_lower_using_switch_merge", value)


def graphs_of_this_call() -> Iterator[Any]:
    """Yields the graph under construction, and those it is a branch or a loop of.

    Not that of a function around: this one may be called from others, too, and what it
    took from the first would be out of their reach.
    """
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        yield graph
        # Without the private names: the innermost alone.
        if type(graph).__name__ not in _CONTROL_FLOW:
            return
        graph = graph.outer_graph


@contextlib.contextmanager
def seeds_of_our_own() -> Iterator[None]:
    """Keeps random operations inside from drawing on the program's sequence of seeds.

    Eager operations without a seed of their own draw one from a global sequence.
    Putting the sequence back would not do: the next operation of the program
    would meet our kernel, which has drawn numbers already.

    Without the private name, a backward pass that draws random numbers moves the
    sequence on.
    """
    try:
        from tensorflow.python.eager import context

        here = context.context()
        kept = here._rng
    except (ImportError, AttributeError):
        yield
        return
    here._rng = random.Random(_OWN_SEED)
    try:
        yield
    finally:
        here._rng = kept


class _Unseen(threading.local):
    """Tapes of this thread that calls of functions must not see."""

    def __init__(self) -> None:
        self.tapes: list[Any] = []


_unseen = _Unseen()


def hide_from_functions(tape: Any) -> bool:
    """Lets calls of functions choose how to run as if a tape were not there.

    With a second tape, or a persistent one, TensorFlow runs another version of
    each function: one that keeps more for its gradient, and draws random numbers
    of its own.

    Args:
      tape: a `tf.GradientTape` that records in this thread.

    Returns:
      False without the private names: then there must be no such tape, and parts
      of a sum are recorded in graphs and on persistent tapes only.
    """
    if not _install_hiding() or getattr(tape, "_tape", None) is None:
        return False
    _unseen.tapes.append(tape._tape)
    return True


def show_to_functions(tape: Any) -> None:
    """Ends `hide_from_functions`; to be called before the tape records again or no more."""
    _unseen.tapes = [hidden for hidden in _unseen.tapes if hidden is not tape._tape]


@functools.cache
def _install_hiding() -> bool:
    try:
        from tensorflow.python.eager import tape as tapes
        from tensorflow.python.ops import gradients_util

        original, push, pop = (
            gradients_util.PossibleTapeGradientTypes,
            tapes.push_tape,
            tapes.pop_tape,
        )
    except (ImportError, AttributeError):
        return False

    @functools.wraps(original)
    def without_hidden(tensors: Any) -> Any:
        hidden = _unseen.tapes
        for tape in hidden:
            pop(tape)
        try:
            return original(tensors)
        finally:
            for tape in hidden:
                push(tape)

    gradients_util.PossibleTapeGradientTypes = without_hidden
    return True
