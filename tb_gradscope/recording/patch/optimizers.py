"""Makes every Keras optimizer of a program one that is watched, from its first step on."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.optimizer.internals import inner_of
from tb_gradscope.recording.optimizer.watched import watch_optimizer

# What a training step calls first on its optimizer, in the order of a step.
_METHODS = ("scale_loss", "apply_gradients", "apply")


def is_keras_there() -> bool:
    """Tells whether the program has imported Keras, which is never imported for this."""
    return hasattr(getattr(sys.modules.get("keras"), "optimizers", None), "Optimizer")


def install_optimizers(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Lets Keras' optimizers be watched once they are used.

    Args:
      is_wanted: asked until an optimizer is watched.

    Returns:
      What puts Keras' own methods back. What is watched stays so.
    """
    places = [(cls, name) for cls in _keras_classes() for name in _METHODS if name in vars(cls)]
    originals = [vars(cls)[name] for cls, name in places]
    seen: weakref.WeakSet[Any] = weakref.WeakSet()
    ours = [
        _watching(name, original, is_wanted, seen)
        for (_, name), original in zip(places, originals, strict=True)
    ]
    for (cls, name), one in zip(places, ours, strict=True):
        setattr(cls, name, one)

    def remove() -> None:
        for (cls, name), original, one in zip(places, originals, ours, strict=True):
            if vars(cls).get(name) is one:
                setattr(cls, name, original)

    return remove


def _keras_classes() -> list[type]:
    """Returns the classes of Keras' optimizers and what they inherit from."""
    found = vars(sys.modules["keras"].optimizers).values()
    classes = {
        base: None
        for cls in found
        if isinstance(cls, type)
        for base in cls.__mro__
        if base.__module__.startswith("keras.")
    }
    return list(classes)


def _watching(
    name: str,
    original: Callable[..., Any],
    is_wanted: Callable[[], bool],
    seen: weakref.WeakSet[Any],
) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self in seen or not is_wanted():
            return original(self, *args, **kwargs)
        seen.add(self)
        inner = inner_of(self)
        if inner is not None:  # watched together with what is around it
            seen.add(inner)
        before = vars(self).get(name)
        with contained("watching an optimizer"):
            watch_optimizer(self)
        after = vars(self).get(name)
        # Watching has put a method into the object, which this very call has passed by. One of
        # the program's own class, that calls this one, must not run twice.
        if after is not before and getattr(type(self), name) is method:
            return after(*args, **kwargs)
        return original(self, *args, **kwargs)

    return method
