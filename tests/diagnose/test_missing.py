"""None: error, warning or only said, by who else reaches the variable and when."""

from __future__ import annotations

import numpy as np

from tb_gradscope.diagnose.missing import missing
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import Cause
from tests.diagnose import histories


def found(*losses, **parts):
    return list(missing(histories.run(*losses, **parts), Thresholds()))


def test_a_variable_that_another_loss_reaches_is_only_said():
    one = histories.loss([[1.0, None]] * 8, name="one")
    two = histories.loss([[1.0, 1.0]] * 8, name="two")
    (finding,) = found(one, two)
    assert (finding.kind, finding.severity, finding.cause) == ("none", "info", "unknown")
    assert (finding.loss, finding.other_loss, finding.variables) == ("one", "two", ("v1",))
    assert (finding.span.pattern, finding.span.count) == ("all", 8)


def test_a_variable_that_no_loss_reaches_is_a_warning():
    (finding,) = found(histories.loss([[1.0, None]] * 8))
    assert finding.severity == "warning"
    assert finding.other_loss is None


def test_everything_none_is_an_error():
    (finding,) = found(histories.loss([[None, None]]))
    assert finding.severity == "error"
    assert finding.variables == ("v0", "v1")


def test_now_and_then_is_only_said():
    rows = [[1.0, None if step % 3 else 1.0] for step in range(9)]
    (finding,) = found(histories.loss(rows))
    assert (finding.severity, finding.span.pattern) == ("info", "intermittent")


def test_from_a_step_on_is_a_warning():
    rows = [[1.0, None if step >= 5 else 1.0] for step in range(9)]
    (finding,) = found(histories.loss(rows))
    assert (finding.severity, finding.span.pattern, finding.span.first) == ("warning", "from", 5)


def test_a_crash_while_tracing_has_no_numbers_and_says_it_all_the_same():
    made = histories.loss(
        [[None, None, 1.0]],
        traced_only=True,
        records=0,
        asked=np.zeros(3, np.int64),
        calls=np.zeros(1, np.int64),
    )
    (finding,) = found(made)
    assert (finding.severity, finding.variables) == ("warning", ("v0", "v1"))


def test_heads_of_other_tasks_are_told_in_one_finding_for_each_loss():
    rows = [[1.0 if head == task else None for head in range(5)] for task in range(5)]
    told = found(*(histories.loss([row] * 8, name=f"task{task}") for task, row in enumerate(rows)))
    assert [(one.loss, len(one.variables), one.severity) for one in told] == [
        (f"task{task}", 4, "info") for task in range(5)
    ]
    assert told[0].message.endswith("; task1 and 3 more do reach them.")


def test_statistics_are_nothing_to_learn():
    variables = [
        histories.variable("norm/gamma"),
        histories.variable("norm/moving_mean", trainable=False),
        histories.variable("table", trainable=False),
    ]
    reads_all = Cause("not_watched", (1, 2), None, "", "not_trainable", None, 0)
    told = found(histories.loss([[1.0, None, None]] * 8, causes=(reads_all,)), variables=variables)
    assert {one.variables: one.severity for one in told} == {
        ("norm/moving_mean",): "info",
        ("table",): "warning",
    }
