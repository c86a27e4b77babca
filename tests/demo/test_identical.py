"""Recording changes nothing: the weights are the same to the last bit."""

from __future__ import annotations

import importlib
import types

import pytest
import tensorflow as tf
from tensorflow.python.framework import config

import tb_gradscope as gs
from demo import DEMOS, letters
from tests.demo.plain import NUDGED, PLAIN

pytestmark = pytest.mark.slow
TRAINED = [name for name, demo in DEMOS.items() if not demo.crashes]
STEPS = 50


@pytest.fixture(autouse=True)
def _deterministic_ops():
    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()


@pytest.fixture(params=["eager", "function"])
def mode(request):
    tf.config.run_functions_eagerly(request.param == "eager")
    yield request.param
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def train(monkeypatch, tmp_path):
    """A function that trains a demo with other functions in the place of `gs`."""

    def run(name, functions):
        module = importlib.import_module(f"demo.{DEMOS[name].module}")
        # These two leave the training to another module.
        module = letters if name in ("exploding", "healthy") else module
        monkeypatch.setattr(module, "gs", functions)
        weights = DEMOS[name].train(str(tmp_path), STEPS)
        return [(weight.shape, weight.numpy().tobytes()) for weight in weights]

    return run


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_the_same(name, mode, train, tmp_path):
    without = train(name, PLAIN)
    assert list(tmp_path.iterdir()) == []
    assert train(name, gs) == without
    (run,) = gs.load(tmp_path).runs.values()
    assert {len(loss.steps) for loss in run.losses} == {STEPS}


def test_one_bit_is_seen(train):
    assert train("extra_update", NUDGED) != train("extra_update", PLAIN)


def test_each_mode_is_what_it_says(mode, train):
    seen = []

    class Tape(tf.GradientTape):
        def gradient(self, target, sources):
            seen.append(tf.executing_eagerly())
            return super().gradient(target, sources)

    train("extra_update", types.SimpleNamespace(**{**vars(PLAIN), "GradientTape": Tape}))
    if mode == "eager":
        assert seen == [True] * 2 * STEPS  # two losses
    else:
        # While it is traced; twice, since the optimizers make variables the first time.
        assert seen == [False] * 2 * 2
