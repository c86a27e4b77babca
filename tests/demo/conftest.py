"""Demos trained once for all tests that look at what was recorded."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import tb_gradscope as gs
from demo import DEMOS
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording import failure


class Run:
    """What a demo recorded, by names."""

    def __init__(self, history):
        (self.history,) = history.runs.values()
        self.losses = {loss.name: loss for loss in self.history.losses}
        self.clips = self.history.clips

    def pairs(self, state):
        """All (loss, variable) that ever had a state."""
        names = [variable.name for variable in self.history.variables]
        return {
            (loss.name, names[variable])
            for loss in self.history.losses
            for position, variable in enumerate(loss.variables)
            if (loss.values[:, position, Statistic.STATE] == state).any()
        }

    def states(self):
        """All states that occur."""
        return {State(int(s)) for x in self.history.losses for s in np.unique(x.values[..., 0])}

    def variables(self, loss):
        names = [variable.name for variable in self.history.variables]
        return [names[variable] for variable in self.losses[loss].variables]

    def norms(self, loss, variable):
        """Norm at each record."""
        position = self.variables(loss).index(variable)
        return self.losses[loss].values[:, position, Statistic.NORM]

    def total(self, loss):
        """Norm of the whole gradient at each record."""
        norms = self.losses[loss].values[..., Statistic.NORM].astype(np.float64)
        return np.sqrt(np.nansum(norms**2, axis=1))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A function that trains a demo as `make demo` does, once, and reads it back."""
    root = tmp_path_factory.mktemp("demos")

    @functools.cache
    def train(name):
        failure.forget_said()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            DEMOS[name].train(str(root / name), DEMOS[name].steps)
        assert [str(w.message) for w in said if w.category is gs.GradscopeWarning] == []
        history = gs.load(root / name)
        assert history.problems == ()
        run = Run(history)
        assert run.history.problems == ()
        return run

    return train
