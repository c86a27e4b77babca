"""Where records go: into a log directory of ours, or the program's own summary writer."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import tensorflow as tf

from tb_gradscope.diagnose.finding import Finding, Severity
from tb_gradscope.recording import internals, step
from tb_gradscope.recording.distribution.worker import directory_of_this_worker
from tb_gradscope.recording.failure import contained, say_once
from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.live import Live
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.writer import Writer
from tb_gradscope.recording.why import observing, watched

_FILE_SUFFIX = ".gradscope"

_here: contextvars.ContextVar[tuple[Recorder, ...]] = contextvars.ContextVar(
    "gradscope_recorders", default=()
)
_everywhere: list[DirectoryRecorder] = []
_opened: dict[str, int] = {}
_recorded_into: set[str] = set()


def record(
    logdir: str | os.PathLike[str],
    every: int | str = "auto",
    *,
    sentinel: bool = True,
    on_finding: Callable[[Finding], None] | None = None,
    stop_on: Severity | None = None,
    on_error: str = "warn",
) -> DirectoryRecorder:
    """Records gradients and clipping while the returned object is entered.

        with gs.record("logs/run1", every=10):
            for x, y in data:
                train_step(x, y)

    A `tf.function` records where it was first traced, as `tf.summary` does: enter
    before the first call. Once that recording has ended, the function records
    into the next one that is entered.

    Args:
      logdir: the directory of this run; TensorBoard's `--logdir` or one below.
      every: N to record every N-th call of each loss in full, or "auto": densely
        at first and ever more sparsely, so that logs stay small.
      sentinel: look at the calls that are not due as well, in one cheap pass, and
        record those in full in which a gradient turns to NaN or Inf or a norm
        leaves its own recent range. In a graph whose gradients are more than
        16 MiB (or have no known shape), of the large ones that are well only
        state and norm: to measure more would be to hold them until all are there.
      on_finding: called, on a thread of ours, with each new `Finding` of severity
        error or warning. The first errors are logged ("tb_gradscope") in any case.
      stop_on: "error" or "warning" sets `should_stop` of what is returned at the
        first such finding; it is for the training loop to look at. Records are
        judged when they are written, half a second after the step at the latest.
      on_error: "warn" to warn once and let training go on when recording fails;
        "raise" for tests.

    Raises:
      TypeError: `logdir` is no path, `sentinel` neither True nor False, or
        `on_finding` no function.
      ValueError: `every`, `stop_on` or `on_error` has a value not named above.
    """
    return DirectoryRecorder(
        logdir,
        every,
        sentinel=sentinel,
        on_finding=on_finding,
        stop_on=stop_on,
        on_error=on_error,
    )


class DirectoryRecorder(Recorder):
    """What `gs.record` returns: records into event files of its own in a directory.

    While entered, tapes and clip functions of this thread, and of threads
    without a recorder of their own, record here. It may be entered again later
    and then goes on in the same directory.

    Attributes:
      warns_if_empty: say so if nothing was recorded at all.
      logdir: the directory; workers other than the chief record below it.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        every: int | str = "auto",
        *,
        sentinel: bool = True,
        on_finding: Callable[[Finding], None] | None = None,
        stop_on: Severity | None = None,
        on_error: str = "warn",
    ) -> None:
        if not isinstance(logdir, str | os.PathLike):
            raise TypeError(
                f"gs.record({logdir!r}): expected the path of a log directory, "
                f"found {type(logdir).__name__}."
            )
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error={on_error!r}: expected 'warn' or 'raise'.")
        if not isinstance(sentinel, bool):
            raise TypeError(
                f"gs.record(sentinel={sentinel!r}): expected True or False, "
                f"found {type(sentinel).__name__}."
            )
        live = Live(on_finding, stop_on)
        super().__init__(cadence.parse_every(every), on_error, sentinel=sentinel, live=live)
        self.warns_if_empty = True
        self.logdir = os.fspath(logdir)
        if not self.logdir:
            raise ValueError("gs.record(''): expected the path of a log directory.")

    @property
    def should_stop(self) -> bool:
        """True once there was a finding of the severity given as `stop_on`, until entered again."""
        return self.live.stopping is not None

    _entered_in: int | None = None

    def __enter__(self) -> DirectoryRecorder:
        if self.is_recording:
            raise RuntimeError(
                f"gs.record({self.logdir!r}) is entered already; leave it first, or make another."
            )
        if self.on_error == "warn" and os.path.isfile(self.logdir):
            say_once(
                f"gs.record({self.logdir!r}) records nothing: that is a file, expected a "
                "directory. Training goes on."
            )
        else:
            self._warn_if_steps_begin_again()
            with contained(f"opening an event file in {self.logdir!r}", self.on_error):
                self.open()
        self._entered_in = threading.get_ident()
        _here.set((*_here.get(), self))
        _everywhere.append(self)
        observing.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        observing.end()
        watched.end(self, error)
        _here.set(tuple(recorder for recorder in _here.get() if recorder is not self))
        if self in _everywhere:
            _everywhere.remove(self)
        was_recording = self.is_recording
        with contained(f"closing the event file in {self.logdir!r}", self.on_error):
            self.close()
        if self.has_recorded:
            _recorded_into.add(os.path.abspath(self.logdir))
        if error is None and was_recording and not self.has_recorded and self.warns_if_empty:
            say_once(
                f"gs.record({self.logdir!r}) recorded nothing: no gradient() of a gs.GradientTape "
                "and no clip function was called in it. A tf.function records where it was first "
                "traced: was it called before?"
            )

    def _warn_if_steps_begin_again(self) -> None:
        is_same = os.path.abspath(self.logdir) in _recorded_into and not self.has_recorded
        if is_same and not step.is_users():
            say_once(
                f"gs.record({self.logdir!r}): this process has recorded into that directory "
                "already. Steps are counted from 0 again, and what was recorded before is no "
                "longer shown from there on. To go on, keep what gs.record returned and enter it "
                "again; for another training, name another directory."
            )

    def open(self) -> None:
        """Begins to write, into a new event file."""
        tf.io.gfile.makedirs(self.logdir)
        HOST.call(lambda: self._start(Writer(self._opened), takes_over=True))

    def close(self) -> None:
        """Writes what is left and closes the file."""
        HOST.call(self._close)

    def _opened(self) -> Any:
        directory = directory_of_this_worker(self.logdir)
        _wait_for_a_later_file_name(directory)
        return tf.summary.create_file_writer(directory, filename_suffix=_FILE_SUFFIX)

    def _close(self) -> None:
        writer = self._stop()
        if writer is not None:
            writer.close()


def _wait_for_a_later_file_name(directory: str) -> None:
    """Lets the second pass in which a file was opened in this directory.

    The names of event files begin with the second, and end with a number
    that is not padded: within one second, file 10 is read before file 9.
    """
    here = os.path.abspath(directory)
    while _opened.get(here) == int(time.time()):
        time.sleep(0.05)
    _opened[here] = int(time.time())


class WriterRecorder(Recorder):
    """Records into a summary writer that belongs to the program."""

    def __init__(self, summary_writer: Any) -> None:
        super().__init__(cadence.AUTO, "warn", honours_record_if=True)
        HOST.call(lambda: self._start(Writer(lambda: summary_writer), takes_over=False))
        run_before(summary_writer, "flush", self.flush)
        run_before(summary_writer, "close", lambda: HOST.call(self._stop))

    @property
    def every(self) -> int:
        """Every call where `tf.summary.record_if` is set: then that is the cadence."""
        return 1 if internals.is_record_if_set() else super().every


def current(given: Recorder | None) -> Recorder | None:
    """Returns where to record here and now, or None for nowhere, which is said once.

    The recorder given; else the innermost `gs.record`; else the default writer
    of `tf.summary`.
    """
    recorder = current_if_any(given)
    # What is there and does not record has said why, or was left.
    if recorder is None and not _is_any(given):
        say_once(
            "tb_gradscope records nowhere: neither gs.record(...) nor a default tf.summary writer "
            'is active. Put `with gs.record("logs/run1"):` around the training loop, before a '
            "tf.function with the tape in it is first called."
        )
    return recorder


def current_if_any(given: Recorder | None) -> Recorder | None:
    """Returns the same as `current`, and says nothing."""
    if given is not None:
        return given if given.is_recording else None
    found = _innermost()
    if found is not None or _everywhere:
        return found
    summary_writer = internals.default_summary_writer()
    return None if summary_writer is None else _recorder_of(summary_writer)


def _is_any(given: Recorder | None) -> bool:
    is_ours = given is not None or bool(_everywhere)
    return is_ours or internals.default_summary_writer() is not None


@contextlib.contextmanager
def within(recorder: Recorder) -> Iterator[None]:
    """Makes a recorder the innermost one of what is called from here, and of nothing else."""
    token = _here.set((*_here.get(), recorder))
    try:
        yield
    finally:
        _here.reset(token)


def _innermost() -> Recorder | None:
    for entered in (_here.get(), _behind_replicas(), _everywhere):
        for recorder in reversed(entered):
            if recorder.is_recording:
                return recorder
    return None


def _behind_replicas() -> list[DirectoryRecorder]:
    """Returns those entered in the thread that waits for this one, which runs a replica."""
    if len(_everywhere) < 2:
        return []
    waiting = internals.thread_behind_replicas()
    return [recorder for recorder in _everywhere if recorder._entered_in == waiting]


def _recorder_of(summary_writer: Any) -> Recorder | None:
    found: Recorder | None = getattr(summary_writer, "_gradscope_recorder", None)
    if found is None:
        with contained("using the default tf.summary writer"):
            # Kept by the writer, so that both go together.
            found = summary_writer._gradscope_recorder = WriterRecorder(summary_writer)
    return found if found is not None and found.is_recording else None


def run_before(summary_writer: Any, name: str, action: Any) -> None:
    """Makes a method of this one writer run `action` first: records must not come too late."""
    method = getattr(summary_writer, name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            with contained(f"writing before {name}()"):
                action()
        return method(*args, **kwargs)

    setattr(summary_writer, name, wrapped)
