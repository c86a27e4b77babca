"""The report, letter by letter for one run, and what hurts terminals."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from tb_gradscope.diagnose import judge, report
from tb_gradscope.format import messages
from tb_gradscope.format.statistics import Reason
from tb_gradscope.view import answers, markdown, sentences, terminal, text
from tb_gradscope.view.load import History, load
from tests.view.logs import INF, NAN, NONE, OK, Clip, Log, Loss, Optimizer
from tests.view.runs import ODD_RUN

PLAIN = """\
Run plain
  steps 0 to 4, 5 steps recorded, 2 losses, 3 variables

Gradient norms at step 4
        one   two
layer
  a       5     4
  b       2  NONE
c         3    10

  NONE  TensorFlow returned None: no path from the loss to the variable.

Missing gradients
  two [train.py:7], None always, since step 0 (5 of 5 records): layer/b

Not finite
  one: NaN at step 2 only, in c [train.py:7]
  one: Inf at step 3 only, in c [train.py:7]

Clipping
  clip: clip_by_global_norm to 1, clipped 4 of 5 calls (80 %) up to step 4, there norm 12.3 -> 1,
    most by layer/a (100 %)
"""


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def reported(history, width):
    return text.report(history, dict.fromkeys(history.runs, ()), width)


def one_run(history, name, width=100):
    return reported(History({name: history.runs[name]}, ()), width)


def test_plain(history):
    assert one_run(history, "plain") == PLAIN


def test_narrow(history):
    narrow = one_run(history, "plain", 27).splitlines()
    begin = narrow.index("Gradient norms at step 4")
    assert narrow[begin : begin + 12] == [
        "Gradient norms at step 4",
        "        one   two",
        "layer",
        "  a       5     4",
        "  b       2  NONE",
        "c         3    10",
        "",
        "  NONE  TensorFlow returned",
        "    None: no path from the",
        "    loss to the variable.",
        "",
        "Missing gradients",
    ]
    narrower = one_run(history, "plain", 15).splitlines()
    assert "        one" in narrower
    assert "        two" in narrower


def test_heads_are_broken_between_words(tmp_path):
    names = ["tf.reduce_mean(tf.square(y - prediction))", "kl", "categorical_crossentropy_of_all"]
    with Log(tmp_path) as log:
        for name in names:
            loss = Loss(name, ["w"])
            loss.open(log, 0)
            loss.record(log, 0)
    lines = one_run(load(tmp_path), ".").splitlines()
    begin = lines.index("Gradient norms at step 0")
    assert lines[begin + 1 : begin + 4] == [
        "        tf.reduce_mean(tf.               categorical_",
        "   square(y - prediction))    kl  crossentropy_of_all",
        "w                        1     1                    1",
    ]


def test_traced(history):
    assert one_run(history, "traced", 200).splitlines() == [
        "Run traced",
        "  2 losses, 2 variables; only tracing was seen: the program ended before its first step. "
        "What is None is known all the same.",
        "",
        "Gradients, as far as tracing tells",
        "   first  second",
        "a      -       -",
        "b      -    NONE",
        "",
        "  NONE  TensorFlow returned None: no path from the loss to the variable.",
        "  -     traced, but never run.",
        "",
        "Missing gradients",
        "  second [train.py:7], None always, since step 3: b",
    ]


def test_traced_beside_numbers(history):
    run = history.runs["plain"]
    traced = history.runs["traced"].losses[1]
    mixed = dataclasses.replace(run, losses=(run.losses[0], traced))
    lines = reported(History({"plain": mixed}, ()), 100).splitlines()
    assert lines[1:3] == [
        "  steps 0 to 4, 5 steps recorded, 2 losses, 3 variables",
        "  Of second only tracing was seen: no number came.",
    ]
    assert lines[4:7] == [
        "Gradient norms at each loss's last step",
        "        one  second",
        "step      4  traced",
    ]
    assert "  -     traced, but never run." in lines


def test_losses_of_different_steps(tmp_path):
    with Log(tmp_path) as log:
        for name, variables, count in (("one", ["a", "b"], 2), ("other", ["a"], 3)):
            loss = Loss(name, variables)
            loss.open(log, 0)
            for step in range(count):
                loss.record(log, step)
    lines = one_run(load(tmp_path), ".").splitlines()
    assert lines[3:10] == [
        "No fault found.",
        "",
        "Gradient norms at each loss's last step",
        "       one  other",
        "step     1      2",
        "a        1      1",
        "b        1      -",
    ]
    assert "  -     not asked." in lines


def test_onset_of_what_is_not_finite(tmp_path):
    loss, late = Loss("loss", ["head", "w", "odd"]), Loss("late", ["w"])
    broken, brief = Loss("broken", ["w", "b"]), Loss("reg", ["transient"])
    with Log(tmp_path) as log:
        for one in (loss, late, broken, brief):
            one.open(log, 0)
        for step in range(10):
            states = [step > 7, step > 6, step in (3, 4, 8)]
            loss.record(log, step, 1, [NAN if state else OK for state in states])
            brief.record(log, step, 1, [NAN if step == 2 else OK])
            late.record(log, step, 1, [INF if step == 9 else OK])
            broken.record(log, step, 1, [NAN, NAN if step < 5 else OK])
    lines = one_run(load(tmp_path), ".", 200).splitlines()
    begin = lines.index("Not finite")
    assert lines[begin + 1 :] == [
        "  broken: first NaN seen at step 0 in w [train.py:7], in every record; b from step 0, "
        "on and off (5 of 10 records); still NaN at step 9",
        "  reg: NaN at step 2 only, in transient [train.py:7]",
        "  loss: first NaN seen at step 3 in odd [train.py:7], on and off (3 of 10 records); "
        "w from step 7; head from step 8; still NaN at step 9",
        "  late: first Inf seen at step 9 in w [train.py:7]; the last step",
    ]


def test_counts_that_are_estimates(history):
    lines = one_run(history, "asked_twice").splitlines()
    assert "  loss [train.py:7], None always, since step 0 (3 of 3 records): c" in lines
    loss = history.runs["asked_twice"].losses[0]
    counts, first = loss.state_counts.copy(), loss.first_seen.copy()
    counts[1, 0], first[1, 0] = 4, 2
    run = dataclasses.replace(
        history.runs["asked_twice"],
        losses=(dataclasses.replace(loss, state_counts=counts, first_seen=first),),
    )
    assert "(about 4 of 6 records): b" in reported(History({"": run}, ()), 1000)


def test_clipping_only(tmp_path):
    clip = Clip("clip_by_global_norm_2", ["a"])
    with Log(tmp_path) as log:
        clip.open(log, 0)
        clip.record(log, 0, [4])
    assert (
        one_run(load(tmp_path), ".")
        == """\
Run .
  No gradients recorded; clipping only.

Clipping
  clip_by_global_norm_2 to 1, clipped 1 of 1 call (100 %) up to step 0, there norm 4 -> 1, most by a
    (100 %)
"""
    )


def clipping(tmp_path, name, method, norms, threshold=1.0):
    """The sentence on a site that clips gradients one by one, one row of norms a step."""
    variables = [f"v{i}" for i in range(len(norms[0]))]
    sites = [Clip(name, [variable], method) for variable in variables]
    with Log(tmp_path) as log:
        for site in sites:
            site.open(log, 0)
        for step, row in enumerate(norms):
            for site, norm in zip(sites, row, strict=True):
                if norm:
                    site.record(log, step, [norm], threshold)
    (clip,) = load(tmp_path).runs["."].clips
    return sentences.clip(clip)


@pytest.mark.parametrize(
    ("counts_every_call", "said"),
    [(True, "clipped 1 of 1 call (100 %)"), (False, "clipped 1 of 1 recorded call (100 %)")],
)
def test_calls_that_were_counted(counts_every_call, said, tmp_path):
    # What a site is called says nothing of it.
    clip = Clip("my.global_clipnorm", ["a"], counts_every_call=counts_every_call)
    with Log(tmp_path) as log:
        clip.open(log, 0)
        clip.record(log, 0, [4])
    (clip,) = load(tmp_path).runs["."].clips
    assert said in sentences.clip(clip)


NORM, VALUE = messages.Clip.NORM, messages.Clip.VALUE


def test_gradients_clipped_one_by_one(tmp_path):
    assert clipping(tmp_path / "1", "clip_by_norm", NORM, [[0.5, 4.39, 2]]) == (
        "clip_by_norm: 3 gradients, each to 1, clipped 2 of 3 recorded calls (67 %) "
        "up to step 0, there largest 4.39 -> 1 (v1)"
    )
    assert clipping(tmp_path / "2", "mine", VALUE, [[4, 2]], 0.5) == (
        "mine: clip_by_value, 2 gradients, each to at most 0.5, clipped 2 of 2 recorded calls "
        "(100 %) up to step 0, there largest 4 -> 0.5 (v0)"
    )
    # One of them is not clipped at the last step.
    assert clipping(tmp_path / "3", "clip_by_norm", NORM, [[4, 2], [None, 3]]).endswith(
        "clip_by_norm: 1 gradient, each to 1, clipped 3 of 3 recorded calls (100 %) "
        "up to step 1, there largest 3 -> 1 (v1)"
    )
    assert clipping(tmp_path / "4", "clip_by_value", VALUE, [[4]], 0.5) == (
        "clip_by_value to at most 0.5, clipped 1 of 1 recorded call (100 %) "
        "up to step 0, there norm 4 -> 0.5, most by v0 (100 %)"
    )


def test_no_share_of_what_is_not_finite(history, tmp_path):
    (clip,) = history.runs["plain"].clips
    norms, before = clip.norms.copy(), clip.norm_before.copy()
    norms[-1, [0, 2], 0], before[-1] = [np.nan, np.inf], np.nan
    broken = dataclasses.replace(clip, norms=norms, norm_before=before)
    assert sentences.clip(broken).endswith("norm NaN -> 1, not finite in layer/a, c")
    broken = dataclasses.replace(broken, method="norm")
    assert sentences.clip(broken).endswith("up to step 4, there not finite in layer/a, c")
    norms[-1, 0, 0] = 3
    assert sentences.clip(broken).endswith(
        "up to step 4, there largest 3 -> 0.999 (layer/a), not finite in c"
    )


def test_earlier_record_is_marked(history):
    loss = history.runs["merged"].losses[0]
    assert loss.values[4, 1, 0] == -1
    cut = {name: getattr(loss, name)[:5] for name in ("steps", "wall_times", "values", "calls")}
    run = dataclasses.replace(
        history.runs["merged"], losses=(dataclasses.replace(loss, **cut),), clips=()
    )
    lines = reported(History({"merged": run}, ()), 100).splitlines()
    assert "b    3*" in lines
    assert any(line.startswith("  *     an earlier record") for line in lines)


SCALED = """\
Run scaled
  steps 0 to 9, 10 steps recorded, 1 loss, 2 variables, 1 optimizer

Gradient norms at step 9
       loss        adam
   unscaled  reached it
w         1           1
b         1           2

Not finite
  loss (unscaled): NaN at step 8 only, in b [train.py:7]

Skipped steps
  loss (unscaled): not finite in 3 records (steps 0 to 6), no fault: the loss scale had overflowed,
    and the optimizer left the update out

Optimizers
  adam (Adam), up to step 9: 7 updates applied, 3 skipped as the loss scale had overflowed (last at
    step 6); loss scale 4096 to 32768; learning rate 0.1; update to variable there: 0.001 and 0.1,
    farthest from the usual 0.001: 0.1 (b)
"""


def test_scaled(history):
    assert one_run(history, "scaled") == SCALED


def test_steps_left_out_for_ever_are_not_called_no_fault(tmp_path):
    label = {"stage": messages.Label.UNSCALED}
    loss = Loss("loss", ["w"], label=label)
    optimizer = Optimizer("adam", ["w"], scaled=True)
    with Log(tmp_path) as log:
        loss.open(log, 0)
        optimizer.open(log, 0)
        for step in range(20):
            scale, state = 8 / 2.0 ** max(0, step - 4), NAN if step >= 5 else OK
            loss.record(log, step, 1, [state], scale=scale)
            optimizer.record(log, step, 1, states=[state], scale=scale)
    lines = judged(load(tmp_path), ".", 200).splitlines()
    assert lines[lines.index("Skipped steps") + 1] == (
        "  loss (unscaled): not finite in 15 records (steps 5 to 19), which the optimizer took for "
        "overflows of its loss scale: see the findings"
    )
    assert any("15 skipped" in line and "loss scale 0.000244 to 8;" in line for line in lines)


def test_skipped_step_is_no_infinity(history):
    run = history.runs["scaled"]
    last = run.losses[0].steps == 6
    cut = {name: getattr(run.losses[0], name)[last] for name in ("steps", "values", "loss_scales")}
    run = dataclasses.replace(run, losses=(dataclasses.replace(run.losses[0], **cut),))
    lines = reported(History({"": run}, ()), 100).splitlines()
    assert "w         skip           1" in lines
    assert any(line.startswith("  skip  skipped step: the loss scale had") for line in lines)


def test_parts_and_replicas_are_labelled(history):
    lines = one_run(history, "parts").splitlines()
    assert lines[4] == "        total     recon        kl  other"
    assert lines[5] == "               in total  in total"
    lines = one_run(history, "replicas", 120).splitlines()
    heads = "   replica 0 of 2  replica 1 of 2  mean of 2 replicas  in loss, mean of 2 replicas"
    assert heads in lines
    assert any(
        line.startswith("  clip: clip_by_global_norm (before the all-reduce, on replica 0 of 2) to")
        for line in lines
    )


def test_what_the_sentinel_saw(history):
    lines = one_run(history, "watched").splitlines()
    assert "  loss: first NaN at step 237 in b [train.py:7]; still NaN at step 300" in lines
    line = lines[lines.index("Norms that left their recent range") + 1]
    assert line == "  loss [train.py:7], step 150: w left its recent range, norm 1 (and 1 more)"


def test_how_many_calls_were_recorded_and_how_many_watched(history, tmp_path):
    assert one_run(history, "watched").splitlines()[1] == (
        "  steps 0 to 300, 6 steps recorded, 301 calls watched, 1 loss, 2 variables"
    )
    with Log(tmp_path) as log:
        loss = Loss("loss", ["w"])
        loss.open(log, 7)
        loss.record(log, 7)
    run = load(tmp_path)
    assert one_run(run, ".").splitlines()[1] == "  step 7, 1 step recorded, 1 loss, 1 variable"
    assert "1 record of step 7" in repr(run.runs["."].losses[0])
    assert "| . | 7 |" in markdown.report(run, {".": ()})


def test_norms_that_left_their_recent_range(tmp_path):
    loss = Loss("loss", ["v0", "v1"], watched=True)
    with Log(tmp_path) as log:
        loss.open(log, 0)
        for step in range(30):
            is_odd = step % 5 == 4
            norms = [1, {4: 40, 9: 0.01}.get(step, 300)] if is_odd else [1, 2]
            loss.record(log, step, norms, reason=Reason.SPIKE if is_odd else Reason.CADENCE)
            if is_odd:
                loss.event(log, step, messages.Event.SPIKE, [0, 1] if step == 14 else [1])
    run = load(tmp_path).runs["."]
    (line,) = sentences.departures(run)
    assert line == (
        "loss [train.py:7], step 4: v1 rose to 40, usually 2; step 9: v1 fell to 0.01, usually 2; "
        "step 14: v1 rose to 300, usually 2 (and 1 more); 3 more, last at step 29"
    )
    said = report.as_json({"run": run}, {"run": ()})["runs"]["run"]["spikes"]
    assert said[1] == {
        "loss": "loss",
        "variables": ["v1"],
        "step": 9,
        "variable": "v1",
        "norm": pytest.approx(0.01),
        "usual_norm": 2,
        "direction": "down",
    }
    assert [mark.direction for mark in answers.run(run, "").marks] == ["up", "down", *["up"] * 4]


def test_of_a_large_model_what_is_not_well_goes_first(tmp_path):
    names = [f"v{i}" for i in range(100)]
    with Log(tmp_path) as log:
        loss = Loss("loss", names)
        loss.open(log, 0)
        loss.record(
            log, 0, [1 + i for i in range(100)], [NONE if i > 97 else OK for i in range(100)]
        )
    lines = one_run(load(tmp_path), ".", 200).splitlines()
    rows = [line.split()[0] for line in lines if line.startswith("v")]
    assert rows == [*names[:58], "v98", "v99"]
    assert "  40 more variables: norms 59 to 98; gs.load(LOGDIR).to_pandas() has them all" in lines


def judged(history, name, width=100, **options):
    run = history.runs[name]
    found = {name: judge.findings(run)}
    return text.report(History({name: run}, ()), found, width, **options)


def test_nothing_is_said_twice(history):
    report = judged(history, "plain")
    assert "\nFindings\n" in report
    assert "\nMissing gradients\n" not in report
    assert "\nNot finite\n" not in report
    assert report.count("layer/b") == 1
    # Skipped steps are no fault, so that no finding speaks of them.
    assert "\nSkipped steps\n" in judged(history, "scaled")


def test_findings_say_who_followed_and_how_often(tmp_path):
    names = [f"block/{kind}" for kind in ("a", "b", "c", "d")]
    loss, rare = Loss("loss", names), Loss("rare", ["w"])
    with Log(tmp_path) as log:
        for one in (loss, rare):
            one.open(log, 0)
        for step in range(20):
            loss.record(log, step, 1, [NAN if step >= 10 + i else OK for i in range(4)])
            rare.record(log, step, 1, [NONE if step % 4 == 0 else OK])
    lines = judged(load(tmp_path), ".", 200).splitlines()
    assert "      later block/b from step 11; block/c from step 12; block/d from step 13" in lines
    assert "      None in 5 of 20 records: w" in lines


def test_all_variables_of_a_finding_are_named_up_to_a_dozen(tmp_path):
    names = [f"v{i}" for i in range(30)]
    with Log(tmp_path) as log:
        loss = Loss("loss", names)
        loss.open(log, 0)
        for step in range(6):
            loss.record(log, step, 1, [NONE] * 14 + [OK] * 16)
    lines = judged(load(tmp_path), ".", 200).splitlines()
    assert f"      {', '.join(names[:12])} and 2 more" in lines


def test_code_stands_below_its_place_where_there_is_no_room_beside_it(history):
    assert "      train.py:7  g = tape.gradient(loss, variables)" in judged(history, "plain")
    narrow = judged(history, "plain", 50)
    assert "      train.py:7\n        g = tape.gradient(loss, variables)\n" in narrow


def test_colours(history):
    report = judged(history, "plain", coloured=True)
    assert report.startswith("\x1b[1mRun plain\x1b[0m\n")
    assert "\x1b[33mNONE\x1b[0m" in report
    assert re.sub(r"\x1b\[[\d;]*m", "", report) == judged(history, "plain")


def test_the_log_directory_itself_is_called_as_it_was_asked_for(tmp_path):
    with Log(tmp_path) as log:
        loss = Loss("loss", ["w"])
        loss.open(log, 0)
        loss.record(log, 0)
    assert judged(load(tmp_path), ".", root="logs/run1").startswith("Run logs/run1\n")


def test_several_optimizers_are_told_apart_by_what_they_update(tmp_path):
    with Log(tmp_path) as log:
        for name, model in (("adam", "generator"), ("adam_1", "critic")):
            one = Optimizer(name, [f"{model}/{kind}" for kind in ("w", "b")])
            one.open(log, 0)
            one.record(log, 0, 1, 0.1)
    report = judged(load(tmp_path), ".", 200)
    assert "  adam (Adam, of generator/w and generator/b), up to step 0: 1 update applied" in report
    assert "  adam_1 (Adam, of critic/w and critic/b), up to step 0: 1 update applied" in report


def test_problems(history):
    lines = one_run(history, "broken", 1000).splitlines()
    assert len(lines) - lines.index("Problems") - 1 == len(history.runs["broken"].problems)
    assert reported(History({}, ("It is empty.",)), 80) == "It is empty.\n"


def test_no_name_moves_the_cursor(history):
    report = one_run(history, ODD_RUN)
    assert all(letter == "\n" or letter.isprintable() for letter in report)
    assert max(map(len, report.splitlines())) < 140


@pytest.mark.parametrize(
    ("name", "width", "short"),
    [
        ("abc", 3, "abc"),
        ("abcdefgh", 5, "ab…gh"),
        ("abcdefgh", 4, "ab…h"),
        ("abcdefgh", 1, "…"),
        ("日本語テキスト", 7, "日本…ト"),
        ("", 0, ""),
    ],
)
def test_shorten(name, width, short):
    assert terminal.shorten(name, width) == short
    assert terminal.wide(short) <= width


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("recon", ["recon"]),
        ("one_two_three", ["one_two_", "three"]),
        ("one two", ["one two"]),
        ("abcdefghijkl", ["abcd…jkl"]),
        ("one_two_three_four_five", ["one_two_", "thre…ive"]),
        ("", []),
    ],
)
def test_stacked(name, lines):
    assert terminal.stacked(name, 8, 2) == lines


def test_clean():
    assert terminal.clean("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert terminal.clean("é 日本 😀") == "é 日本 😀"
