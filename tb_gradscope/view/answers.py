"""What the routes answer in words: pure functions from histories to `schema`."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tb_gradscope.format import history
from tb_gradscope.format.statistics import State
from tb_gradscope.view import arranged, cosines, labels, marks, numbers, schema
from tb_gradscope.view.fates import Fate, fates


def run(of: history.RunHistory, token: str) -> schema.Run:
    """Returns all of a run but its numbers."""
    columns: numbers.Columns = (*of.losses, *of.optimizers)
    steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.steps for one in columns)]))
    return schema.Run(
        name=of.name,
        token=token,
        statistics=schema.STATISTICS,
        steps=_whole(steps),
        losses=tuple(
            _loss(loss, name, of)
            for loss, name in zip(of.losses, labels.ids(of.losses), strict=True)
        ),
        variables=tuple(_variable(variable) for variable in of.variables),
        clips=tuple(
            _clip(clip, name) for clip, name in zip(of.clips, labels.ids(of.clips), strict=True)
        ),
        optimizers=tuple(
            _optimizer(one, name)
            for one, name in zip(of.optimizers, labels.ids(of.optimizers), strict=True)
        ),
        cosines=tuple(
            schema.Cosine(one, other, _whole(pair.variables), _whole(pair.steps))
            for (one, other), pair in zip(pair_ids(of), of.cosines, strict=True)
        ),
        missing=tuple(_missing(fate, of) for fate in fates(of, State.NONE)),
        nonfinite=nonfinite(of),
        overflows=marks.overflows(of),
        marks=marks.marks(of),
        problems=of.problems,
    )


def nonfinite(of: history.RunHistory) -> tuple[schema.Nonfinite, ...]:
    """Returns all gradients that ever held NaN or Inf, those of one loss and fate as one entry."""
    found = [*fates(of, State.NAN), *fates(of, State.INF)]
    found.sort(key=lambda fate: (fate.first_step, fate.columns[0], fate.state))
    return tuple(_nonfinite(fate, of) for fate in found)


def pair_ids(of: history.RunHistory) -> tuple[tuple[str, str], ...]:
    """Returns the ids of each pair of losses that was compared; names of those not recorded."""
    known = labels.ids(of.losses)

    def name(pair: history.CosineHistory, side: int) -> str:
        loss = cosines.loss_of(of, pair, side)
        here = (i for i, one in enumerate(of.losses) if one is loss)
        return next((known[i] for i in here), pair.losses[side])

    return tuple((name(pair, 0), name(pair, 1)) for pair in of.cosines)


def _missing(fate: Fate, of: history.RunHistory) -> schema.Missing:
    return schema.Missing(
        loss=_id(fate.loss, of),
        variables=fate.variables,
        first_step=fate.first_step,
        last_step=fate.last_step,
        # One None is a None that comes and goes: "once" is for what is not finite.
        pattern="on_and_off" if fate.pattern == "once" else fate.pattern,
        count=fate.count,
        asked=fate.asked,
        where=_place(fate.loss.where),
    )


def _nonfinite(fate: Fate, of: history.RunHistory) -> schema.Nonfinite:
    return schema.Nonfinite(
        loss=_id(fate.loss, of),
        variables=fate.variables,
        state="nan" if fate.state is State.NAN else "inf",
        first_step=fate.first_step,
        last_step=fate.last_step,
        pattern=fate.pattern,
        count=fate.count,
        asked=fate.asked,
        exact=fate.exact,
        where=_place(fate.loss.where),
    )


def _id(loss: history.LossHistory, of: history.RunHistory) -> str:
    known = labels.ids(of.losses)
    return next(known[i] for i, one in enumerate(of.losses) if one is loss)


def _loss(of: history.LossHistory, name: str, run: history.RunHistory) -> schema.Loss:
    scales = of.loss_scales.astype(np.float64)
    scaled = bool((scales != 1).any())
    return schema.Loss(
        id=name,
        name=of.name,
        part_of=of.part_of,
        total=arranged.total_of(of, run.losses),
        where=_place(of.where),
        label=_label(
            of.label, labels.sentence(of.label) + ", before clipping" * (not of.label.clipped)
        ),
        variables=_whole(of.variables),
        steps=_whole(of.steps),
        calls=_whole(of.calls),
        records=int(of.records),
        traced_only=bool(of.traced_only),
        watched=bool(of.watched),
        nonfinite=int(of.nonfinite.max(initial=0)),
        loss_scales=tuple(np.where(np.isfinite(scales), scales, -1).tolist()) if scaled else (),
        skipped_steps=_whole(of.skipped_steps),
    )


def _optimizer(of: history.OptimizerHistory, name: str) -> schema.Optimizer:
    return schema.Optimizer(
        id=name,
        name=of.name,
        class_name=of.class_name,
        where=_place(of.where),
        label=_label(
            of.label, labels.sentence(of.label) + ", as it reached the optimizer", stage=False
        ),
        accumulation=int(of.accumulation),
        has_loss_scale=bool(of.has_loss_scale),
        variables=_whole(of.variables),
        steps=_whole(of.steps),
        calls=_whole(of.calls),
        applied=_whole(of.applied),
        skipped=_whole(of.skipped),
        skipped_steps=_whole(of.skipped_steps),
    )


def _clip(of: history.ClipHistory, name: str) -> schema.Clip:
    return schema.Clip(
        id=name,
        name=of.name,
        method=of.method,  # type: ignore[arg-type]
        after=of.after,
        where=_place(of.where),
        label=_label(of.label, labels.of_clipping(of.label)),
        variables=of.variables,
        steps=_whole(of.steps),
        calls=_whole(of.calls),
        clipped=_whole(of.clipped),
        nonfinite=_whole(of.nonfinite),
        counts_every_call=of.counts_every_call,
    )


def _variable(of: history.Variable) -> schema.Variable:
    return schema.Variable(
        name=of.name,
        layer=of.layer,
        dtype=of.dtype,
        shape=of.shape,
        kind=of.kind,  # type: ignore[arg-type]
        trainable=of.trainable,
        size=-1 if min(of.shape, default=0) < 0 else math.prod(of.shape),
    )


def _label(of: history.Label, text: str, stage: bool = True) -> schema.Label:
    return schema.Label(
        stage=of.stage,  # type: ignore[arg-type]
        batch=of.batch,  # type: ignore[arg-type]
        replicas=of.replicas,
        replica=of.replica,
        sparse=of.sparse,
        step_source=of.step_source,  # type: ignore[arg-type]
        text=text,
        subtitle=labels.subtitle(of, stage),
    )


def _place(of: history.Place | None) -> schema.Place | None:
    return None if of is None else schema.Place(**dataclasses.asdict(of))


def _whole(numbers: history.Steps) -> tuple[int, ...]:
    return tuple(numbers.tolist())
