"""All rules on runs as small, broken or large as they come: no crash, and no more than is so."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from tb_gradscope.diagnose import report
from tb_gradscope.diagnose.judge import findings
from tb_gradscope.format.history import Cause, Place
from tb_gradscope.view import markdown
from tb_gradscope.view.frame import History
from tests.diagnose import histories

MANY = 2000
LAYERS = [
    histories.variable(f"model/block{number // 4:03}/{kind}")
    for number, kind in enumerate(["kernel", "bias", "gamma", "beta"] * (MANY // 4))
]


def kinds(found):
    return [(one.severity, one.kind) for one in found]


def check_formats(run, found):
    """The report can be written in all of its formats."""
    answer = json.loads(json.dumps(report.as_json({"run": run}, {"run": found}), allow_nan=False))
    assert len(answer["runs"]["run"]["findings"]) == len(found)
    assert "| run | " in markdown.report(History({"run": run}, ()), {"run": found})


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (1.0, []),
        (1e30, []),
        (1e-30, []),
        (0.0, []),
        (None, [("error", "none")]),
        (np.nan, [("error", "nan")]),
        (np.inf, [("error", "inf")]),
    ],
)
def test_one_step_one_variable_one_loss(norm, expected):
    run = histories.run(histories.loss([[norm]]))
    found = findings(run)
    assert kinds(found) == expected
    check_formats(run, found)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_clipping_and_updates_of_a_few_steps(steps):
    clip = histories.clip([[100.0]] * steps, 1e-3)
    optimizer = histories.optimizer([[5.0]] * steps)
    run = histories.run(clips=[clip], optimizers=[optimizer])
    assert findings(run) == ()


def test_nothing_at_all():
    run = histories.run()
    assert findings(run) == ()
    check_formats(run, ())


def test_records_of_nothing():
    whole = histories.loss(np.ones((3, 2)))
    of_records = ("steps", "wall_times", "values", "calls", "nonfinite", "reasons")
    of_records += ("loss_scales", "loss_values")
    cut = {name: getattr(whole, name)[:0] for name in of_records}
    run = histories.run(dataclasses.replace(whole, **cut, records=0))
    assert findings(run) == ()
    check_formats(run, ())


def test_any_states_in_any_order():
    random = np.random.default_rng(0)
    for steps in (1, 2, 3, 6, 30):
        for _ in range(10):
            norms = random.choice([1.0, 1e-20, 1e15, 0.0, np.nan, np.inf, None], (steps, 5))
            one, other = (histories.loss(norms[:, :n], name=f"loss{n}") for n in (5, 3))
            cosines = histories.cosines(
                "loss5", "loss3", random.choice([-1, 1, np.nan], (steps, 3))
            )
            with np.errstate(divide="ignore"):
                clips = [histories.clip(norms, 1.0)]
            run = histories.run(one, other, clips=clips, cosines=[cosines])
            check_formats(run, findings(run))


@pytest.mark.parametrize(
    ("norm", "kind"), [(None, "none"), (np.nan, "nan"), (np.inf, "inf"), (0.0, "zero")]
)
def test_all_variables_of_a_large_model_are_one_finding(norm, kind):
    found = findings(histories.run(histories.loss([[norm] * MANY] * 6), variables=LAYERS))
    assert [one.kind for one in found] == [kind]
    assert len(found[0].variables) in (1, MANY)
    assert len(found[0].message) < 300


def test_a_whole_stack_is_named_by_its_layers():
    (found,) = findings(histories.run(histories.loss([[None] * MANY] * 6), variables=LAYERS))
    assert "for model/block000/kernel and 1999 more of model at every" in found.message


def test_a_growth_of_all_variables_is_one_finding():
    norms = histories.noise(40, MANY)
    norms[20:] *= np.exp(np.arange(20))[:, None]
    found = findings(histories.run(histories.loss(norms), variables=LAYERS))
    assert kinds(found) == [("error", "exploding")]


def test_every_variable_read_at_a_line_of_its_own():
    causes = tuple(
        Cause(
            "unused",
            (number,),
            Place("train.py", 36, "step", "loss = head(x)"),
            "",
            "read",
            Place("model.py", number + 1, "call", f"h{number} = x @ w{number}"),
            0,
        )
        for number in range(MANY - 1)
    )
    loss = histories.loss([[None] * (MANY - 1) + [1.0]] * 6, causes=causes)
    (found,) = findings(histories.run(loss, variables=LAYERS))
    assert len(found.variables) == MANY - 1
    assert "read at" not in found.message  # of many lines none is the one


def test_layers_dropped_at_random_are_one_finding():
    random = np.random.default_rng(0)
    dropped = random.random((30, MANY // 4)).repeat(4, axis=1) < 0.5
    dropped[:, -4:] = False
    norms = np.where(dropped, None, 1.0)
    (found,) = findings(histories.run(histories.loss(norms), variables=LAYERS))
    assert (found.severity, found.kind, found.span.pattern) == ("info", "none", "intermittent")
    assert (found.span.first, found.span.last) == (0, 29)
    assert "now and then (each in 23 records at most, steps 0 to 29)" in found.message


def test_the_source_need_not_be_there_any_more(tmp_path):
    """What the line said is in the log; nobody looks for the file."""
    gone = str(tmp_path / "gone.py")
    place = Place(gone, 3, "step", "y = tf.round(x)")
    cause = Cause("blocked", (0,), place, "Round", "no_gradient", None, 0)
    run = histories.run(histories.loss([[None]], causes=(cause,)))
    (found,) = findings(run)
    assert not pathlib.Path(gone).exists()
    assert (found.where.file, found.where.line, found.where.code) == (gone, 3, "y = tf.round(x)")
    check_formats(run, (found,))
