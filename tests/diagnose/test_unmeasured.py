"""Records in which only the norms of large gradients are known: not measured is not NaN."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose.balance import balance
from tb_gradscope.diagnose.judge import findings
from tb_gradscope.diagnose.norms import last_weights, unmeasured
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.record import absent_norm
from tb_gradscope.format.statistics import State, Statistic
from tests.diagnose import histories

NAN = float("nan")
SENTINEL = [1, 2, 12, 18, 19]


def judged(*losses, **parts):
    return findings(histories.run(*losses, **parts))


def without(values, records):
    return np.delete(values, records, axis=0)


def told(found):
    """What findings say, but for how many records there are."""
    return [(one.kind, one.severity, one.variables, one.advice) for one in found]


def test_the_last_norm_measured_of_each_variable():
    made = histories.loss(np.ones((5, 4)), weights=np.arange(1, 6)[:, None])
    made = histories.norm_alone(made, [3, 4], [0, 1])
    values = histories.norm_alone(made, range(5), [1]).values
    values[2, 0, Statistic.VARIABLE_NORM] = np.nan  # and that is what it is
    values[3:, 2, Statistic.STATE], values[3:, 2, Statistic.VARIABLE_NORM] = State.ABSENT, np.nan
    assert unmeasured(values).sum(axis=0).tolist() == [2, 0, 0, 0]  # the second one never is
    np.testing.assert_array_equal(last_weights(values), [NAN, NAN, 3, 5])
    np.testing.assert_array_equal(last_weights(values[::-1]), [1, NAN, 1, 1])
    np.testing.assert_array_equal(last_weights(values[:0]), [NAN] * 4)


def test_a_variable_is_not_ruined_because_its_norm_was_not_measured():
    norms = histories.noise(20, 2)
    norms[10, 0] = NAN
    (one,) = judged(histories.norm_alone(histories.loss(norms), SENTINEL, [0, 1]))
    assert (one.kind, one.severity, one.span.pattern) == ("nan", "warning", "once")
    assert "themselves" not in one.message


def test_a_ruined_variable_is_so_though_its_norm_was_not_measured_again():
    norms, weights = histories.noise(20, 2), np.ones((20, 2))
    norms[10, 0], weights[11:, 0] = NAN, NAN
    made = histories.norm_alone(histories.loss(norms, weights=weights), [0, 18, 19], [0, 1])
    (one,) = judged(made)
    assert one.severity == "error"
    assert one.message.endswith("v0 itself is not finite, from step 11 on.")


def test_elements_that_nobody_counted():
    norms = histories.noise(20, 2)
    norms[10:] = NAN
    made = histories.loss(norms)
    assert judged(made)[0].evidence["nan_count"] is None
    made.values[10, :, Statistic.NAN_COUNT] = 3, 4
    assert judged(made)[0].evidence["nan_count"] == 7
    made.values[10, 0, Statistic.NAN_COUNT] = 0
    assert judged(made)[0].evidence["nan_count"] is None


def test_a_kernel_of_zeros_is_known_by_its_last_norm():
    norms = np.zeros((20, 4))
    norms[:, 3] = 1
    made = histories.loss(norms, weights=np.array([1, 1, 0, 1]))
    (one,) = judged(histories.norm_alone(made, SENTINEL, range(4)))
    assert "v2 is all zero, so nothing flows back through it" in one.message


@pytest.mark.parametrize(
    "norms",
    [
        histories.noise(40, 5),
        np.geomspace(1, 1e9, 40)[:, None] * histories.noise(40, 5),
        np.geomspace(1e-9, 1e-6, 40)[:, None] * histories.noise(40, 5),
        np.logspace(-7, 0, 5) * histories.noise(40, 5) * 0.1,
        np.where(np.arange(40) < 6, 1e6, 1.0)[:, None] * histories.noise(40, 5),
        histories.noise(40, 5) * 1e6,
    ],
    ids=["healthy", "explodes", "grows, but is small", "vanishes", "begins large", "is large"],
)
def test_such_records_neither_make_nor_hide_a_finding(norms):
    weights = np.full((40, 5), 50.0)
    rest = histories.loss(
        without(norms, SENTINEL),
        weights=without(weights, SENTINEL),
        steps=np.delete(np.arange(40), SENTINEL),
    )
    made = histories.norm_alone(histories.loss(norms, weights=weights), SENTINEL, range(5))
    assert [one[:3] for one in told(judged(made))] == [one[:3] for one in told(judged(rest))]


def test_weight_decay_is_known_by_what_was_measured():
    weights = np.linspace(1.0, [1.5, 2.0, 3.0], 50)
    one = histories.loss(histories.noise(50, 3), name="data", weights=weights)
    other = histories.loss(1e-6 * weights, name="decay", weights=weights)
    of_both = [histories.cosines("data", "decay", np.zeros((50, 3)))]
    losses = [histories.norm_alone(loss, SENTINEL, [0, 2]) for loss in (one, other)]
    (found,) = [one for one in judged(*losses, cosines=of_both) if one.kind == "domination"]
    assert found.severity == "info"


def compared(one, other, cosine, small_cosine):
    """What is found of two losses, with and without the records that the sentinel has chosen.

    Args:
      one: norms of a loss's gradients of a large and of a small variable.
      other: those of another.
      cosine: theirs on the large variable: not measured where both spike on the small one.
      small_cosine: theirs on the small variable.
    """
    losses = [
        histories.loss(histories.noise(50, 2, seed=seed) * norms, name=name)
        for seed, (name, norms) in enumerate([("recon", one), ("kl", other)])
    ]
    losses = [histories.norm_alone(loss, np.flatnonzero(_MANY), [0]) for loss in losses]
    pair = histories.cosines("recon", "kl", np.tile([cosine, small_cosine], (50, 1)))
    pair.cosines[_MANY, 0] = absent_norm()
    regular = dataclasses.replace(
        pair, steps=pair.steps[~_MANY], cosines=without(pair.cosines, _MANY)
    )
    return [
        list(balance(histories.run(*losses, cosines=[cosines]), Thresholds()))
        for cosines in (pair, regular)
    ]


@pytest.mark.parametrize(
    ("one", "other", "cosine", "small_cosine", "kinds"),
    [
        ([100, 1], [100, 1], 0.4, -0.99, []),
        ([100, 1], [100, 1], -0.99, 1.0, ["conflict"]),
        ([100, 1], [100, 1e-5], 0.0, 0.0, []),
        ([1e6, 1], [1, 1], 0.0, 0.0, ["domination"]),
    ],
    ids=["agree", "in conflict", "in balance", "drowned"],
)
def test_small_variables_do_not_stand_for_large_ones(one, other, cosine, small_cosine, kinds):
    with_spikes, rest = compared(one, other, cosine, small_cosine)
    assert with_spikes == rest
    assert [found.kind for found in rest] == kinds


def usual(count=50):
    return histories.noise(count, 3) * 1e-3


def spiking(count=50):
    """The updates of a small kernel are large in the records that the sentinel has chosen."""
    updates = usual(count)
    updates[_MANY, 0] = 3.0
    return updates


_MANY = np.arange(50) % 10 != 0


@pytest.mark.parametrize(
    ("updates", "records"),
    [
        (usual(), SENTINEL),
        (spiking(), np.flatnonzero(_MANY)),
        (histories.noise(50, 3) * 1e-9, SENTINEL),
        (histories.noise(50, 3) * [1e-3, 1.0, 1e-3], np.arange(0, 50, 3)),
        (np.zeros((50, 3)), SENTINEL),
    ],
    ids=["usual", "a small one is large then", "too small", "too large", "all zeros"],
)
def test_updates_are_judged_by_the_other_records(updates, records):
    rest = histories.optimizer(without(updates, records))
    made = histories.norm_alone(histories.optimizer(updates), records, [1, 2])
    assert told(judged(optimizers=[made])) == told(judged(optimizers=[rest]))


def test_first_updates_are_known_though_the_sentinel_has_chosen_the_first_record():
    weights = np.full((50, 3), 300.0)
    weights[:2] = 3.0
    made = histories.optimizer(histories.noise(50, 3) * 20, weights=weights)
    (one,) = judged(optimizers=[histories.norm_alone(made, [0], range(3))])
    assert "far too large" in one.message


def test_absent_is_not_unmeasured():
    values = histories.loss(np.ones((2, 2))).values
    values[:, 0, Statistic.STATE] = State.ABSENT
    values[:, 0, Statistic.VARIABLE_NORM] = absent_norm()
    assert not unmeasured(values).any()
