"""Every private name of TensorFlow that finding causes uses, each with a way to do without.

Where one of them has moved, less is found: what is then lost is said at each function.
The cause becomes `unknown`, or names the call rather than the line inside it.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place

OpCallback = Callable[..., None]

_CALLS = frozenset({"call_flat", "__call__"})
_DEPTH = 12
_NUMPY = "_numpy"
_CUSTOM_GRADIENT = "_eager_mode_decorator"


def is_eager(tensor: Any) -> bool:
    """Tells tensors with a value from those of a graph."""
    return isinstance(tensor, tf.Tensor) and hasattr(tensor, "numpy")


def eager_key(tensor: Any) -> int:
    """Returns a number that no other eager tensor of this process ever has.

    Without the private name: that of the object, which may come again.
    """
    return int(getattr(tensor, "_id", None) or id(tensor))


def is_recording(tape: Any) -> bool:
    """Tells whether a tape records still: a persistent one may be asked meanwhile.

    Without the private name: no. What runs after the first `gradient()` within a
    tape's block is then seen a step later.
    """
    return bool(getattr(tape, "_recording", False))


def has_started() -> bool:
    """Tells whether TensorFlow has chosen its devices, as it does at the first operation.

    Without the private name: yes. A program can then not choose them inside of `gs.record`.
    """
    try:
        from tensorflow.python.eager import context

        return context.context()._context_handle is not None
    except (ImportError, AttributeError):
        return True


def function_graph(graph: Any, name: str) -> Any | None:
    """Returns the graph of a function called from within `graph`.

    Without the private name, functions, branches and loops are closed boxes: the
    place is that of the call.
    """
    while graph is not None:
        try:
            found = graph._get_function(name)
        except (AttributeError, ValueError, KeyError):
            return None
        inner = getattr(found, "graph", None)
        if inner is not None:
            return inner
        graph = getattr(graph, "outer_graph", None)
    return None


def gradient_function(op_type: str) -> tuple[bool, Callable[..., Any] | None]:
    """Returns whether the gradient of an operation is known, and what computes it.

    (True, None) says that TensorFlow calls it not differentiable. Without the
    private name everything is taken to pass gradients, and less is `blocked`.
    """
    try:
        from tensorflow.python.framework import ops

        return True, ops._gradient_registry.lookup(op_type)
    except (ImportError, AttributeError, LookupError):
        return False, None


def mock_operation(op_type: str, attributes: Any, inputs: list[Any], outputs: list[Any]) -> Any:
    """Returns what stands for an eager operation before its gradient function.

    Raises:
      ImportError, AttributeError: TensorFlow has no such thing any more. The operation
        is then taken to pass gradients.
    """
    from tensorflow.python.eager import backprop

    return backprop._MockOp(attributes, inputs, outputs, op_type, ())


def add_op_callback(callback: OpCallback) -> bool:
    """Has `callback` called after each eager operation of this thread; False if it cannot be.

    Without the private name, eager steps are not observed: causes are what the tape
    itself and the source tell.
    """
    try:
        from tensorflow.python.framework import op_callbacks

        op_callbacks.add_op_callback(callback)
    except (ImportError, AttributeError):
        return False
    return True


def remove_op_callback(callback: OpCallback) -> None:
    """Undoes `add_op_callback`, on the same thread."""
    with contextlib.suppress(ImportError, AttributeError, KeyError):
        from tensorflow.python.framework import op_callbacks

        # Only in eager code does TensorFlow undo all of it, and a function may be traced here.
        with tf.init_scope():
            op_callbacks.remove_op_callback(callback)


def is_only_op_callback(callback: OpCallback) -> bool:
    """Tells whether this thread has no other: then it may be removed while it is called."""
    try:
        from tensorflow.python.eager import context

        return list(context.context().op_callbacks) == [callback]
    except (ImportError, AttributeError):
        return False


def called_graph(frame: FrameType) -> Any | None:
    """Returns the graph of the function that TensorFlow is calling from a frame inwards.

    Without the private names, functions called in eager code are closed boxes.
    """
    current: FrameType | None = frame
    for _ in range(_DEPTH):
        if current is None:
            return None
        if current.f_code.co_name in _CALLS and "atomic_function" in current.f_code.co_filename:
            called = dict(place.locals_of(current)).get("self")
            return getattr(called, "graph", None)
        current = current.f_back
    return None


def custom_gradient(frame: FrameType) -> tuple[str, list[Any]] | None:
    """Returns name and arguments of the `tf.custom_gradient` function just run in eager code.

    Variables that it used count as arguments. Without the private names, gradients
    are sought through its operations, and a None of its own is `unknown`.
    """
    current: FrameType | None = frame
    for _ in range(_DEPTH):
        if current is None:
            return None
        if current.f_code.co_name == _CUSTOM_GRADIENT:
            found = dict(place.locals_of(current))
            if "flat_result" not in found:  # still in the function itself
                return None
            function = found.get("f")
            arguments = [*found.get("flat_args", ()), *found.get("variables", ())]
            return getattr(function, "__name__", "custom_gradient"), arguments
        current = current.f_back
    return None


class _Hook:
    """Tells callbacks of each call of a function of TensorFlow's, in whatever thread.

    Args:
      owner: returns the class or module that has the function, None where none has.
      name: of the function.
      of_result: callbacks are told what it returns; else its first argument, before it runs.
    """

    def __init__(self, owner: Callable[[], Any], name: str, *, of_result: bool = False) -> None:
        self._owner, self._name, self._of_result = owner, name, of_result
        self._callbacks: list[Callable[[Any], None]] = []
        self._lock = threading.Lock()
        self._remove: Callable[[], None] | None = None

    @contextlib.contextmanager
    def telling(self, callback: Callable[[Any], None]) -> Iterator[bool]:
        """Has `callback` called for as long as this is entered; gives False if it cannot be."""
        with self._lock:
            self._callbacks = [*self._callbacks, callback]
            if self._remove is None:
                self._remove = self._install()
        try:
            yield self._remove is not None
        finally:
            with self._lock:
                self._callbacks = [other for other in self._callbacks if other != callback]
                if not self._callbacks and self._remove is not None:
                    self._remove()
                    self._remove = None

    def _install(self) -> Callable[[], None] | None:
        owner = self._owner()
        original = None if owner is None else owner.__dict__.get(self._name)
        if original is None:
            return None

        def before(first: Any, *others: Any, **named: Any) -> Any:
            for callback in self._callbacks:
                callback(first)
            return original(first, *others, **named)

        def after(*given: Any, **named: Any) -> Any:
            result = original(*given, **named)
            for callback in self._callbacks:
                callback(result)
            return result

        told = after if self._of_result else before
        if (code := getattr(original, "__code__", None)) is not None:
            # TensorFlow leaves its own frames out of the program's tracebacks: this one too.
            told.__code__ = told.__code__.replace(co_filename=code.co_filename)

        def remove() -> None:
            if owner.__dict__.get(self._name) is told:
                setattr(owner, self._name, original)

        try:
            setattr(owner, self._name, told)
        except (AttributeError, TypeError):
            return None
        return remove


def _numpy_owner() -> Any:
    return next((c for c in _eager_classes() if _NUMPY in c.__dict__), None)


def _dlpack_owner() -> Any:
    try:
        from tensorflow.python import pywrap_tfe
    except ImportError:
        return None
    return pywrap_tfe


def _read_owner() -> Any:
    try:
        from tensorflow.python.ops import resource_variable_ops
    except ImportError:
        return None
    return resource_variable_ops


def _constant_owner() -> Any:
    try:
        from tensorflow.python.framework import constant_op
    except ImportError:
        return None
    return constant_op


on_numpy = _Hook(_numpy_owner, _NUMPY).telling
"""Enters a callback for each eager tensor that is turned into Python or NumPy.

`np.asarray` goes past it. Without the private name, the source alone tells where a
value left TensorFlow.
"""

on_dlpack = _Hook(_dlpack_owner, "TFE_ToDlpackCapsule").telling
"""Enters a callback for each eager tensor that is given to another library by dlpack.

Without the private name, that is not known to be where a value left TensorFlow.
"""

on_read = _Hook(_read_owner, "variable_accessed").telling
"""Enters a callback for each variable that Python reads.

What TensorFlow reads by itself within another operation goes past it. Without the
private name, that another thread reads a variable is not known.
"""

on_constant = _Hook(_constant_owner, "convert_to_eager_tensor", of_result=True).telling
"""Enters a callback for each eager tensor made of Python or NumPy values.

Python numbers given to an operation go past it. Without the private name, tensors of
other threads are not told from constants: what comes through them is `unused`.
"""


def _eager_classes() -> tuple[type, ...]:
    try:
        from tensorflow.python.framework import ops

        return tuple(ops.EagerTensor.__mro__)
    except (ImportError, AttributeError):
        return ()


def keras_variables(found: list[Any]) -> dict[int, Any]:
    """Returns the Keras variables around TensorFlow variables, by the id of these.

    Keras has no way back, so this looks at who refers to them. Without the private
    name, they go by TensorFlow's names, and frozen ones are not told apart.
    """
    if "keras" not in sys.modules or not found:
        return {}
    wanted = {id(variable) for variable in found}
    owners: dict[int, Any] = {}
    for holder in gc.get_referrers(*found):
        for owner in gc.get_referrers(holder) if isinstance(holder, dict) else (holder,):
            value = getattr(owner, "_value", None)
            if id(value) in wanted and hasattr(owner, "path"):
                owners[id(value)] = owner
    return owners
