"""What `gs.KerasCallback` says of a sick `fit` while it runs, and that it can end it."""

from __future__ import annotations

import logging
import types

import numpy as np
import pytest

import tb_gradscope as gs
from tests.recording.keras import models

BATCHES = models.ROWS // models.BATCH
WORLDS = {
    "eager": {},
    "graph": {"run_eagerly": False},
    "jit": {"run_eagerly": False, "jit_compile": True},
}


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "tb_gradscope")
    return lambda: [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "tb_gradscope"
    ]


def fit(model, callback, epochs=4, broken_at=1):
    """Trains; the inputs of one batch are NaN."""
    x, y = models.data()
    if broken_at is not None:
        x[broken_at * models.BATCH] = np.nan
    return model.fit(
        x, y, batch_size=models.BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback]
    )


@pytest.mark.parametrize("options", WORLDS.values(), ids=WORLDS)
def test_a_fit_that_breaks_is_ended_in_that_epoch(options, tmp_path, said):
    findings = []
    callback = gs.KerasCallback(
        tmp_path, every=1, on_finding=findings.append, stop_on="error", on_error="raise"
    )
    model = models.own_step(**options)
    assert fit(model, callback).epoch == [0]
    assert model.optimizer.iterations <= BATCHES
    (told,) = [one for one in findings if one.kind == "nan"]
    assert (told.severity, told.loss, told.span.first) == ("error", "error", 1)
    (first, error), (second, end) = said()
    assert (first, second) == ("ERROR", "WARNING")
    assert error.startswith(
        "tb_gradscope: The gradient of error is not finite: first NaN at step 1, in all 2"
    )
    where = f"[{models.__file__}:"
    assert where in error
    assert end.startswith(
        "gs.KerasCallback(stop_on='error') stops model.fit: The gradient of error is not finite"
    )
    assert where in end


def test_without_being_asked_it_is_only_said(tmp_path, said):
    assert fit(models.own_step(), gs.KerasCallback(tmp_path, every=1)).epoch == [0, 1, 2, 3]
    ((level, line),) = said()
    assert level == "ERROR"
    assert "The gradient of error is not finite" in line


def test_a_healthy_fit_goes_on_to_its_end(tmp_path, said):
    findings = []
    callback = gs.KerasCallback(
        tmp_path, every=1, on_finding=findings.append, stop_on="warning", on_error="raise"
    )
    assert len(fit(models.own_step(), callback, epochs=10, broken_at=None).epoch) == 10
    assert findings == said() == []


def test_the_next_fit_is_ended_too_while_it_is_so(tmp_path, said):
    callback = gs.KerasCallback(tmp_path, every=1, stop_on="error", on_error="raise")
    model = models.own_step()
    assert len(fit(model, callback).epoch) == 1
    assert len(fit(model, callback, epochs=20).epoch) < 20
    assert [level for level, _ in said()] == ["ERROR", "WARNING", "WARNING"]


def test_the_next_fit_is_not_ended_for_what_was(tmp_path):
    callback = gs.KerasCallback(tmp_path, every=1, stop_on="warning", on_error="raise")
    model = models.own_step()
    assert len(fit(model, callback).epoch) == 1
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    assert len(fit(model, callback, epochs=20, broken_at=None).epoch) == 20


def test_one_of_several_workers_is_not_stopped_alone(tmp_path):
    two = types.SimpleNamespace(
        num_replicas_in_sync=2, extended=types.SimpleNamespace(worker_devices=("CPU:0",))
    )
    model = models.own_step()
    model._distribute_strategy = two
    callback = gs.KerasCallback(tmp_path, stop_on="error")
    callback.set_model(model)
    with pytest.warns(gs.GradscopeWarning, match="does not stop a training on several workers"):
        callback.on_train_begin()
    callback.on_train_end()


def test_wrong_arguments():
    with pytest.raises(TypeError, match="on_finding=3: expected a function of one finding"):
        gs.KerasCallback(on_finding=3)
    with pytest.raises(ValueError, match="stop_on='info': expected 'error', 'warning' or None"):
        gs.KerasCallback(stop_on="info")
