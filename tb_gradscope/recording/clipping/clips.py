"""What a clip function hands to the recorder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.distribution.replica import replica_here
from tb_gradscope.recording.failure import say_once
from tb_gradscope.recording.measure.numbers import norm
from tb_gradscope.recording.store.counted import count, in_function
from tb_gradscope.recording.store.description import NONE_MARK, Description
from tb_gradscope.recording.store.labels import is_elsewhere, label_of_clipped
from tb_gradscope.recording.store.observe import record, schema
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.verdict import Verdicts, pass_on
from tb_gradscope.recording.tape import place, sources
from tb_gradscope.recording.tape.losses import Key, path_of
from tb_gradscope.recording.tape.origins import ORIGINS, Origin

_METHODS = {
    messages.Clip.GLOBAL_NORM: "clip_by_global_norm",
    messages.Clip.NORM: "clip_by_norm",
    messages.Clip.VALUE: "clip_by_value",
    messages.Clip.CUSTOM: "record_clipping",
}
_KNOWN_CALLS = frozenset(_METHODS.values())


@dataclasses.dataclass(frozen=True)
class ClipCall:
    """One call of a clip function.

    Attributes:
      method: a `Clip.Method`.
      before: gradients that went in; None is data.
      after: gradients that came out, in the same order.
      threshold: a number, a tensor or None.
      global_norm: the norm TensorFlow compared with, or None if it computed none.
      name: given by the user, or None.
      variables: given by the user, or None.
    """

    method: int
    before: list[Any]
    after: list[Any]
    threshold: Any
    global_norm: Any
    name: str | None
    variables: Any


def tape_recorder(before: list[Any]) -> Recorder | None:
    """Returns the recorder given to the tape that gradients come from, if one was."""
    for gradient in before:
        origin = None if gradient is None else ORIGINS.of(gradient)
        if origin is not None and origin.recorder is not None:
            return origin.recorder()
    return None


def observe_clip(recorder: Recorder, call: ClipCall) -> None:
    """Records one call of a clip function."""
    if not call.before:
        return
    in_function()  # raises where nothing can be recorded
    known = [None if gradient is None else ORIGINS.of(gradient) for gradient in call.before]
    caller = place.find_caller()
    none = tuple(gradient is None for gradient in call.before)
    given = _given(call, caller)
    key = _key(call, caller, known, none, given)
    one = recorder.seen.get(key)
    if one is None or not one.given.are(given):
        one = _Recognised(recorder, call, caller, known, none, given)
        recorder.remember(key, one)
    ORIGINS.remember(call.after, one.origins)
    if is_elsewhere(one.description.schema.label):
        return
    tally = _tally(call) if one.description.schema.clip.counts_every_call else None
    counted = count(recorder, one.description, none)
    verdicts = Verdicts(recorder, call.before)
    if verdicts.can_wait:
        counted = counted.beside(verdicts.reason)
    record(counted, [one.description], lambda: [_payload(call)], tally=tally)
    is_global = call.method == messages.Clip.GLOBAL_NORM
    is_own = call.method == messages.Clip.CUSTOM
    halves = verdicts.halves() if is_global and not verdicts.can_wait else None
    if halves is not None:  # large ones are not read again
        alone = counted.beside_alone(verdicts.reason)
        record(alone, [one.description], lambda: [_payload(call, halves)])
    pass_on(call.before, call.after, _scale_of(call) if is_global else None, is_own=is_own)


def _scale_of(call: ClipCall) -> Callable[[], Any]:
    norm_before, threshold = call.global_norm, call.threshold

    def scale() -> Any:
        return global_scale(tf.cast(norm_before, tf.float32), tf.cast(threshold, tf.float32))

    return scale


class _Recognised:
    """A clip site and its variables as recognised at one call."""

    def __init__(
        self,
        recorder: Recorder,
        call: ClipCall,
        caller: place.Caller,
        known: list[Origin | None],
        none: tuple[bool, ...],
        given: list[Any],
    ) -> None:
        variables = _variables(recorder, call, known, caller, given)
        site = _site_name(recorder, call, variables, caller)
        described = schema(
            messages.Schema.CLIP,
            site,
            variables,
            caller.message(),
            label=label_of_clipped(known),
            clip=messages.Clip(
                method=call.method,
                after=next((origin.site for origin in known if origin and origin.site), ""),
                # A global norm is there in every call; others cost a pass over the gradient.
                counts_every_call=call.global_norm is not None,
            ),
        )
        self.description = Description(described, none)
        every_name = tuple(variable.name for variable in variables)
        is_own = call.method == messages.Clip.CUSTOM
        of_tape = next((origin.recorder for origin in known if origin), None)
        self.origins = [
            Origin(
                every_name,
                position,
                site,
                of_tape,
                None if origin is None else origin.taken,
                # A clipper of the program's own may make a NaN of its own.
                None if origin is None or is_own else origin.seen_by,
            )
            for position, origin in enumerate(known)
        ]
        self.given = sources.SameSources(given)


def _key(
    call: ClipCall,
    caller: place.Caller,
    known: list[Origin | None],
    none: tuple[bool, ...],
    given: list[Any],
) -> Hashable:
    """Returns all that decides how a call is recognised.

    Gradients of unknown origin go by their names in the frames on the way.
    """
    is_named = bool(given) or all(origin or no for origin, no in zip(known, none, strict=True))
    return (
        (caller.frame.f_code, caller.frame.f_lasti),
        None if is_named else path_of(caller),
        (call.method, call.name, call.global_norm is None),
        tuple(known),
        replica_here(),
        none,
        tuple(id(variable) for variable in given),
    )


def _given(call: ClipCall, caller: place.Caller) -> list[Any]:
    """Returns the variables that the user gave, one for each gradient, or none."""
    given = [] if call.variables is None else tf.nest.flatten(call.variables)
    if given and len(given) != len(call.before):
        say_once(
            f"tb_gradscope: {_METHODS[call.method]} at {caller.file}:{caller.line} got "
            f"{len(call.before)} gradients and variables={len(given)} variables; expected one "
            "for each gradient, in the same order. The variables are ignored."
        )
        return []
    return given


def _variables(
    recorder: Recorder,
    call: ClipCall,
    known: list[Origin | None],
    caller: place.Caller,
    given: list[Any],
) -> list[Any]:
    """Returns a `Variable` message for each gradient."""
    if given:
        spelled = recorder.names.of_variables(given, caller, None)
        return [sources.describe(v, name) for v, name in zip(given, spelled, strict=True)]
    from_one_list = next(
        (
            origin.names
            for position, origin in enumerate(known)
            if origin and origin.position == position and len(origin.names) == len(known)
        ),
        None,
    )
    argument = place.argument_of(caller, _KNOWN_CALLS, 0)
    spelled = recorder.names.of_variables(call.before, caller, argument, "gradient")
    described = []
    for position, (gradient, origin) in enumerate(zip(call.before, known, strict=True)):
        if origin is not None:
            name = origin.names[origin.position]
        elif gradient is None and from_one_list is not None:
            name = from_one_list[position]
        else:
            name = spelled[position]
        described.append(sources.describe(gradient, name))
    return described


def _site_name(
    recorder: Recorder, call: ClipCall, variables: list[Any], caller: place.Caller
) -> str:
    # These clip one gradient at a time, so that a list of them is several calls.
    one_by_one = call.method in (messages.Clip.NORM, messages.Clip.VALUE)
    key = Key(call.name or _METHODS[call.method], None if call.name else caller.key, 0)
    return recorder.sites.name(key, [v.name for v in variables], is_same=one_by_one)


def _tally(call: ClipCall) -> Any:
    """Returns int64 [clipped, not finite], 0 or 1 each, for this call."""
    norms = tf.cast(call.global_norm, tf.float32)
    finite = tf.math.is_finite(norms)
    clipped = finite & (norms > tf.cast(call.threshold, tf.float32))
    return tf.cast(tf.stack([clipped, ~finite]), tf.int64)


def _payload(call: ClipCall, halves: Any = None) -> Any:
    """Returns the payload of a call.

    Args:
      call: the call.
      halves: float32 `[gradient]`, half the squared norms that `clip_by_global_norm` has
        compared with; None to read the gradients.
    """
    before = [as_tensor(gradient) for gradient in call.before]
    after = [as_tensor(gradient) for gradient in call.after]
    threshold = np.nan if call.threshold is None else tf.reduce_max(call.threshold)
    threshold = tf.cast(threshold, tf.float32)
    norms_before = _norms(before) if halves is None else tf.sqrt(2.0 * halves)
    whole = whole_norm(norms_before)
    if call.global_norm is None:
        norms_after = _norms(after)
    else:
        whole = tf.cast(call.global_norm, tf.float32)
        # Not read from what comes out: with a second reader, TensorFlow no longer joins the
        # clipping with the update that follows, which then rounds otherwise.
        norms_after = norms_before * global_scale(whole, threshold)
    if call.method in (messages.Clip.GLOBAL_NORM, messages.Clip.NORM):
        clipped = whole > threshold
    else:
        clipped = tf.reduce_any(
            [_differ(b, a) for b, a in zip(before, after, strict=True) if b is not None] or [False]
        )
    none = [gradient is None for gradient in before]
    return clip_payload(threshold, whole, norms_before, norms_after, clipped, none)


def clip_payload(
    threshold: Any,
    whole_before: Any,
    norms_before: Any,
    norms_after: Any,
    clipped: Any,
    none: Sequence[bool],
) -> Any:
    """Returns float32 [threshold, norm before, after, scale, clipped, not finite, norms...].

    Args:
      threshold: float32 scalar.
      whole_before: norm of all gradients together.
      norms_before: float32 `[gradient]`; 0 for None.
      norms_after: the same of what came out.
      clipped: bool scalar, whether clipping changes anything where all is finite.
      none: which gradients are None.
    """
    whole_after, finite = whole_norm(norms_after), tf.math.is_finite(whole_before)
    clipped = clipped & finite
    scale = tf.where(clipped, tf.math.divide_no_nan(whole_after, whole_before), 1.0)
    scale = tf.where(tf.math.is_finite(whole_after) & finite, scale, np.nan)
    flags = [tf.cast(clipped, tf.float32), tf.cast(~finite, tf.float32)]
    header = tf.stack([threshold, whole_before, whole_after, scale, *flags])
    norms = tf.stack([norms_before, norms_after], 1)
    norms = tf.where(np.array(none, bool)[:, None], NONE_MARK, norms)
    return tf.concat([header, tf.reshape(norms, [-1])], 0)


def global_scale(norm_before: Any, threshold: Any) -> Any:
    """Returns what `clip_by_global_norm` multiplies with: NaN for a norm that is not finite."""
    scale = threshold * tf.minimum(1.0 / norm_before, 1.0 / threshold)
    return scale + (norm_before - norm_before)


def _norms(gradients: list[Any]) -> Any:
    return tf.stack([tf.constant(0.0) if g is None else norm(g) for g in gradients])


def whole_norm(norms: Any) -> Any:
    """Returns the norm of all from the norms of each, without squaring large numbers."""
    largest = tf.reduce_max(norms)
    scaled = tf.math.divide_no_nan(norms, largest)
    # A NaN or infinity must come out as such.
    odd = tf.reduce_sum(norms)
    whole = largest * tf.sqrt(tf.reduce_sum(scaled**2))
    return tf.where(tf.math.is_finite(odd), whole, odd)


def _differ(before: Any, after: Any) -> Any:
    """Tells whether clipping changed any element."""
    if isinstance(before, tf.IndexedSlices) != isinstance(after, tf.IndexedSlices):
        return tf.abs(norm(before) - norm(after)) > 1e-6 * norm(before)
    if isinstance(before, tf.IndexedSlices):
        before, after = before.values, after.values
    return tf.reduce_any(before != after)


def as_tensor(gradient: Any) -> Any:
    """Returns a gradient that may be an array or a number as a tensor; None for None."""
    is_tensor = gradient is None or isinstance(gradient, tf.IndexedSlices | tf.Tensor)
    return gradient if is_tensor else tf.convert_to_tensor(gradient)
