"""NaN and Inf: when, where first in the backward pass, whether for good, and who spread it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.nonfinite import nonfinite
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State, Statistic
from tests.diagnose import histories

NAN, INF = float("nan"), float("inf")


def found(*losses, **parts):
    return list(nonfinite(histories.run(*losses, **parts), Thresholds()))


def test_finite_gradients_are_no_finding():
    assert not found(histories.loss(histories.noise(50, 3)))


def test_from_a_step_on():
    norms = histories.noise(20, 3)
    norms[12:] = NAN
    (one,) = found(histories.loss(norms))
    assert (one.kind, one.severity) == ("nan", "error")
    assert (one.span.first, one.span.pattern, one.span.count) == (12, "from", 8)
    assert one.variables == ("v0", "v1", "v2")
    assert "first NaN at step 12, in all 3 variables, and ever since" in one.message


def test_the_first_that_the_backward_pass_reached():
    norms = histories.noise(20, 4)
    norms[12:, :2] = NAN
    (one,) = found(histories.loss(norms))
    assert one.variables == ("v0", "v1")
    assert one.evidence["first_in_backward_order"] == "v1"
    assert "in v1 and v0 (2 others were finite)" in one.message
    assert "between v1 and the loss" in one.advice


def test_a_loss_that_has_left_all_bounds_in_two_steps():
    norms = np.ones((3, 2), np.float32)
    norms[2:, 0] = NAN
    values = np.array([7.0, 2e9, 9e31], np.float32)
    (one,) = found(histories.loss(norms, loss_values=values))
    assert one.advice.startswith("The gradients had grown without bounds before, so lower the")
    values[:] = 7.0, 6.0, 30.0
    (one,) = found(histories.loss(norms, loss_values=values))
    assert one.advice.startswith("Look at what stands between v0 and the loss")


def test_inf_that_becomes_nan():
    norms = histories.noise(20, 2)
    norms[12, 0] = INF
    norms[13:] = NAN
    nan, inf = found(histories.loss(norms))
    assert (inf.kind, inf.span.first, inf.span.pattern, inf.severity) == (
        "inf",
        12,
        "once",
        "error",
    )
    assert (nan.kind, nan.span.first, nan.span.pattern) == ("nan", 13, "from")
    assert "It was Inf before, from step 12 on" in nan.message


def test_what_passes_is_a_warning():
    norms = histories.noise(20, 2)
    norms[12] = NAN
    (one,) = found(histories.loss(norms))
    assert (one.severity, one.span.pattern) == ("warning", "once")


def test_what_comes_and_goes():
    norms = histories.noise(40, 2)
    norms[[5, 9, 30]] = INF
    (one,) = found(histories.loss(norms))
    assert (one.kind, one.severity, one.span.pattern) == ("inf", "warning", "intermittent")
    assert (one.span.first, one.span.last, one.span.count) == (5, 30, 3)


def test_a_loss_that_is_not_finite_though_its_gradients_are():
    values = np.ones(20, np.float32)
    values[8:] = NAN
    (one,) = found(histories.loss(histories.noise(20, 2), loss_values=values))
    assert (one.kind, one.severity, one.variables) == ("nan", "error", ())
    assert one.message == (
        "The loss itself is NaN from step 8 on, though its gradients are finite."
    )


def test_a_loss_whose_value_is_not_known_is_no_finding():
    values = np.full(20, NAN, np.float32)
    assert not found(histories.loss(histories.noise(20, 2), loss_values=values))


def test_what_had_exploded_before():
    norms = np.geomspace(1, 1e9, 20)[:, None] * histories.noise(20, 2)
    norms[15:] = NAN
    (one,) = found(histories.loss(norms))
    assert "lower the learning rate" in one.advice


def test_a_single_record_is_judged():
    (one,) = found(histories.loss([[NAN, 1.0]]))
    assert (one.severity, one.span.pattern) == ("error", "all")


def test_without_the_sentinel_it_is_the_first_one_seen():
    norms = histories.noise(10)
    norms[5:] = NAN
    steps = np.arange(10) * 10
    (one,) = found(histories.loss(norms, watched=False, steps=steps))
    assert "NaN first seen at step 50" in one.message


def test_the_clip_that_spread_it():
    norms = histories.noise(20, 3)
    norms[12, 1] = NAN
    (one,) = found(histories.loss(norms), clips=[histories.clip(norms, 1.0)])
    assert "clip_by_global_norm spread it to all 3 gradients: only v1 had it before" in one.message


def test_steps_left_out_for_their_loss_scale_are_no_fault():
    norms = histories.noise(20, 2)
    norms[[3, 9]] = INF
    made = histories.loss(norms)
    # As the history of such a run tells it: not among the counted ones.
    none = np.zeros((2, len(COUNTED)), np.int64)
    made = dataclasses.replace(
        made,
        skipped_steps=np.array([3, 9]),
        overflowed=np.array([2, 2]),
        state_counts=none,
        first_seen=none - 1,
        last_seen=none - 1,
    )
    assert State.INF in COUNTED
    assert not found(made)


@pytest.mark.parametrize(("value", "line"), [(NAN, 34), (INF, 34), (0.5, 36)])
def test_the_line_is_that_of_the_loss_where_the_loss_itself_is_not_finite(value, line):
    norms, values = histories.noise(20, 2), np.ones(20, np.float32)
    norms[12:], values[12:] = NAN, value
    (one,) = found(histories.loss(norms, loss_values=values, computed=histories.COMPUTED))
    assert one.where.line == line


def test_a_layer_that_was_fed_with_it():
    shapes = {"kernel": (8, 8), "bias": (8,)}
    variables = [histories.variable(f"dense/{name}", shape) for name, shape in shapes.items()]
    norms, values = histories.noise(20, 2), np.ones(20, np.float32)
    norms[12, 0], values[12] = NAN, NAN
    (one,) = found(histories.loss(norms, loss_values=values), variables=variables)
    assert one.advice.startswith("The input of dense was not finite, since its kernel's gradient")
    assert "the data of step 12" in one.advice
    # A mask may keep from the loss what is not finite; and products overflow, of float16 first.
    (one,) = found(histories.loss(norms), variables=variables)
    assert one.advice.startswith(
        "Either the input of dense was not finite where it takes no part in the loss, such as "
        "behind a mask, or its kernel's gradient has overflowed (its bias's has not): look at the "
        "data of step 12."
    )
    norms[12, 1] = NAN
    (one,) = found(histories.loss(norms, loss_values=values), variables=variables)
    assert "look at the loss itself" in one.advice


def two_losses(onset=12, ruined_at=13, **changes):
    """The first loss is NaN from `onset` on, the second, of the same variables, next."""
    first, second, weights = histories.noise(20, 2), histories.noise(20, 2), np.ones((20, 2))
    first[onset:], second[ruined_at:], weights[ruined_at:] = NAN, NAN, NAN
    return (
        histories.loss(first, "total", weights=weights, **changes),
        histories.loss(second, "recon", weights=weights, **changes),
    )


def test_what_follows_from_another_loss_is_only_said():
    total, recon = found(*two_losses())
    assert (total.loss, total.severity, total.other_loss) == ("total", "error", None)
    assert total.message.endswith(" v0 and v1 themselves are not finite, from step 13 on.")
    assert (recon.loss, recon.severity, recon.other_loss) == ("recon", "info", "total")
    assert recon.message.endswith(
        "first NaN at step 13, in all 2 variables, and ever since. This follows from total: "
        "its gradient was not finite at step 12, and v0 and v1 themselves were not finite any more "
        "at step 13."
    )
    assert recon.advice == "Mend total first: nothing here shows a fault of recon."


def test_numbers_that_follow_from_another_loss_are_no_finding():
    total, _ = two_losses()
    norms, weights = histories.noise(20, 2), np.ones((20, 2))
    norms[13:, 0], norms[14:, 1], weights[13:] = NAN, 0, NAN
    recon = histories.loss(norms, "recon", weights=weights)
    assert [one.kind for one in judge.findings(histories.run(total, recon))] == ["nan", "nan"]


def test_a_loss_that_was_not_finite_by_itself_follows_from_nobody():
    # Its variables were still finite when its gradient was not any more.
    first, second = two_losses()
    second.values[12] = first.values[12]
    second = dataclasses.replace(second, first_seen=first.first_seen, last_seen=first.last_seen)
    for one in found(first, second):
        assert (one.severity, one.other_loss) == ("error", None)
    # The other one was, but had been finite again: then nothing says that it ruined them.
    first, second = two_losses()
    first.values[12, :, Statistic.STATE] = State.OK
    _, one = found(first, second)
    assert (one.severity, one.other_loss) == ("error", None)
    assert "v0 and v1 themselves were not finite already." in one.message
    assert one.advice.startswith("So look at what changed v0 and v1 in the step before")


def test_a_part_is_named_rather_than_its_sum():
    total, recon = two_losses()
    kl = dataclasses.replace(total, name="kl", part_of="total")
    assert [one.other_loss for one in found(total, kl, recon)] == [None, None, "kl"]


def test_where_what_lies_between_is_not_known_nobody_is_named():
    steps = np.arange(20) * 10
    assert found(*two_losses(steps=steps))[1].other_loss == "total"
    assert found(*two_losses(steps=steps, watched=False))[1].other_loss is None
    # Nothing lies between one step and the next.
    assert found(*two_losses(steps=steps // 10 + 7, watched=False))[1].other_loss == "total"
    # Nor is anybody where the norms of its variables were not measured at that step.
    total, recon = two_losses()
    unmeasured = histories.norm_alone(total, [12], [0, 1])
    assert found(unmeasured, recon)[1].other_loss is None


def test_since_when_variables_are_not_finite_is_as_exact_as_the_records():
    norms, weights = histories.noise(6, 2), np.ones((6, 2))
    norms[3:], weights[4:] = NAN, NAN
    steps = np.array([0, 10, 20, 23, 30, 40])  # accumulated, and applied at step 25 say
    (one,) = found(histories.loss(norms, weights=weights, steps=steps))
    assert one.message.endswith("v0 and v1 themselves are not finite, seen from step 30 on.")
    weights[4, 0] = 1
    (one,) = found(histories.loss(norms, weights=weights, steps=steps))
    assert one.message.endswith(
        "v0 and v1 themselves are not finite, the first seen from step 30 on."
    )


def test_a_micro_batch_ruins_variables_when_the_update_is_made():
    # Of those of steps 12 to 15, total was NaN in the first; the update came after the last.
    first, second, weights = histories.noise(20, 2), histories.noise(20, 2), np.ones((20, 2))
    first[[12, 16, 17, 18, 19]], second[16:], weights[16:] = NAN, NAN, NAN
    label = dataclasses.replace(histories.LABEL, batch="micro_batch")
    total = histories.loss(first, "total", weights=weights, label=label)
    recon = histories.loss(second, "recon", weights=weights, label=label)
    adam = histories.optimizer(np.ones((5, 2)), accumulation=4)
    one, other = found(total, recon, optimizers=[adam])
    assert one.message.endswith("v0 and v1 themselves are not finite, from step 16 on.")
    assert (other.loss, other.severity, other.other_loss) == ("recon", "info", "total")
    assert "its gradient was not finite at step 12" in other.message


def test_of_what_passes_a_loss_scale_may_be_the_reason():
    hint = "gs.watch_optimizer(optimizer) tells the two apart."
    norms = histories.noise(20, 2)
    norms[12] = INF
    made = histories.loss(norms)
    assert found(made)[0].advice.endswith(hint)
    # It is not where the scale is known, the loss was not finite itself, or it stays so.
    unscaled = dataclasses.replace(histories.LABEL, stage="unscaled")
    assert not found(dataclasses.replace(made, label=unscaled))[0].advice.endswith(hint)
    values = np.where(np.arange(20) == 12, NAN, 1).astype(np.float32)
    assert not found(dataclasses.replace(made, loss_values=values))[0].advice.endswith(hint)
    norms[13:] = INF
    assert not found(histories.loss(norms))[0].advice.endswith(hint)


def test_what_is_seen_in_the_last_record_alone_is_not_for_ever():
    norms = histories.noise(20, 2)
    norms[19] = INF
    (one,) = found(histories.loss(norms))
    assert "first Inf at step 19, in all 2 variables, and no record follows." in one.message
    (one,) = found(histories.loss(norms[19:]))
    assert "first Inf at step 0, in all 2 variables, and there is no other record." in one.message
