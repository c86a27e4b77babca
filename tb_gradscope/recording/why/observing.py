"""Which eager steps are observed: the first of each tape, and one more where that was not enough.

A program may end right after its first gradient, so its cause must be known by then.
A step ends where one of its tapes is entered again: what runs between two tapes is seen
too, for the second may use it. All other steps run untouched: entering a tape costs a
look into a set.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Hashable, Iterator

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.why.observer import MOST_BETWEEN, MOST_OPERATIONS, Observer
from tb_gradscope.recording.why.windows import OPEN, TapeLog

_MOST_SITES = 10_000
_MOST_ROUNDS = 64


class _Here(threading.local):
    """What one thread observes.

    Attributes:
      observer: at work, or None.
      open: logs of the tapes entered since, and not yet asked.
      sites: where they were entered.
      is_ours: what runs now is not the program's.
    """

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.open: list[weakref.ref[TapeLog]] = []
        self.sites: set[Hashable] = set()
        self.is_ours = False


_here = _Here()
_observed: set[Hashable] = set()
_rounds: dict[Hashable, int] = {}
_recordings = 0
# Of all threads: some end in the midst of a step.
_at_work: weakref.WeakSet[Observer] = weakref.WeakSet()


def begin() -> None:
    """Begins to observe this thread, because a recording has begun."""
    global _recordings
    _recordings += 1
    _observed.clear()
    _rounds.clear()
    _stop()
    if tf.executing_eagerly():
        _start()


def end() -> None:
    """Ends observing, because a recording has ended."""
    global _recordings
    _recordings -= 1
    _stop()
    if _recordings == 0:
        for observer in list(_at_work):
            with contained("observing an eager step"):
                observer.abandon()
        _at_work.clear()


def entered(log: TapeLog) -> None:
    """Notes that a tape was entered, and decides whether its step is observed."""
    if tf.executing_eagerly():
        frame = sys._getframe(2)
        _observe_step(log, (frame.f_code, frame.f_lasti, _replica()))
    elif _here.observer is not None and not _open():  # the steps are in a graph
        _stop()
    log.note(OPEN)


def _observe_step(log: TapeLog, site: Hashable) -> None:
    if _here.observer is not None and site in _here.sites:
        _stop()  # a step later, and some tape was never asked
        return
    if _here.observer is None or not _here.observer.is_on:
        if site in _observed or not _is_recording():
            return
        _stop()
        _start(since_tape=True)
    if _here.observer is None:
        return
    _here.observer.most = MOST_OPERATIONS
    if len(_observed) < _MOST_SITES:
        _observed.add(site)
    _here.sites.add(site)
    log.observer = _here.observer
    _here.open.append(weakref.ref(log))


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Keeps what is computed inside from being taken for the program's."""
    before, _here.is_ours = _here.is_ours, True
    try:
        yield
    finally:
        _here.is_ours = before


def asked(log: TapeLog, call: Hashable, is_settled: bool) -> None:
    """Decides whether to go on, once a tape was asked.

    Args:
      log: of the tape.
      call: which call asked it.
      is_settled: no cause is left open.
    """
    if not is_settled and not gives_up(call):
        _rounds[call] = _rounds.get(call, 0) + 1
        _stop()
        _start()
        return
    _here.open = [weakref.ref(other) for other in _open() if other is not log or log.is_open]
    if not _here.open and _here.observer is not None:
        # The next tape of this step may use what is computed until then.
        observer = _here.observer
        observer.most = min(observer.most, observer.count + MOST_BETWEEN)


def _open() -> list[TapeLog]:
    """Returns the tapes entered and not asked that there still are."""
    return [log for reference in _here.open if (log := reference()) is not None]


def gives_up(call: Hashable) -> bool:
    """Tells whether no further step is observed to find the causes of a call."""
    return _rounds.get(call, 0) >= _MOST_ROUNDS


def _replica() -> int | None:
    """Returns which replica runs here: each is observed on its own."""
    if not tf.distribute.has_strategy():
        return None
    context = tf.distribute.get_replica_context()
    with contextlib.suppress(NotImplementedError):
        return None if context is None else internals.replica_index(context)
    return None


def _is_recording() -> bool:
    return _recordings > 0 or internals.default_summary_writer() is not None


def _start(since_tape: bool = False) -> None:
    with contained("observing an eager step"):
        observer = Observer(lambda: _here.is_ours, since_tape)
        if observer.start():
            _at_work.add(observer)
            _here.observer, _here.open, _here.sites = observer, [], set()


def _stop() -> None:
    observer, _here.observer = _here.observer, None
    _here.open, _here.sites = [], set()
    if observer is not None:
        _at_work.discard(observer)
        with contained("observing an eager step"):
            observer.stop()
