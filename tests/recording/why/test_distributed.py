"""Causes under a strategy: each replica's own."""

from __future__ import annotations

import os
import subprocess
import sys

import tb_gradscope as gs

# Devices must be chosen before TensorFlow starts, hence a process of its own.
PROGRAM = """
import sys
import tensorflow as tf
import tb_gradscope as gs

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    w, b = tf.Variable([[1.0], [2.0]]), tf.Variable([1.0])

def replica():
    with gs.GradientTape() as tape:
        y = tf.matmul([[1.0, 2.0]], w)
        loss = tf.reduce_sum(tf.round(y))
    tape.gradient(loss, [w, b])

for mode, wrap in ("eager", lambda step: step), ("graph", tf.function):
    with gs.record(sys.argv[1] + "/" + mode, every=1, on_error="raise"):
        wrap(lambda: strategy.run(replica))()
"""
LINE = "loss = tf.reduce_sum(tf.round(y))"


def test_each_replica_has_its_causes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "log")],
        check=True,
        capture_output=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    runs = gs.load(tmp_path / "log").runs
    assert sorted(runs) == ["eager", "graph"]
    for run in runs.values():
        found = {
            loss.label.replica: {
                (run.variables[position].name, cause.kind, cause.where.code)
                for cause in loss.causes
                for position in cause.variables
            }
            for loss in run.losses
        }
        both = {("w", "blocked", LINE), ("b", "unused", LINE)}
        assert found == {0: both, 1: both}
