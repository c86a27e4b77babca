"""The runs that the page's tests look at."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tb_gradscope.format import messages
from tb_gradscope.format.record import none_norm
from tb_gradscope.format.statistics import State
from tests.view.logs import Clip, Log, Loss

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


def write(logdir: pathlib.Path) -> None:
    """Writes all runs. The last one is the newest: the one the page opens by itself."""
    hostile(logdir / HOSTILE_RUN)
    crashed(logdir / "crashed")
    wide(logdir / "wide")
    flicker(logdir / "flicker")
    train(logdir / "train")
