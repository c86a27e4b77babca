"""Methods of one optimizer that tell us what it does, and change nothing else.

They are put into the object itself, under the method's name: its class, its
configuration, its variables and what saves them stay Keras' own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
After = Callable[[Any, Any, Any], None]
Failed = Callable[[Any], None]


def hook(
    optimizer: Any,
    name: str,
    before: Before | None = None,
    after: After | None = None,
    failed: Failed | None = None,
) -> bool:
    """Lets functions run before and after a method of one optimizer.

    Args:
      optimizer: kept alive by what is put into it, as a bound method would, until Python
        looks for cycles.
      name: of the method.
      before: gets the optimizer and the arguments, as a tuple and a dict; must not raise.
      after: gets the optimizer, the result and what `before` returned; must not raise.
      failed: called where the method itself raises; must not raise.

    Returns:
      False if there is no such method.
    """
    method = getattr(type(optimizer), name, None)
    if method is None:
        return False
    original = vars(optimizer).get(name)  # somebody else's

    @tf.autograph.experimental.do_not_convert
    def prepare(optimizer: Any, args: Any, kwargs: Any) -> Any:
        return None if before is None else before(optimizer, args, kwargs)

    @tf.autograph.experimental.do_not_convert
    def conclude(optimizer: Any, result: Any, prepared: Any) -> None:
        if after is not None:
            after(optimizer, result, prepared)

    @tf.autograph.experimental.do_not_convert
    def abandon(optimizer: Any) -> None:
        if failed is not None:
            failed(optimizer)

    def hooked(*args: Any, **kwargs: Any) -> Any:
        prepared = prepare(optimizer, args, kwargs)
        try:
            if original is None:
                result = method(optimizer, *args, **kwargs)
            else:
                result = original(*args, **kwargs)
        except BaseException:
            abandon(optimizer)
            raise
        conclude(optimizer, result, prepared)
        return result

    if getattr(method, "__module__", "").split(".")[0] == "keras":
        # A method of the program's own may need autograph; Keras' do not.
        hooked = tf.autograph.experimental.do_not_convert(hooked)
    vars(optimizer)[name] = functools.update_wrapper(hooked, method)
    return True
