"""Histories made of arrays, for rules that are pure functions of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from tb_gradscope.format.history import (
    ClipHistory,
    CosineHistory,
    Label,
    LossHistory,
    OptimizerHistory,
    Place,
    RunHistory,
    Variable,
)
from tb_gradscope.format.record import COUNTED, absent_norm, none_norm
from tb_gradscope.format.statistics import (
    BESIDE_NORM,
    STATISTIC_COUNT,
    Reason,
    State,
    Statistic,
)

LABEL = Label("raw", "whole", 1, 0, False, "user")
PLACE = Place("train.py", 36, "train_step", "gradients = tape.gradient(loss, variables)")
COMPUTED = Place("train.py", 34, "train_step", "loss = tf.reduce_mean(tf.math.log(p))")


def variable(name, shape=(32, 32), trainable=True):
    """A variable; what it is to its layer follows from the name and the rank."""
    return Variable(name, name.rpartition("/")[0], "float32", shape, "variable", trainable)


def loss(norms, name="loss", weights=1.0, states=None, reasons=None, **changes):
    """A loss, from its norms.

    Args:
      norms: `[record, variable]`; NaN, Inf, 0 and None mean the states.
      weights: norms of the variables, broadcast.
      states: `[record, variable]`, if they do not follow from the norms.
      reasons: `[record]`.
    """
    table = np.array([[np.nan if n is None else n for n in row] for row in norms], np.float32)
    none = np.array([[n is None for n in row] for row in norms], bool)
    if states is None:
        states = np.full(table.shape, State.OK)
        states[table == 0] = State.ZERO
        states[np.isinf(table)] = State.INF
        states[np.isnan(table)] = State.NAN
        states[none] = State.NONE
    count, columns = table.shape
    values = np.zeros((count, columns, STATISTIC_COUNT), np.float32)
    values[:, :, Statistic.STATE] = states
    values[:, :, Statistic.NORM] = table
    values[:, :, Statistic.VARIABLE_NORM] = weights
    steps = changes.pop("steps", np.arange(count))
    first = np.full((columns, len(COUNTED)), -1)
    last = first.copy()
    for kind, state in enumerate(COUNTED):
        for column in range(columns):
            at = steps[np.flatnonzero(states[:, column] == state)]
            if len(at):
                first[column, kind], last[column, kind] = at[0], at[-1]
    broken = np.isin(states, (State.NAN, State.INF)).any(axis=1)
    made = LossHistory(
        name=name,
        where=PLACE,
        label=LABEL,
        variables=np.arange(columns),
        steps=np.asarray(steps),
        wall_times=np.arange(count, dtype=float),
        values=values,
        calls=np.asarray(steps) + 1,
        records=count,
        state_counts=np.stack([(states == state).sum(axis=0) for state in COUNTED], 1),
        asked=np.full(columns, count),
        first_seen=first,
        last_seen=last,
        skipped_steps=np.zeros(0, np.int64),
        overflowed=np.zeros(columns, np.int64),
        traced_only=False,
        part_of="",
        watched=True,
        nonfinite=np.cumsum(broken),
        reasons=np.full(count, Reason.CADENCE) if reasons is None else np.asarray(reasons),
        loss_scales=np.ones(count, np.float32),
        loss_values=np.ones(count, np.float32),
        spikes=np.zeros((0, 2), np.int64),
    )
    return dataclasses.replace(made, **changes)


def clip(before, threshold, name="clip_by_global_norm", **changes):
    """A clip site by global norm, from the norms of each gradient before: `[record, variable]`."""
    table = np.array([[np.nan if n is None else n for n in row] for row in before], np.float32)
    none = np.array([[n is None for n in row] for row in before])
    whole = np.sqrt((np.where(none, 0, table) ** 2).sum(axis=1))
    finite = np.isfinite(whole)
    clipped = finite & (whole > threshold)
    scale = np.where(clipped, threshold / whole, np.where(finite, 1, np.nan))
    norms = np.stack([table, table * scale[:, None]], 2).astype(np.float32)
    norms[none] = none_norm()
    count = len(table)
    made = ClipHistory(
        name=name,
        method="global_norm",
        after="",
        where=PLACE,
        label=LABEL,
        variables=tuple(f"v{i}" for i in range(table.shape[1])),
        steps=np.arange(count),
        wall_times=np.arange(count, dtype=float),
        norms=norms,
        calls=np.arange(count) + 1,
        clipped=np.cumsum(clipped),
        nonfinite=np.cumsum(~finite),
        counts_every_call=True,
        threshold=np.full(count, threshold, np.float32),
        norm_before=whole.astype(np.float32),
        norm_after=(whole * scale).astype(np.float32),
        scale=scale.astype(np.float32),
    )
    return dataclasses.replace(made, **changes)


def optimizer(updates, weights=1.0, name="adam", **changes):
    """An optimizer, from the norms of its updates: `[record, variable]`."""
    updates = np.asarray(updates, np.float32)
    count, columns = updates.shape
    of = loss(np.ones_like(updates), weights=weights)
    made = OptimizerHistory(
        name=name,
        class_name="Adam",
        where=PLACE,
        label=LABEL,
        accumulation=1,
        has_loss_scale=False,
        variables=np.arange(columns),
        steps=np.arange(count),
        wall_times=np.arange(count, dtype=float),
        values=of.values,
        update_norms=updates,
        calls=np.arange(count) + 1,
        applied=np.arange(count) + 1,
        skipped=np.zeros(count, np.int64),
        loss_scales=np.ones(count, np.float32),
        learning_rates=np.full(count, 1e-3, np.float32),
        skipped_steps=np.zeros(0, np.int64),
    )
    return dataclasses.replace(made, **changes)


def norm_alone(of, records, columns):
    """The same loss or optimizer, with records that only the sentinel has chosen.

    Args:
      of: the loss or optimizer.
      records: positions of these records.
      columns: positions of the large variables: of their gradients only the norm is known there.
    """
    here = np.ix_(np.atleast_1d(records), columns)
    values = of.values.copy()
    for statistic in BESIDE_NORM:
        values[(*here, statistic)] = absent_norm()
    changes = {"values": values}
    if isinstance(of, OptimizerHistory):
        changes["update_norms"] = of.update_norms.copy()
        changes["update_norms"][here] = np.nan
    else:
        changes["reasons"] = of.reasons.copy()
        changes["reasons"][records] = Reason.SPIKE
    return dataclasses.replace(of, **changes)


def cosines(one, other, values):
    """Cosines of two losses on the same variables: `[record, variable]`."""
    values = np.asarray(values, np.float32)
    return CosineHistory(
        (one, other), LABEL, np.arange(values.shape[1]), np.arange(len(values)), values
    )


def run(*losses, variables=None, clips=(), optimizers=(), cosines=()):
    """A run of some losses, over variables v0, v1... that are all kernels."""
    columns = max([len(one.variables) for one in (*losses, *optimizers)] + [len(variables or ())])
    variables = variables or [variable(f"v{i}") for i in range(columns)]
    return RunHistory(
        name="run",
        variables=tuple(variables),
        losses=losses,
        clips=tuple(clips),
        problems=(),
        optimizers=tuple(optimizers),
        cosines=tuple(cosines),
    )


def noise(count, columns=1, scale=0.3, seed=0):
    """Norms as training has them: log-normal around 1, `[record, variable]`."""
    return np.random.default_rng(seed).lognormal(0, scale, (count, columns))
