"""Optimizers: what reached them, what they made of it, and what they left out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.format import messages
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import answers, numbers, updates
from tb_gradscope.view.load import load
from tests.view.logs import Log, Loss, Optimizer

NAN, INF = COUNTED.index(State.NAN), COUNTED.index(State.INF)


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def test_optimizer(history):
    (one,) = history.runs["scaled"].optimizers
    assert (one.name, one.class_name, one.accumulation, one.has_loss_scale) == (
        "adam", "Adam", 1, True,
    )  # fmt: skip
    assert one.steps.tolist() == list(range(10))
    assert one.applied.tolist() == [0, 0, 1, 2, 3, 4, 4, 5, 6, 7]
    assert one.skipped.tolist() == [1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    assert one.skipped_steps.tolist() == [0, 1, 6]
    assert one.loss_scales[[0, 1, 2, 7]].tolist() == [2**15, 2**14, 2**13, 2**12]
    assert np.allclose(one.learning_rates, 0.1)
    assert one.update_norms[6].tolist() == [0, 0]
    np.testing.assert_allclose(one.update_norms[7], [0.003, 0.3])
    assert one.values[6, 0, Statistic.STATE] == State.INF
    assert repr(one) == "<OptimizerHistory 'adam': 10 records of steps 0 to 9, 2 variables>"
    assert "1 optimizer" in repr(history.runs["scaled"])


def test_overflow_of_the_loss_scale_is_no_fault(history):
    """Inf at skipped steps is in the values, but not where gradients stopped being finite."""
    run = history.runs["scaled"]
    (loss,) = run.losses
    assert loss.values[[0, 1, 6], 0, Statistic.STATE].tolist() == [State.INF] * 3
    assert loss.skipped_steps.tolist() == [0, 1, 6]
    assert loss.overflowed.tolist() == [3, 0]
    assert loss.state_counts[:, INF].tolist() == [0, 0]
    assert loss.first_seen[:, INF].tolist() == loss.last_seen[:, INF].tolist() == [-1, -1]
    # The NaN of a step that the optimizer took is one.
    assert loss.first_seen[:, NAN].tolist() == [-1, 8]
    answer = answers.run(run, "")
    (nonfinite,) = answer.nonfinite
    assert (nonfinite.state, nonfinite.first_step, nonfinite.exact) == ("nan", 8, True)
    (overflow,) = answer.overflows
    assert (overflow.loss, overflow.variables, overflow.records, overflow.steps) == (
        "loss@unscaled", 1, 3, (0, 1, 6),
    )  # fmt: skip
    assert [(mark.step, mark.kind, mark.variables) for mark in answer.marks] == [
        (6, "skipped", ("w",)),
        (8, "nonfinite", ("b",)),
    ]
    assert answer.losses[0].skipped_steps == (0, 1, 6)
    assert answer.losses[0].loss_scales[:2] == (2**15, 2**14)


def test_a_scale_that_was_lowered_shows_an_overflow_whatever_step_the_optimizer_calls_it(tmp_path):
    """The loss was asked for twice before the optimizer's first step."""
    label = {"stage": messages.Label.UNSCALED}
    with Log(tmp_path) as log:
        loss, optimizer = Loss("loss", ["w"], label=label), Optimizer("adam", ["w"], scaled=True)
        loss.open(log, 0)
        optimizer.open(log, 0)
        for step in range(8):
            state = State.INF if step in (5, 7) else State.OK
            scale = 8.0 if step <= 5 else 4.0
            loss.record(log, step, 1, [state], scale=scale)
            if step >= 2:
                optimizer.record(log, step - 2, 1, states=[state], scale=scale)
    (found,) = load(tmp_path).runs["."].losses
    assert found.skipped_steps.tolist() == [3, 5]
    # What the last record shows may be an overflow, or not.
    assert found.first_seen[0, INF] == 7


def test_raw_gradients_know_no_loss_scale(tmp_path):
    """Whoever did not scale the loss has real Inf there, whatever an optimizer did."""
    with Log(tmp_path) as log:
        loss, optimizer = Loss("loss", ["w"]), Optimizer("adam", ["w"], scaled=True)
        loss.open(log, 0)
        optimizer.open(log, 0)
        loss.record(log, 0, 1, [State.INF])
        optimizer.record(log, 0, 1, states=[State.INF])
    (found,) = load(tmp_path).runs["."].losses
    assert found.first_seen[0, INF] == 0
    assert not found.skipped_steps.size


def test_variables_that_change(history):
    run = history.runs["refrozen"]
    (one,) = run.optimizers
    assert [run.variables[i].name for i in one.variables] == ["a", "b"]
    assert one.steps.tolist() == list(range(6))
    assert one.values[:, 1, Statistic.STATE].tolist() == [0, 0, 0, -1, -1, 0]
    np.testing.assert_allclose(one.update_norms[:, 0], [0.03, 0.03, 0.03, 0.06, 0.06, 0.09])
    assert np.isnan(one.update_norms[3:5, 1]).all()
    assert one.calls.tolist() == one.applied.tolist() == [1, 2, 3, 4, 5, 6]
    ratios = numbers.update_ratios(one)
    np.testing.assert_allclose(ratios[3], [0.02, np.nan])


def test_columns_of_the_matrix_follow_the_losses(history):
    run = history.runs["accumulated"]
    matrix = numbers.matrix(run, 6)
    assert matrix.shape[:2] == (3, 1)
    # Of the optimizer, the last record is of step 3: its first.
    assert matrix[:, 0, Statistic.NORM].tolist() == [1, 4, 4]
    assert matrix[:, 0, -1].tolist() == [6, 0, 0]
    assert numbers.whole_norms(run.optimizers[0]).tolist() == [4, 4]
    series = numbers.series(run, 0).reshape(-1, len(Statistic))
    assert series[:, Statistic.NORM].tolist() == [1] * 8 + [4, 4] + [4, 4]


def test_numbers_of_an_optimizer(history):
    (one,) = history.runs["scaled"].optimizers
    answer = numbers.optimizer(one)
    np.testing.assert_allclose(answer[:20].reshape(10, 2)[7], [2**12, 0.1])
    np.testing.assert_allclose(answer[20:].reshape(10, 2, 2)[7], [[0.003, 3], [0.3, 3]])


def test_farthest_from_the_usual_ratio():
    distance = updates.distance(np.array([1e-3, 1e-5, 1e-2, 0, np.nan], np.float32))
    np.testing.assert_allclose(distance, [0, 2, 1, np.inf, np.nan], atol=1e-6)


def test_the_last_updates_are_those_that_were_all_measured(history):
    """Large updates are not measured at the spike of step 150, and the bias is not all."""
    run = history.runs["norm_alone"]
    said = updates.optimizer(run, run.optimizers[0])
    assert said.endswith(
        "; update to variable at step 100: median 0.001, farthest from the usual 0.001: 0.1 (bias)"
    )


def test_what_is_not_finite_at_last_is_said(history):
    (one,) = history.runs["refrozen"].optimizers
    norms, rates = one.update_norms.copy(), one.learning_rates.copy()
    norms[5], rates[4:] = np.nan, np.nan
    broken = dataclasses.replace(one, update_norms=norms, learning_rates=rates)
    said = updates.optimizer(history.runs["refrozen"], broken)
    assert "; learning rate 0.1, NaN seen from step 4 on; " in said
    assert said.endswith("; seen not finite from step 5 on in a and b")
    # One that was not known before is not NaN.
    rates[:] = np.nan
    assert "learning rate" not in updates.optimizer(history.runs["refrozen"], broken)


def test_restart_goes_on_counting(tmp_path):
    one = Optimizer("adam", ["w"], scaled=True)
    for number, steps in enumerate([range(4), range(2, 6)]):
        one.restart(f"session {number}")
        with Log(tmp_path, number) as log:
            one.open(log, steps[0])
            for step in steps:
                one.record(log, step, states=[State.INF if step in (1, 3) else State.OK])
    (found,) = load(tmp_path).runs["."].optimizers
    assert found.steps.tolist() == list(range(6))
    assert found.calls.tolist() == [1, 2, 3, 4, 5, 6]
    assert found.applied.tolist() == [1, 1, 2, 2, 3, 4]
    assert found.skipped.tolist() == [0, 1, 1, 2, 2, 2]
    assert found.skipped_steps.tolist() == [1, 3]
