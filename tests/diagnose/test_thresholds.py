"""What may be asked for as a threshold, and that no rule stumbles over what may."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tb_gradscope.diagnose.judge import findings
from tb_gradscope.diagnose.thresholds import THRESHOLDS, ThresholdError, Thresholds
from tests.diagnose import histories

BY_NAME = {threshold.name: threshold for threshold in THRESHOLDS}


def test_every_default_is_allowed():
    assert all(one.problem(one.default) == "" for one in THRESHOLDS)
    assert [getattr(Thresholds(), one.name) for one in THRESHOLDS] == [
        one.default for one in THRESHOLDS
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("spike", 0.5, "is 0.5, expected a number of 1 or more (exploding: "),
        ("spike", "50", "is '50', expected a number of 1 or more (exploding: "),
        ("spike", math.nan, "is nan, expected a number of 1 or more (exploding: "),
        ("spike", True, "is True, expected a number of 1 or more (exploding: "),
        ("conflict", 0.1, "is 0.1, expected a number from -1 to 0 (conflict: "),
        ("min_records", 2.5, "is 2.5, expected a whole number of 1 or more (fewer "),
        ("min_records", math.inf, "is inf, expected a whole number of 1 or more (fewer "),
        ("min_records", 1 << 80, f"is {1 << 80}, expected a whole number of 1 or more (fewer "),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(name, value, expected):
    assert BY_NAME[name].problem(value).startswith(expected)
    with pytest.raises(ThresholdError, match=f"^The threshold {name} is "):
        Thresholds(**{name: value})
    with pytest.raises(ThresholdError, match=f"^somewhere: {name} is "):
        Thresholds().changed({name: value}, "somewhere")


def test_numbers_out_of_texts():
    texts = {"spike": "5", "vanished": "1e-3", "growth": "inf", "initial": None, "other": "abc"}
    read = Thresholds(vanishing=7.0).read(texts, repr)
    assert read == Thresholds(vanishing=7.0, spike=5, vanished=1e-3, growth=math.inf)
    # A count may be written as 6.0, and counts all the same.
    assert repr(Thresholds().read({"min_records": "6.0"}, repr).min_records) == "6"


@pytest.mark.parametrize("text", ["abc", "", "0.5", "nan"])
def test_a_text_that_makes_no_sense_is_called_what_the_user_calls_it(text):
    with pytest.raises(ThresholdError, match=r"^--spike is .*, expected a number of 1 or more "):
        Thresholds().read({"spike": text}, lambda threshold: f"--{threshold.name}")


@pytest.mark.parametrize("scale", [2, 1e4])
def test_rules_stand_the_ends_of_every_range(scale):
    generator = np.random.default_rng(0)
    norms = 10 ** generator.normal(0, 0.1, (30, 4))
    norms[15:] /= 10  # fades while the loss stays
    value = np.ones(30, np.float32)
    one = histories.loss(norms, name="one", loss_values=value)
    other = histories.loss(scale * norms, name="other", loss_values=value)
    pair = histories.cosines("one", "other", generator.uniform(0, 1, (30, 4)))
    run = histories.run(
        one,
        other,
        clips=[histories.clip(norms, 1.0)],
        optimizers=[histories.optimizer(norms)],
        cosines=[pair],
    )
    for each in THRESHOLDS:
        high = each.high if each.high < math.inf else (1 << 62 if each.is_whole else math.inf)
        for end in (each.low, high):
            findings(run, Thresholds().changed({each.name: end}, "a test"))
