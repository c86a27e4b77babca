"""What all rules say together: once for all replicas, and not of what follows from a fault."""

from __future__ import annotations

import dataclasses

import pytest

from tb_gradscope.diagnose.judge import findings
from tests.diagnose import histories

NAN = float("nan")


def broken(step, count=20):
    norms = histories.noise(count, 3)
    norms[step:] = NAN
    return norms


def replica(number, norms, count=3):
    label = dataclasses.replace(histories.LABEL, replicas=count, replica=number)
    return histories.loss(norms, label=label)


def test_what_all_replicas_have_is_said_once():
    run = histories.run(*(replica(number, broken(12)) for number in (0, 1, 2, -1)))
    (one,) = findings(run)
    assert "The gradient of loss (all 3 replicas) is not finite" in one.message


def test_replicas_are_named_where_not_all_have_it():
    healthy = replica(1, histories.noise(20, 3))
    late, early = replica(0, broken(12)), replica(2, broken(9))
    (one,) = findings(histories.run(late, healthy, early))
    assert "loss (replicas 0 and 2 of 3, replica 2 first)" in one.message
    assert one.span.first == 9


def test_one_replica_speaks_for_what_is_reduced_over_all():
    healthy = [replica(number, histories.noise(20, 3)) for number in (0, 2)]
    run = histories.run(*healthy, replica(1, broken(12)), replica(-1, broken(12)))
    (one,) = findings(run)
    assert "loss (replica 1)" in one.message


def test_what_only_the_reduced_gradient_has():
    healthy = [replica(number, histories.noise(20, 3)) for number in (0, 1, 2)]
    (one,) = findings(histories.run(*healthy, replica(-1, broken(12))))
    assert "loss (reduced over replicas)" in one.message


def half_broken(zeros_from):
    norms = histories.noise(30, 3)
    norms[12:, 0] = NAN
    norms[zeros_from:, 1] = 0
    return histories.run(histories.loss(norms))


def test_zeros_that_come_of_nan_are_no_finding():
    assert [one.kind for one in findings(half_broken(12))] == ["nan"]


@pytest.mark.parametrize("step", [0, 5])
def test_zeros_before_a_nan_are(step):
    assert [one.kind for one in findings(half_broken(step))] == ["nan", "zero"]


def test_the_worst_comes_first_then_the_earliest():
    died = histories.noise(40, 2)
    died[5:, 0] = 0
    run = histories.run(histories.loss(died, "a"), histories.loss(broken(20, 40)[:, :2], "b"))
    assert [one.kind for one in findings(run)] == ["nan", "zero"]
