"""Which replica of a distributed training runs here, and on which device."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tb_gradscope.recording import internals

_PARAMETER_SERVER = "/job:ps/replica:0/task:0/device:CPU:0"


@dataclasses.dataclass(frozen=True)
class Replica:
    """One replica of several that train together.

    Attributes:
      index: among all replicas, those of other workers too.
      count: how many there are.
      leads: it is the first one of this process: what is the same in all replicas
        is recorded there.
      device: where it computes.
    """

    index: int
    count: int
    leads: bool
    device: str


def replica_here() -> Replica | None:
    """Returns the replica whose code runs, None where training is not distributed.

    Raises:
      NotImplementedError: one trace serves all replicas, so that none is told apart.
    """
    if not tf.distribute.has_strategy():
        return None
    context = tf.distribute.get_replica_context()
    if context is None:
        return None
    strategy = context.strategy
    if isinstance(strategy, (tf.distribute.TPUStrategy, tf.distribute.experimental.TPUStrategy)):
        raise NotImplementedError(
            "the replicas of a TPUStrategy share one trace and cannot reach variables outside of "
            "the TPU; take gradients to be recorded outside of strategy.run"
        )
    count = int(strategy.num_replicas_in_sync)
    if count <= 1:
        return None
    index = internals.replica_index(context)
    devices = strategy.extended.worker_devices
    local = index % len(devices)
    return Replica(index, count, local == 0, devices[local])


def device_here() -> str | None:
    """Returns the device for variables that the code here is to reach, None for any.

    What XLA compiles reaches variables on its own device only. The workers of a
    `ParameterServerStrategy` reach parameter servers; whether they reach the chief is
    the network's affair.
    """
    if is_coordinated():
        return _PARAMETER_SERVER
    context = tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
    if context is None:
        return internals.eager_device()
    devices = context.strategy.extended.worker_devices
    return str(devices[internals.replica_index(context) % len(devices)])


def is_on_one_device() -> bool:
    """Tells whether all there is to compute on is one processor: no GPU, no other machine."""
    return not is_coordinated() and len(tf.config.list_logical_devices()) == 1


def is_coordinated() -> bool:
    """Tells whether functions traced here run on other machines, several at once.

    `ParameterServerStrategy` traces them in the chief and runs them on whatever worker
    is free.
    """
    return isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy)
