"""Makes every `tf.GradientTape` one that records, under whatever name it was imported."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.patch.caller import calling_frame
from tb_gradscope.recording.tape.tape import GradientTape


def install_tape(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Lets tapes record that the program makes from now on.

    The class stays the same object, only its `__init__` is another: names that
    other modules imported before lead to it as well.

    Args:
      is_wanted: asked for each new tape.

    Returns:
      What puts TensorFlow's own `__init__` back, unless somebody else has put
      theirs over ours.
    """
    original = tf.GradientTape.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if isinstance(self, GradientTape) or not is_wanted() or calling_frame(1) is None:
            return
        with contained("recording a tf.GradientTape"):
            self.__class__ = _recording(type(self))  # type: ignore[arg-type]
            GradientTape.__init__(self, *args, **kwargs)

    def remove() -> None:
        if tf.GradientTape.__init__ is __init__:
            tf.GradientTape.__init__ = original

    tf.GradientTape.__init__ = __init__
    return remove


@functools.cache
def _recording(cls: type) -> type:
    """Returns the class of a tape that records: of a program's own subclass, a subclass."""
    if cls is tf.GradientTape:
        return GradientTape
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return types.new_class(cls.__name__, (cls, GradientTape), exec_body=lambda ns: ns.update(names))
