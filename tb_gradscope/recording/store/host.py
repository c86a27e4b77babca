"""The thread that writes: training threads hand their records over and go on.

A thread of its own has no gradient tape, device scope, distribution strategy or
graph under construction, so that variables can be created and summaries written
there at any moment, also while a `tf.function` is being traced.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from tb_gradscope.recording.failure import contained

_T = TypeVar("_T")

DRAIN_SECONDS = 0.5
"""How long a record may lie in memory before it is written."""

_EXIT_SECONDS = 60.0


class Source(Protocol):
    """Something that gathers records and must be emptied now and then."""

    def drain(self) -> None:
        """Writes what has gathered. Called on the host thread only."""


class Host:
    """Runs functions in order on one background thread, and drains sources."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._sources: weakref.WeakSet[Source] = weakref.WeakSet()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = 0

    def call(self, function: Callable[[], _T]) -> _T:
        """Runs `function` on the thread and returns what it returns, or raises what it raises."""
        if threading.current_thread() is self._thread:
            return function()
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.post(run)
        return future.result()

    def post(self, function: Callable[[], None]) -> None:
        """Runs `function` on the thread, later."""
        self._ensure_started()
        self._queue.put(function)

    def add(self, source: Source) -> None:
        """Drains `source` regularly for as long as somebody else holds it."""
        self.call(lambda: self._sources.add(source))

    def remove(self, source: Source) -> None:
        """Stops draining `source`."""
        self.call(lambda: self._sources.discard(source))

    def drain(self, timeout: float | None = None) -> None:
        """Waits until everything handed over so far is written, `timeout` seconds at most."""
        if self._thread is None or self._process != os.getpid():
            return
        if threading.current_thread() is self._thread:
            self._drain_sources()
            return
        done = threading.Event()

        def run() -> None:
            self._drain_sources()
            done.set()

        self.post(run)
        done.wait(timeout)

    def _ensure_started(self) -> None:
        if self._process == os.getpid():
            return
        with self._start_lock:
            if self._process == os.getpid():
                return
            # Also after a fork: the thread stayed behind in the parent process.
            self._queue = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, name="gradscope", daemon=True)
            self._thread.start()
            self._process = os.getpid()

    def _run(self) -> None:
        last_drain = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                task = self._queue.get(timeout=DRAIN_SECONDS if len(self._sources) else None)
                with contained("writing"):
                    task()
                del task  # it may hold the last reference to a recorder
            if time.monotonic() - last_drain >= DRAIN_SECONDS:
                self._drain_sources()
                last_drain = time.monotonic()

    def _drain_sources(self) -> None:
        for source in list(self._sources):
            with contained("writing records"):
                source.drain()


HOST = Host()


def _drain_at_exit() -> None:
    with contained("writing the last records"):
        HOST.drain(timeout=_EXIT_SECONDS)


atexit.register(_drain_at_exit)
# Children of multiprocessing leave without running atexit functions.
try:
    from multiprocessing import util as _multiprocessing

    _multiprocessing.Finalize(None, _drain_at_exit, exitpriority=100)
except (ImportError, AttributeError):
    pass
