"""The runs that the page's tests look at."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tb_gradscope.format import messages
from tb_gradscope.format.record import none_norm
from tb_gradscope.format.statistics import Reason, State
from tests.view.logs import Clip, Cosine, Log, Loss, Optimizer, replica

Cell = float | State

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "quote\"'`&amp;",
    "../../etc/passwd",
    "a" * 300,
    "🦊/\u202egnp.exe",
    "__proto__",
)
HOSTILE_LOSS = "<b>bold</b>"
HOSTILE_SITE = "<i>site</i>"
HOSTILE_RUN = "a b&c=d#e 100% <i>"

STEPS = (0, 10, 20, 30, 40)
RECON: Mapping[str, Sequence[Cell]] = {
    "enc/kernel": [1.0, 0.5, 0.25, 0.125, 0.0625],
    "enc/bias": [0.01] * 5,
    "dec/kernel": [0.5, 0.5, State.NAN, 0.5, State.INF],
    "dec/bias": [State.ZERO] * 5,
    "codebook": [2.0, 2.0, State.NONE, State.NONE, State.NONE],
}
KL: Mapping[str, Cell] = {
    "enc/kernel": 3e-4,
    "enc/bias": 2e-7,
    "dec/kernel": State.NONE,
    "dec/bias": State.NONE,
}
"""Recorded at steps 0 and 20 only, and never asked for "codebook"."""


def record(log: Log, loss: Loss, step: int, cells: Mapping[str, Cell]) -> None:
    """Records what the page shall show: a norm or a state for each variable."""
    states = [cell if isinstance(cell, State) else State.OK for cell in cells.values()]
    norms = [1.0 if isinstance(cell, State) else cell for cell in cells.values()]
    assert list(cells) == loss.variables
    loss.record(log, step, norms, states)


def train(run: pathlib.Path) -> None:
    """All states, two losses, two clip sites."""
    recon, kl = Loss("recon", RECON, line=36), Loss("kl", KL, line=37)
    names = ["enc/kernel", "dec/kernel", "enc/bias", "codebook"]
    site = Clip("all", names)
    each = Clip("each", ["dec/kernel"], messages.Clip.VALUE, after="all")
    with Log(run) as log:
        for series in (recon, kl, site, each):
            series.open(log, 0)
        for i, step in enumerate(STEPS):
            record(log, recon, step, {name: cells[i] for name, cells in RECON.items()})
            if step in (0, 20):
                record(log, kl, step, KL)
            size = 1.0 if step < 30 else 0.1
            site.record(log, step, [3 * size, 4 * size, 0, none_norm()])
            each.record(log, step, [0.5])


def wide(run: pathlib.Path) -> None:
    """More rows than a screen has, one of them NaN."""
    names = [f"block_{i}/{kind}" for i in range(200) for kind in ("kernel", "bias")]
    loss = Loss("loss", names)
    states = [State.NAN if name == "block_150/bias" else State.OK for name in names]
    with Log(run) as log:
        loss.open(log, 0)
        loss.record(log, 0, 10.0 ** -(np.arange(len(names)) / 100), states)


def flicker(run: pathlib.Path) -> None:
    """None at every second record, too many to mark each; another loss was only traced."""
    loss, traced = Loss("loss", ["w"]), Loss("traced", ["w", "v"])
    with Log(run) as log:
        loss.open(log, 0)
        traced.open(log, 0)
        traced.event(log, 0, messages.Event.TRACED, [1], [State.NONE])
        for step in range(121):
            loss.record(log, step, 2.0, [State.NONE if step % 2 else State.OK])


def hostile(run: pathlib.Path) -> None:
    """Names that would break a page that is not careful."""
    with Log(run) as log:
        for name in (HOSTILE_LOSS, "__proto__"):
            loss = Loss(name, HOSTILE)
            loss.open(log, 0)
            loss.record(log, 0, 1.0, [State.NONE] + [State.OK] * (len(HOSTILE) - 1))
        site = Clip(HOSTILE_SITE, HOSTILE)
        site.open(log, 0)
        site.record(log, 0, [1.0] * len(HOSTILE))


def crashed(run: pathlib.Path) -> None:
    """The program ended after tracing, before any number."""
    loss = Loss("loss1", ["w1", "w2"])
    with Log(run) as log:
        loss.open(log, 0)
        loss.event(log, 0, messages.Event.TRACED, [1], [State.NONE])


MULTI_STEPS = range(0, 200, 5)
MULTI_VARIABLES = tuple(
    f"{layer}/{kind}"
    for layer in ("encoder/dense_1", "encoder/dense_2", "codebook", "decoder/dense_1")
    for kind in ("kernel", "bias")
)
SKIPPED = (0, 5, 100)
SPIKE, ONSET = 60, 150


def multi(run: pathlib.Path) -> None:
    """A sum of two parts in mixed precision: an optimizer, conflicts, a spike, a NaN.

    The cosines of the parts are -0.5 on all but the last variable; there +1.
    """
    names, label = list(MULTI_VARIABLES), {"stage": messages.Label.UNSCALED}
    total = Loss("total", names, label=label, watched=True)
    recon, kl = (
        Loss(name, names, label=label, watched=True, part_of="total") for name in ("recon", "kl")
    )
    other = Loss("adversarial", names[:2])
    pairs = [Cosine("kl", ["recon"], names, label=label)]
    adam = Optimizer("adam", names, scaled=True)
    sites = [Clip("adam.global_clipnorm", names, label=label, counts_every_call=False)]
    with Log(run) as log:
        for series in (total, recon, kl, other, *pairs, adam, *sites):
            series.open(log, 0)
        scale = 2.0**16
        for i, step in enumerate(MULTI_STEPS):
            norms = np.array([10.0 ** -(k / 3) for k in range(len(names))]) * (1 + 0.3 * np.sin(i))
            overflow, nan = step in SKIPPED, step >= ONSET
            states = [State.INF if overflow else State.OK] * len(names)
            if nan:
                states[5] = State.NAN
            reason = Reason.NONFINITE if step in (100, ONSET) else Reason.CADENCE
            if step == SPIKE:
                norms, reason = norms * 40, Reason.SPIKE
                total.event(log, step, messages.Event.SPIKE, [0, 1, 2, 3])
            total.record(log, step, norms, states, reason=reason, scale=scale)
            recon.record(log, step, norms * 0.9, states, scale=scale)
            kl.record(log, step, norms * 0.2, scale=scale)
            other.record(log, step, 0.01)
            values = [-0.5 + 0.3 * np.sin(i / 4)] * (len(names) - 1) + [1.0]
            pairs[0].record(log, step, [values])
            updates = 3 * np.array([10.0 ** -(1.5 + k / 2) for k in range(len(names))])
            reached = [State.INF if overflow else State.OK] * len(names)
            adam.record(log, step, norms, updates, reached, scale=scale, rate=1e-3 * 0.98**i)
            if overflow:
                scale /= 2
            else:
                sites[0].record(log, step, norms)


def replicas(run: pathlib.Path) -> None:
    """Two replicas and their reduction, clipped before and after it."""
    labels = [replica(number) for number in (0, 1, -1)]
    losses = [Loss("loss", ["dense/kernel", "dense/bias"], label=label) for label in labels]
    sites = [Clip("clip", ["dense/kernel", "dense/bias"], label=labels[i]) for i in (0, 2)]
    with Log(run) as log:
        for series in (*losses, *sites):
            series.open(log, 0)
        for step in range(20):
            for number, loss in enumerate(losses):
                loss.record(log, step, [1.0 + number, 0.1])
            for site in sites:
                site.record(log, step, [2.0, 0.5])


def columns(run: pathlib.Path) -> None:
    """More columns than a screen has."""
    with Log(run) as log:
        for i in range(60):
            loss = Loss(f"task_{i:02}", ["w", "b"])
            loss.open(log, 0)
            loss.record(log, 0, [1.0 + i, 0.5])


def write(logdir: pathlib.Path) -> None:
    """Writes all runs. The last one is the newest: the one the page opens by itself."""
    hostile(logdir / HOSTILE_RUN)
    crashed(logdir / "crashed")
    wide(logdir / "wide")
    flicker(logdir / "flicker")
    multi(logdir / "multi")
    replicas(logdir / "replicas")
    columns(logdir / "columns")
    train(logdir / "train")
