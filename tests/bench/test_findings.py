"""The table of findings counts what became of programs; one that breaks does not end it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tb_gradscope.diagnose.finding import Finding, Span, Where
from tests.bench import findings
from tests.bench.__main__ import main
from tests.bench.findings import Program, markdown, results
from tests.diagnose.cases.outcome import Sought, of_faulty, of_healthy

FILE = "/home/ada/train.py"
MISSING = Sought(
    kind="none",
    cause="blocked",
    op="ArgMax",
    severity="error",
    loss="recon",
    variables=("kernel",),
    first=(0, 0),
    lines=frozenset({(FILE, 36)}),
)


def finding(kind="none", cause="blocked", severity="error", line=36, op="ArgMax", **changes):
    values = {"loss": "recon", "variables": ("enc/kernel",), "span": Span(0, 9, "all", 10)}
    values |= {"message": "...", "advice": "...", "where": Where(FILE, line, "code", op)}
    return Finding(kind, severity, cause=cause, **(values | changes))


def program(outcome, group="missing gradients, eager", expected="none (blocked)"):
    def run(logdir):
        assert logdir.is_dir()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Program(group, "held out", "argmax_of_scores", expected, run)


def wrong(outcome):
    return {name for name in findings.POINTS if getattr(outcome, name) is False}


def test_all_right():
    outcome = of_faulty(MISSING, [finding("unrequested", None, "info"), finding()])
    assert outcome.is_right
    assert (outcome.expected, outcome.found) == ("none (blocked)", "none (blocked)")


@pytest.mark.parametrize(
    ("found", "points"),
    [
        (finding(cause="unknown"), {"kind"}),
        (finding(op="ArgMin"), {"kind"}),
        (finding(severity="info"), {"severity"}),
        (finding(loss="kl"), {"loss"}),
        (finding(span=Span(1, 9, "from", 9)), {"step"}),
        (finding(line=35), {"line"}),
        (finding(where=None), {"kind", "line"}),
    ],
)
def test_each_point_can_be_wrong(found, points):
    outcome = of_faulty(MISSING, [found])
    assert outcome.detected
    assert wrong(outcome) == points
    assert not outcome.is_right


@pytest.mark.parametrize("found", [[], [finding(variables=("dec/bias",))], [finding("nan", None)]])
def test_nothing_said_of_the_missing_gradient(found):
    outcome = of_faulty(MISSING, found)
    assert not outcome.detected
    assert outcome.found == "nothing"
    assert wrong(outcome) == set(findings.POINTS)


def test_another_fault_is_detected_by_any_alarm():
    sought = Sought("vanishing", loss="recon")
    assert not of_faulty(sought, [finding("zero", None, "info")]).detected
    outcome = of_faulty(sought, [finding("zero", None, "warning")])
    assert outcome.detected
    assert (outcome.found, outcome.kind, outcome.further) == ("zero", False, ())
    assert (outcome.variables, outcome.step, outcome.line) == (None, None, None)  # not stated


def test_several_causes_may_be_right_and_no_other_variable():
    sought = dataclasses.replace(MISSING, or_causes=("integer",), no_others=True)
    outcome = of_faulty(sought, [finding(cause="integer")])
    assert outcome.is_right
    assert outcome.found == outcome.expected == "none (blocked)"
    assert wrong(of_faulty(sought, [finding(variables=("kernel", "bias"))])) == {"variables"}


def test_further_alarms_of_a_faulty_program():
    more = [finding(), finding("zero", None, "warning"), finding("conflict", None, "info")]
    assert of_faulty(MISSING, more).further == ("zero",)


def test_a_healthy_program_is_quiet_where_things_are_only_said():
    assert of_healthy([finding(severity="info")]).is_right
    loud = of_healthy([finding("exploding", None, "warning")])
    assert not loud.is_right
    assert loud.further == ("exploding",)


def test_the_table():
    runs = [
        program(of_faulty(MISSING, [finding()])),
        program(of_faulty(MISSING, [finding(cause="integer")])),
        program(of_faulty(MISSING, [])),
        program(ValueError("no such thing\nat all")),
        program(of_healthy([finding("nan", None)]), "healthy, 5 steps", "healthy"),
        program(of_healthy([]), "healthy, 5 steps", "healthy"),
    ]
    text = markdown(results(runs, lambda said: None))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert rows[2] == [
        *("missing gradients, eager", "held out", "4", "2 of 4"),
        *("1 of 4", "2 of 4", "2 of 4", "2 of 4", "2 of 4", "2 of 4", "0", ""),
    ]
    assert rows[3] == ["healthy, 5 steps", "held out", "2", *[""] * 8, "1"]
    assert rows[4] == ["", "none", "nan", "no end", "nothing"]
    assert rows[6:8] == [["none", "2", "", "1", "1"], ["healthy", "", "1", "", "1"]]
    assert rows[8] == ["", "blocked", "integer", "no end", "nothing"]
    assert rows[10] == ["blocked", "1", "1", "1", "1"]
    assert "`argmax_of_scores` ended with ValueError: no such thing\n" in text


def test_programs_are_run_and_written(tmp_path, capsys):
    written = tmp_path / "found.json"
    main(["--findings", "accuracy_as_loss", "--json", str(written)])
    row = json.loads(written.read_text())["findings"]["rows"][0]
    assert row["programs"] == 1
    assert row["kind"] == row["loss"] == row["variables"] == row["step"] == row["line"] == [1, 1]
    assert "right line" in capsys.readouterr().out


def test_every_program_has_a_name_of_its_own():
    names = [(one.group, one.name) for one in findings.programs()]
    assert len(set(names)) == len(names)
    assert findings.programs("no such program") == []
