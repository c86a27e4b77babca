"""Changes to an object that last for as long as any thread needs them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class WhileNeeded:
    """Changes an object when the first thread enters, and changes it back with the last.

    Replicas of one training run in threads that take turns: changes that each
    of them made and undid by itself would be undone in the wrong order.

    Args:
      change: changes an object; closing what it returns undoes that.
    """

    def __init__(self, change: Callable[[Any], contextlib.ExitStack]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._users: dict[int, int] = {}
        self._undo: dict[int, contextlib.ExitStack] = {}

    @contextlib.contextmanager
    def changed(self, owner: Any) -> Iterator[None]:
        """Keeps an object changed."""
        with self._lock:
            if not self._users.get(id(owner)):
                self._undo[id(owner)] = self._change(owner)
            self._users[id(owner)] = self._users.get(id(owner), 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._users[id(owner)] -= 1
                if not self._users[id(owner)]:
                    del self._users[id(owner)]
                    self._undo.pop(id(owner)).close()
