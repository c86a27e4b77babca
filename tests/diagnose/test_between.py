"""NaN and Inf that come in after `gradient()`: in a clipper, before an optimizer, in an update."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.between import between
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.statistics import State, Statistic
from tests.diagnose import histories

NAN, INF = float("nan"), float("inf")
FINITE = np.ones((20, 2), np.float32)


def found(*losses, **parts):
    return list(between(histories.run(*losses, **parts), Thresholds()))


def reached(at, number=NAN, weights=1.0, **changes):
    """An optimizer that gets this number as the first gradient of some records."""
    made = histories.optimizer(np.ones((20, 2)), weights=weights, **changes)
    norms = FINITE.copy()
    norms[at, 0] = number
    return dataclasses.replace(made, values=histories.loss(norms, weights=weights).values)


def ruined(at, own=()):
    """Norms of gradients and of variables: v0 is NaN after a record, and so all gradients."""
    weights, norms = FINITE.copy(), FINITE.copy()
    weights[at + 1 :, 0], norms[at + 1 :] = NAN, NAN
    norms[list(own)] = NAN
    return norms, weights


def loss_of(norms, weights=1.0, **changes):
    return histories.loss(norms, weights=weights, **changes)


def own_clipper(at, before=1.0, after=NAN, **changes):
    """A clip site that makes this of the first gradient of some records."""
    made = histories.clip(FINITE, 10.0, name="mine", method="custom", **changes)
    norms = made.norms.copy()
    norms[at, 0] = before, after
    return dataclasses.replace(made, norms=norms)


def test_what_stays_finite_is_no_finding():
    parts = {"clips": [histories.clip(FINITE, 1.0)], "optimizers": [reached([])]}
    assert not found(loss_of(FINITE), **parts)


def test_a_clipper_that_makes_nan():
    norms, weights = ruined(12)
    (one,) = found(loss_of(norms, weights), clips=[own_clipper([12])])
    assert (one.kind, one.severity, one.loss) == ("nan", "error", None)
    assert (one.variables, one.span.first, one.where.line) == (("v0",), 12, 36)
    assert one.message == (
        "mine made NaN of finite gradients at step 12: of v0; v0 is not finite since."
    )
    assert one.advice.startswith("Look at how it clips: a division by a norm of 0")


def test_a_clipper_whose_result_was_not_used_is_a_warning_and_an_error_at_the_last_record():
    assert [one.severity for one in found(clips=[own_clipper([12])], variables=V)] == ["warning"]
    assert [one.severity for one in found(clips=[own_clipper([19])], variables=V)] == ["error"]


V = [histories.variable("v0"), histories.variable("v1")]


def test_a_clipper_that_got_nan_has_not_made_it():
    made = own_clipper([12])
    made.norms[12, 1] = NAN
    assert not found(clips=[made], variables=V)


@pytest.mark.parametrize(("number", "kind"), [(NAN, "nan"), (INF, "inf")])
def test_what_reaches_an_optimizer(number, kind):
    norms, weights = ruined(12)
    adam = reached([12], number, weights)
    (one,) = found(loss_of(norms, weights), clips=[own_clipper([])], optimizers=[adam])
    assert (one.kind, one.severity, one.variables) == (kind, "error", ("v0",))
    assert one.message == (
        f"The gradient of v0 was finite as gradient() returned it, and {kind.capitalize()[:1]}"
        f"{'aN' if kind == 'nan' else 'nf'} where it reached adam at step 12; v0 is not finite "
        "since."
    )
    assert one.advice.startswith("It may have passed mine (train.py:36). Look at what the program")


def test_the_clip_site_is_named_where_it_shows():
    norms, weights = ruined(12)
    parts = {"clips": [own_clipper([12])], "optimizers": [reached([12], NAN, weights)]}
    (one,) = found(loss_of(norms, weights), **parts)
    assert one.evidence["by"] == "mine"
    # NaN that reached the site has come in before it.
    parts["clips"] = [own_clipper([12], NAN, NAN)]
    (one,) = found(loss_of(norms, weights), **parts)
    assert "and NaN where it reached mine at step 12" in one.message


def test_a_norm_alone_that_overflows_is_no_number_that_does():
    clip = own_clipper([12], INF, 1.0)
    assert not found(loss_of(FINITE * 1e25), clips=[clip])
    (one,) = found(loss_of(FINITE), clips=[clip])
    assert (one.kind, one.severity) == ("inf", "warning")


def test_nothing_is_said_of_gradients_that_are_not_known_to_have_been_finite():
    norms, weights = ruined(12, own=[12])
    adam = reached([12], NAN, weights)
    assert not found(loss_of(norms, weights), optimizers=[adam])
    assert not found(optimizers=[adam], variables=V)
    norms, _ = ruined(12)
    few = {"steps": np.arange(20) * 2 + 1}
    assert found(loss_of(norms, weights, **few), optimizers=[adam])
    assert not found(loss_of(norms, weights, watched=False, **few), optimizers=[adam])
    # Another call that was not finite was counted, though it was not recorded.
    counts = np.arange(20) // 6
    assert not found(loss_of(norms, weights, nonfinite=counts, **few), optimizers=[adam])
    # One of two losses was not finite.
    parts = loss_of(norms, weights), loss_of(*ruined(12, own=[12]), name="other")
    assert not found(*parts, optimizers=[adam])


def test_steps_that_two_count_by_their_calls_may_not_be_the_same():
    norms = FINITE.copy()
    norms[14] = NAN  # by itself: its variables were finite
    label = dataclasses.replace(histories.LABEL, step_source="calls")
    assert not found(loss_of(norms, label=label), optimizers=[reached([12], label=label)])
    assert found(loss_of(norms), optimizers=[reached([12])])


def test_steps_left_out_and_micro_batches_are_none_of_it():
    skipped = reached([12], INF, skipped_steps=np.array([12]))
    assert not found(loss_of(FINITE), optimizers=[skipped])
    label = dataclasses.replace(histories.LABEL, batch="accumulated")
    assert not found(loss_of(FINITE), optimizers=[reached([12], label=label)])


def broken_update(**changes):
    updates, weights = FINITE.copy(), FINITE.copy()
    updates[12:], weights[13:] = NAN, NAN
    return histories.optimizer(updates, weights=weights, **changes)


def test_an_update_that_is_not_finite():
    (one,) = found(optimizers=[broken_update()])
    assert (one.kind, one.severity, one.span.first) == ("nan", "error", 12)
    assert one.message == (
        "adam made an update of NaN out of finite gradients at step 12: of v0 and v1; v0 and v1 "
        "are not finite since."
    )
    rates = np.full(20, 1e-3, np.float32)
    rates[12:] = NAN
    (one,) = found(optimizers=[broken_update(learning_rates=rates)])
    assert "at step 12, for its learning rate was NaN: of v0" in one.message
    assert one.advice == "Look at what sets the learning rate of adam."


def test_updates_that_could_not_be_had_are_none_that_are_not_finite():
    assert not found(optimizers=[histories.optimizer(np.full((20, 2), NAN))])
    unmeasured = histories.norm_alone(histories.optimizer(FINITE), [12], [0])
    assert not found(optimizers=[unmeasured])
    # What the optimizer's own clipping carries into all gradients is of the one that had it.
    adam = broken_update()
    adam.values[12, 1, Statistic.STATE] = State.NAN
    assert not found(optimizers=[adam])


def test_what_follows_from_it_is_only_said():
    norms, weights = ruined(12)
    run = histories.run(loss_of(norms, weights), optimizers=[reached([12], NAN, weights)])
    cause, effect = (one for one in judge.findings(run) if one.kind == "nan")
    assert (cause.severity, cause.loss) == ("error", None)
    assert (effect.severity, effect.loss, effect.other_loss) == ("info", "loss", None)
    assert effect.where == cause.where
    assert effect.message.endswith(
        "first NaN at step 13, in all 2 variables, and ever since. This follows from adam: numbers "
        "that were not finite came in at step 12, and v0 itself was not finite any more at step 13."
    )
    assert effect.advice == "Mend that first: nothing here shows a fault of loss."


def test_what_came_in_later_has_not_ruined_what_was_so_before():
    norms, weights = ruined(5)
    run = histories.run(loss_of(norms, weights), clips=[own_clipper([12])])
    (one,) = (one for one in judge.findings(run) if one.loss == "loss")
    assert (one.severity, one.span.first) == ("error", 6)


def test_a_learning_rate_that_was_seen_too_late_to_be_the_cause_for_sure_is_named():
    norms, weights = ruined(12)
    rates = np.full(20, 1e-3, np.float32)
    rates[13:] = NAN
    adam = reached(slice(13, None), NAN, weights, learning_rates=rates)
    run = histories.run(loss_of(norms, weights), optimizers=[adam])
    (one,) = (one for one in judge.findings(run) if one.kind == "nan")
    assert (one.severity, one.loss) == ("error", "loss")
    assert one.advice == "The learning rate of adam is NaN at step 13: look at what sets it."
