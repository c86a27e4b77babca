"""What happens when recording fails: one warning, and training goes on."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

from tb_gradscope.recording.tape import place

_LOGGER = logging.getLogger("tb_gradscope")
_said: set[str] = set()
_lock = threading.Lock()


class GradscopeWarning(UserWarning):
    """Something could not be recorded. Training itself is not touched."""


def say_once(text: str) -> None:
    """Warns at the user's line, unless this very text was said before in this process."""
    with _lock:
        if text in _said:
            return
        _said.add(text)
    caller = place.find_caller()
    try:
        warnings.warn_explicit(text, GradscopeWarning, caller.file, caller.line)
    except GradscopeWarning:  # warnings are errors here, but a training step must not fail
        _LOGGER.warning(text)


def forget_said() -> None:
    """Lets everything be said again; for tests."""
    with _lock:
        _said.clear()


@contextlib.contextmanager
def contained(what: str, on_error: str = "warn") -> Iterator[None]:
    """Runs a block whose failure must not reach the training program.

    Args:
      what: what is being done, for the warning: "recording the gradients of 'loss'".
      on_error: "warn", or "raise" to let the error through.
    """
    try:
        yield
    except Exception as error:
        if on_error == "raise":
            raise
        _LOGGER.debug("tb_gradscope failed %s", what, exc_info=True)
        say_once(
            f"tb_gradscope: {what} failed with {type(error).__name__}: {_first_line(error)} "
            "Training goes on, this is not recorded. Use gs.record(..., on_error='raise') "
            "to see where it comes from."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else "(no text)").rstrip(".") + "."
