"""`check`: one training step, judged at once; for notebooks and unit tests."""

from __future__ import annotations

import dataclasses
import html
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tb_gradscope.diagnose.finding import Finding
    from tb_gradscope.format.history import RunHistory

_COLOURS = {"error": "#c5221f", "warning": "#b06000", "info": "#1967d2"}


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """What one step showed. Prints itself well in a terminal and in a notebook.

    Attributes:
      findings: what is wrong, worst first.
      run: all that was recorded, None if nothing was.
      error: what the step raised, None if it did not.
      result: what the step returned.
      problem: why nothing could be judged, or "".
    """

    findings: tuple[Finding, ...]
    run: RunHistory | None
    error: Exception | None
    result: Any
    problem: str

    @property
    def ok(self) -> bool:
        """True where the step ran, was recorded, and nothing is worse than info."""
        return (
            not self.problem
            and self.error is None
            and all(finding.severity == "info" for finding in self.findings)
        )

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield self._summary()
        for finding in self.findings:
            yield f"{finding.severity}: {finding.message}"
            if finding.where is not None:
                yield f"    {finding.where.file}:{finding.where.line}  {finding.where.code}"
            yield f"    {finding.advice}"

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self._summary())}</b></p>"]
        for finding in self.findings:
            where = ""
            if finding.where is not None:
                place = f"{finding.where.file}:{finding.where.line}  {finding.where.code}"
                where = f"<br><code>{html.escape(place)}</code>"
            parts.append(
                f'<p><b style="color:{_COLOURS[finding.severity]}">{finding.severity}</b> '
                f"{html.escape(finding.message)}{where}<br>{html.escape(finding.advice)}</p>"
            )
        return "".join(parts)

    def _summary(self) -> str:
        if self.problem:
            return self.problem
        text = "ok" if self.ok else "not ok"
        if self.run is not None:
            losses = ", ".join(dict.fromkeys(loss.name for loss in self.run.losses))
            count = len(self.run.variables)
            text += f": losses {losses or 'none'}; {count} variable{'s' if count != 1 else ''}"
        if self.error is not None:
            text += f"; the step raised {type(self.error).__name__}: {self.error}"
        return text


def check(step: Callable[..., Any], /, *args: Any, variables: Any = None, **kwargs: Any) -> Report:
    """Runs one training step and says at once what is disconnected, zero or not finite.

        def test_gradients_reach_everything():
            report = gs.check(train_step, x, y)
            assert report.ok, str(report)

    The step really runs, once: it trains. Plain `tf.GradientTape`s are seen as well.
    An exception that it raises is in the report, with what was known by then.

    Args:
      step: the training step, eager or a `tf.function` that has not run yet.
      *args: its arguments.
      variables: judge only these, and find fault with those that the step asked
        no gradient for; None for all that it asked for.
      **kwargs: its keyword arguments.

    Returns:
      A report; its `ok` is for `assert`.

    Raises:
      TypeError: `step` cannot be called.
    """
    from tensorflow.nest import flatten

    from tb_gradscope.diagnose import judge
    from tb_gradscope.diagnose.thresholds import Thresholds
    from tb_gradscope.recording.patch.everything import patch
    from tb_gradscope.recording.store.destination import record
    from tb_gradscope.view.load import load

    if not callable(step):
        raise TypeError(f"gs.check({step!r}): expected a function that makes one training step.")
    error, result = None, None
    logdir = tempfile.mkdtemp(prefix="gradscope")
    try:
        recorder = record(logdir, every=1)
        recorder.warns_if_empty = recorder.live.logs = False  # the report says so
        with recorder, patch():
            try:
                result = step(*args, **kwargs)
            except Exception as raised:
                error = raised
        runs = load(logdir).runs
    finally:
        shutil.rmtree(logdir, ignore_errors=True)
    run = next(iter(runs.values()), None)
    if run is None or not run.losses:
        return Report((), run, error, result, _nothing(error))
    findings = judge.findings(run, Thresholds(min_records=1), judge.AT_ONCE)
    if variables is not None:
        wanted = [(recorder.names.of(v), v) for v in flatten(variables)]
        names = {name for name, _ in wanted}
        findings = tuple(one for one in findings if names & set(one.variables))
        findings += tuple(_unrequested(v, run) for name, v in wanted if name is None)
    return Report(findings, run, error, result, "")


def _unrequested(variable: Any, run: RunHistory) -> Finding:
    from tb_gradscope.diagnose.finding import Finding, Span
    from tb_gradscope.recording.tape.sources import own_name

    name = own_name(variable) or "variable"
    return Finding(
        kind="unrequested",
        severity="warning",
        loss=None,
        variables=(name,),
        span=Span(0, 0, "all", 1),
        message=f"{name} was given to gs.check, but the step asked for no gradient of it.",
        advice="Add it to the variables that tape.gradient is called with, if it is to learn.",
        evidence={"threshold": None},
    )


def _nothing(error: Exception | None) -> str:
    text = "not ok: the step asked for no gradient that could be recorded"
    if error is not None:
        return f"{text}; it raised {type(error).__name__}: {error}"
    return f"{text}. A tf.function must not have run before; else pass the Python function itself."
