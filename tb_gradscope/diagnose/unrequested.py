"""`unrequested`: variables that the tape watched, and no `gradient()` asks for.

Seen: a trainable variable was read under the tape of a loss, and in no call is it among
the variables asked for.

Usually: left out on purpose (only the head is trained), and then all is well. But
layers made inside of `call`, or kept where Keras does not look for them (in a plain
object), are missing from `trainable_variables` as well, and never learn.

Only said: whether it is meant so cannot be seen. An error where the list asked for is
empty: it was taken before the model had weights, and nothing learns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Span, where
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory

_NUMBERS = re.compile("b?float|complex")  # dtypes that have gradients; counters have none


def unrequested(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields one finding for each loss whose tape watched more than is asked for."""
    for loss in run.losses:
        names = tuple(one.name for one in loss.unrequested if _NUMBERS.match(one.dtype))
        if not names:
            continue
        asks_for_nothing = not len(loss.variables)
        told = _asks_for_nothing(loss, names) if asks_for_nothing else _left_out(loss, names)
        yield Finding(
            kind="unrequested",
            severity="error" if asks_for_nothing else "info",
            loss=loss.name,
            label=loss.label,
            variables=names,
            span=_span(loss),
            message=told[0],
            advice=told[1],
            where=where(loss.where),
            evidence={"threshold": None},
        )


def _left_out(loss: LossHistory, names: tuple[str, ...]) -> tuple[str, str]:
    return (
        f"{words.named(names)} took part under the tape of {words.loss_name(loss)}, but no "
        f"gradient() asks for {'it' if len(names) == 1 else 'them'}.",
        "Fine if it is not to learn. Else add it to the variables asked for: a layer made inside "
        "of call(), or kept in a plain object, is missing from trainable_variables.",
    )


def _asks_for_nothing(loss: LossHistory, names: tuple[str, ...]) -> tuple[str, str]:
    return (
        f"{words.loss_name(loss)} asks for no gradient at all: the list of variables that "
        f"gradient() is given is empty, and {words.named(names)} "
        f"{'does' if len(names) == 1 else 'do'} not learn.",
        "Take model.trainable_variables anew in each step, or after the model was first called: "
        "before that its layers have no weights.",
    )


def _span(loss: LossHistory) -> Span:
    steps = loss.steps if len(loss.steps) else np.zeros(1, np.int64)
    return Span(int(steps[0]), int(steps[-1]), "all", max(1, loss.records))
