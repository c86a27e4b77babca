"""A run with one series of each kind, none of which holds a record."""

from __future__ import annotations

import numpy as np

from tb_gradscope.format.history import (
    ClipHistory,
    CosineHistory,
    Label,
    LossHistory,
    OptimizerHistory,
    RunHistory,
)
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import STATISTIC_COUNT


def empty_run() -> RunHistory:
    """Returns such a run."""
    label = Label("raw", "whole", 1, 0, False, "calls")
    whole, real = np.zeros(0, np.int64), np.zeros(0, np.float32)
    counts = np.zeros((0, len(COUNTED)), np.int64)
    values = np.zeros((0, 0, STATISTIC_COUNT), np.float32)
    norms, times = np.zeros((0, 0), np.float32), np.zeros(0)
    loss = LossHistory(
        name="",
        where=None,
        label=label,
        variables=whole,
        steps=whole,
        wall_times=times,
        values=values,
        calls=whole,
        records=0,
        state_counts=counts,
        asked=whole,
        first_seen=counts,
        last_seen=counts,
        skipped_steps=whole,
        overflowed=whole,
        traced_only=False,
        part_of="",
        watched=False,
        nonfinite=whole,
        reasons=whole,
        loss_scales=real,
        loss_values=real,
        spikes=np.zeros((0, 2), np.int64),
    )
    optimizer = OptimizerHistory(
        name="",
        class_name="",
        where=None,
        label=label,
        accumulation=1,
        has_loss_scale=False,
        variables=whole,
        steps=whole,
        wall_times=times,
        values=values,
        update_norms=norms,
        calls=whole,
        applied=whole,
        skipped=whole,
        loss_scales=real,
        learning_rates=real,
        skipped_steps=whole,
    )
    clip = ClipHistory(
        name="",
        method="",
        after="",
        where=None,
        label=label,
        variables=(),
        steps=whole,
        wall_times=times,
        norms=np.zeros((0, 0, 2), np.float32),
        calls=whole,
        clipped=whole,
        nonfinite=whole,
        counts_every_call=False,
        threshold=real,
        norm_before=real,
        norm_after=real,
        scale=real,
    )
    pair = CosineHistory(("", ""), label, whole, whole, norms)
    return RunHistory("", (), (loss,), (clip,), (optimizer,), (pair,), ())
