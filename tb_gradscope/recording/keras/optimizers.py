"""The optimizers of a model, watched while its step runs and at no other time."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import keras

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.keras.shared import WhileNeeded
from tb_gradscope.recording.optimizer.internals import inner_of
from tb_gradscope.recording.optimizer.watched import set_watch, watch_of, watch_optimizer

_COMPILED = "optimizer"
_NOTHING = object()

# What watching has put into an optimizer: its own methods, and those of the one inside.
_methods: weakref.WeakKeyDictionary[Any, list[dict[str, Any]]] = weakref.WeakKeyDictionary()
_watches: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()
_attributes: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def watching_optimizers(model: Any) -> Iterator[None]:
    """Watches the optimizers that a model holds: that of `compile`, and attributes of its own."""
    with contextlib.ExitStack() as watched:
        with contained("watching the optimizers of a model"):
            for attribute, value in list(vars(model).items()):
                if isinstance(value, keras.optimizers.Optimizer):
                    _attributes.setdefault(value, attribute)
                    watched.enter_context(_WATCHED.changed(value))
        yield


def _watch(optimizer: Any) -> contextlib.ExitStack:
    undo = contextlib.ExitStack()
    if watch_of(optimizer) is not None:
        return undo  # by the program itself, for good
    inner = inner_of(optimizer)
    every = [optimizer] if inner is None else [optimizer, inner]
    before = [dict(vars(one)) for one in every]
    if optimizer in _methods:
        for one, methods, watch in zip(
            every, _methods[optimizer], _watches[optimizer], strict=True
        ):
            vars(one).update(methods)
            set_watch(one, watch)
    else:
        attribute = _attributes[optimizer]
        watch_optimizer(optimizer, name=None if attribute == _COMPILED else attribute)
        _methods[optimizer] = [
            {name: value for name, value in vars(one).items() if was.get(name) is not value}
            for one, was in zip(every, before, strict=True)
        ]
        _watches[optimizer] = [watch_of(one) for one in every]
    for one, was, methods in zip(every, before, _methods[optimizer], strict=True):
        undo.callback(set_watch, one, None)
        for name in methods:
            undo.callback(_put_back, one, name, was.get(name, _NOTHING))
    return undo


def _put_back(optimizer: Any, name: str, value: Any) -> None:
    if value is _NOTHING:
        vars(optimizer).pop(name, None)
    else:
        vars(optimizer)[name] = value


_WATCHED = WhileNeeded(_watch)
