"""What `GradientTape.gradient` hands to the recorder."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Hashable
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.distribution.replica import replica_here
from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.measure.loss_value import with_loss
from tb_gradscope.recording.optimizer.micro_batches import batch_of
from tb_gradscope.recording.optimizer.scaling import scale_of
from tb_gradscope.recording.parts.companions import companions_of
from tb_gradscope.recording.parts.comparison import compare
from tb_gradscope.recording.parts.parts_of_sum import Sum
from tb_gradscope.recording.store.counted import in_function
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.labels import label_of
from tb_gradscope.recording.store.observe import observe, schema
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.verdict import Verdicts, remember
from tb_gradscope.recording.tape import names, place, sources
from tb_gradscope.recording.tape.losses import CallPaths, Key, TapeLosses, site_of
from tb_gradscope.recording.tape.origins import ORIGINS, Origin, Taken
from tb_gradscope.recording.why import lines
from tb_gradscope.recording.why.missing import explain_missing, explain_terms
from tb_gradscope.recording.why.windows import TapeLog


def observe_gradients(
    recorder: Recorder,
    losses: TapeLosses,
    target: Any,
    found: list[Any],
    gradients: list[Any],
    log: TapeLog,
    *,
    has_output_gradients: bool,
    loss_name: str | None,
    is_given: bool,
    parts: Sum | None = None,
) -> Description | None:
    """Records one call of `gradient`.

    Args:
      recorder: where to.
      losses: those of the tape.
      target: the loss.
      found: flat sources.
      gradients: one for each source; None is data.
      log: what the tape was told.
      has_output_gradients: the loss was weighted, so that it may come again otherwise.
      loss_name: given by the user, or None.
      is_given: the recorder was given to the tape.
      parts: of the loss, where it is a sum of parts.

    Returns:
      What the loss's series is of; None where no number is recorded.
    """
    graph = in_function()
    caller = place.find_caller()
    known = None if has_output_gradients else losses.find(target, loss_name)
    key = known or losses.add(target, *_candidate(recorder, target, caller, loss_name))
    replica = replica_here()
    identity = tuple(id(source) if sources.is_variable(source) else None for source in found)
    sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)
    scale = scale_of(target)
    label = label_of(
        sparse=sparse,
        stage=messages.Label.RAW if scale is None else messages.Label.UNSCALED,
        batch=batch_of(found),
    )
    seen_as = (key, identity, replica, is_given, label.stage, label.batch)
    one = recorder.seen.get(seen_as)
    if one is None or not one.is_for(found, sparse):
        one = _Identified(
            recorder,
            key,
            caller,
            found,
            label,
            is_repeat=known is not None,
            is_given=is_given,
            computed=lines.of_loss(target),
        )
        recorder.remember(seen_as, one)
    if not found:  # no number can be recorded, but what is missing can be said
        explain_missing(recorder, one.description, target, found, (), log, caller)
        return None
    ORIGINS.remember(gradients, one.origins)
    none = tuple(gradient is None for gradient in gradients)
    description = dataclasses.replace(one.description, none=none) if graph else one.description
    if parts is None:  # before what is missing ends the observing
        explain_terms(recorder, description, target, found, none, log, caller)
    explain_missing(recorder, description, target, found, none, log, caller)
    is_repeat = known is not None
    others = companions_of(recorder).observe(description.schema.name, found, gradients, is_repeat)
    compared = compare(description, others, found, gradients)

    measured = Gradients(gradients, found, scale)

    def payloads() -> list[Any]:
        rows = tf.reshape(measured.statistics(), [-1])
        return [with_loss(rows, target, scale), *compared.payloads()]

    call = observe(
        recorder,
        [description, *compared.descriptions],
        payloads,
        none,
        is_repeat=is_repeat,
        gradients=measured,
        early=functools.partial(compared.measure_apart, measured.apart),
        beside=Verdicts(recorder, [each for one in others for each in one.alive()]).reason,
    )
    remember(gradients, call.verdict)
    if parts is not None:
        for each, part in parts.record(call, description, found, none):
            if any(each.none):
                explain_missing(recorder, each, part.tensors, found, each.none, log, caller)
    return description


def _candidate(
    recorder: Recorder, target: Any, caller: place.Caller, loss_name: str | None
) -> tuple[str, Hashable]:
    """Returns what a loss is called were it alone, and where it is asked for."""
    if loss_name is not None:
        return loss_name, None
    # Looking at a frame's variables is slow, and the same call calls its loss the same.
    call = (caller.frame.f_code, caller.frame.f_lasti)
    if call not in recorder.candidates:
        recorder.candidates[call] = names.loss_candidate(target, caller)
    candidate, site = recorder.candidates[call], site_of(target, caller)
    number = recorder.paths.setdefault((candidate, site), CallPaths()).number(caller)
    return candidate, (site, number) if number != 0 else site


class _Identified:
    """A loss and its variables as recognised at one call site."""

    def __init__(
        self,
        recorder: Recorder,
        key: Key,
        caller: place.Caller,
        found: list[Any],
        label: Any,
        is_repeat: bool,
        is_given: bool,
        computed: Any,
    ) -> None:
        argument = place.argument_of(caller, names.GRADIENT, 1)
        variables = recorder.names.of_variables(found, caller, argument)
        rows = [
            sources.describe(source, name) for source, name in zip(found, variables, strict=True)
        ]
        name = recorder.losses.name(key, variables, is_repeat)
        described_schema = schema(
            messages.Schema.GRADIENT,
            name,
            rows,
            caller.message(),
            label=label,
            computed=computed,
        )
        # A tape that was given a recorder leads its clip functions there too.
        own = weakref.ref(recorder) if is_given else None
        seen_by = weakref.ref(recorder) if recorder.has_sentinel else None
        self.origins = [
            Origin(
                tuple(variables),
                position,
                recorder=own,
                taken=Taken(described_schema, position, sources.reference(source)),
                seen_by=seen_by,
            )
            for position, source in enumerate(found)
        ]
        self._sources = sources.SameSources(found)
        self._sparse = label.sparse
        described = Description(described_schema, counted_as=_counter(described_schema))
        # What is missing is said first, and opens the series.
        self.description = described.with_sentinel if recorder.has_sentinel else described

    def is_for(self, found: list[Any], sparse: bool) -> bool:
        """Tells whether these are the same variables still."""
        return bool(sparse == self._sparse) and self._sources.are(found)


def _counter(schema: Any) -> str:
    """Returns the name of the counter of a loss: each replica counts for itself."""
    return f"loss {schema.name}, replica {schema.label.replica}"
