"""One worker of MultiWorkerMirroredStrategy, as TF_CONFIG says: `workers.py LOGDIR`.

Trains plain, then recorded, and prints the weights of both, as bytes in hexadecimal.
Worker 1 is killed then, in the middle of its recording.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import types

import tensorflow as tf

import tb_gradscope as gs

STEPS = 3


class Training:
    def __init__(self):
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        rows = tf.constant([[3.0, 0.0], [0.0, 4.0]])
        self.inputs = self.strategy.experimental_distribute_values_from_function(
            lambda context: rows[context.replica_id_in_sync_group]
        )

    def weights(self, api):
        with self.strategy.scope():
            w = tf.Variable([1.0, 2.0], aggregation=tf.VariableAggregation.MEAN, name="w")

        def replica(x):
            with api.GradientTape() as tape:
                loss = tf.reduce_sum(w * x)
            total = tf.distribute.get_replica_context().all_reduce("SUM", tape.gradient(loss, w))
            clipped, _ = api.clip_by_global_norm([total], 1.0)
            w.assign_sub(clipped[0])

        step = tf.function(lambda: self.strategy.run(replica, (self.inputs,)))
        for _ in range(STEPS):
            step()
        return w.numpy().tobytes().hex()


PLAIN = types.SimpleNamespace(
    GradientTape=tf.GradientTape, clip_by_global_norm=tf.clip_by_global_norm
)

# Entered first: a strategy of several workers must be made before TensorFlow is used.
with gs.record(sys.argv[1], every=1, on_error="raise") as recorder:
    training = Training()
    weights = [training.weights(api) for api in (PLAIN, gs)]
    print(json.dumps(weights), flush=True)
    recorder.flush()
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()  # until the other one is dead
print("done", flush=True)
os._exit(0)  # TensorFlow would wait for the dead worker
