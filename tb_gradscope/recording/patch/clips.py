"""Makes TensorFlow's clip functions record, wherever a module holds them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.clipping import functions as clipping
from tb_gradscope.recording.patch.caller import calling_frame
from tb_gradscope.recording.tape import place
from tb_gradscope.recording.tape.origins import ORIGINS

_NAMES = ("clip_by_norm", "clip_by_value", "clip_by_global_norm")
_OWN = "tb_gradscope"


def install_clips(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Replaces the functions in all modules that hold them.

    Args:
      is_wanted: asked in each call: a reference that no module holds may stay.

    Returns:
      What puts TensorFlow's own back, in modules imported meanwhile as well.
    """
    originals, ours = _functions(is_wanted)
    _replace(originals, ours, list(sys.modules))
    return lambda: _replace(ours, originals, list(sys.modules))


def install_clips_for_a_step(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Does the same, quickly enough for each step of eager code.

    All modules are looked through only where there are more or fewer of them than at
    the last time; else those that held a clip function then, and the program's main one.
    """
    originals, ours = _functions(is_wanted)
    modules = _holding(originals)
    _replace(originals, ours, modules)
    return lambda: _replace(ours, originals, modules)


def _functions(is_wanted: Callable[[], bool]) -> tuple[list[Any], list[Any]]:
    originals = [getattr(tf, name) for name in _NAMES]
    pairs = zip(_NAMES, originals, strict=True)
    return originals, [_recording(name, original, is_wanted) for name, original in pairs]


def _recording(
    name: str, original: Callable[..., Any], is_wanted: Callable[[], bool]
) -> Callable[..., Any]:
    recorded = getattr(clipping, name)

    @tf.autograph.experimental.do_not_convert
    @functools.wraps(original)
    def clip(*args: Any, **kwargs: Any) -> Any:
        if is_wanted() and _is_of_gradients(name, args, kwargs) and _is_programs():
            return recorded(*args, **kwargs)
        return original(*args, **kwargs)

    return clip  # type: ignore[no-any-return]


def _is_of_gradients(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tells whether it is gradients that are clipped, as far as that can be known.

    `clip_by_global_norm` is there for them. The others also clip images,
    probabilities and actions.
    """
    if name == "clip_by_global_norm":
        return True
    clipped = args[0] if args else kwargs.get("t")
    return clipped is not None and ORIGINS.of(clipped) is not None


def _is_programs() -> bool:
    """Tells the program's own clipping from that of Keras, which is its optimizers'."""
    frame = calling_frame(2)
    return frame is not None and not place.is_keras(frame)


def _holding(functions: list[Any]) -> list[str]:
    global _known
    modules, holding = _known
    if modules != len(sys.modules):
        holding = [name for name in list(sys.modules) if any(_names_of(functions, name))]
        _known = len(sys.modules), holding
    return [*holding, "__main__"]


_known: tuple[int, list[str]] = 0, []


def _replace(old: list[Any], new: list[Any], modules: list[str]) -> None:
    for module in modules:
        for name, position in list(_names_of(old, module)):
            setattr(sys.modules[module], name, new[position])


def _names_of(functions: list[Any], module: str) -> Iterator[tuple[str, int]]:
    """Yields each name that a module has for one of the functions, and which one."""
    if module.partition(".")[0] == _OWN:
        return
    by = {id(function): position for position, function in enumerate(functions)}
    for name, value in list(getattr(sys.modules.get(module), "__dict__", {}).items()):
        position = by.get(id(value))
        if position is not None and value is functions[position]:
            yield name, position
