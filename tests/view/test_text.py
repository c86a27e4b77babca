"""The report, letter by letter for one run, and what hurts terminals."""

from __future__ import annotations

import dataclasses

import pytest

from tb_gradscope.view import terminal, text
from tb_gradscope.view.load import History, load
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

Clipping
  clip: clip_by_global_norm to 1, clipped 4 of 5 calls (80 %); at step 4 norm 12.3 -> 1, most by
    layer/a (100 %)

Missing gradients
  two [train.py:7], None always, since step 0 (5 of 5 records): layer/b
"""


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def one_run(history, name, width=100):
    return text.report(History({name: history.runs[name]}, ()), width)


def test_plain(history):
    assert one_run(history, "plain") == PLAIN


def test_narrow(history):
    narrow = one_run(history, "plain", 27)
    assert narrow.splitlines()[3:15] == [
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
        "Clipping",
    ]
    narrower = one_run(history, "plain", 15).splitlines()
    assert "        one" in narrower
    assert "        two" in narrower


def test_losses_of_different_steps(history):
    lines = one_run(history, "traced").splitlines()
    assert lines[3] == "Gradient norms at each loss's last step"
    assert lines[4:8] == [
        "   first  second",
        "step              3",
        "a      -       -",
        "b      -    NONE",
    ]
    assert "  second [train.py:7], None always, since step 3: b" in lines


def test_earlier_record_is_marked(history):
    loss = history.runs["merged"].losses[0]
    assert loss.values[4, 1, 0] == -1
    cut = {name: getattr(loss, name)[:5] for name in ("steps", "wall_times", "values", "calls")}
    run = dataclasses.replace(
        history.runs["merged"], losses=(dataclasses.replace(loss, **cut),), clips=()
    )
    lines = text.report(History({"merged": run}, ()), 100).splitlines()
    assert "b    3*" in lines
    assert any(line.startswith("  *     an earlier record") for line in lines)


def test_problems(history):
    lines = one_run(history, "broken", 1000).splitlines()
    assert len(lines) - lines.index("Problems") - 1 == len(history.runs["broken"].problems)
    assert text.report(History({}, ("It is empty.",)), 80) == "It is empty.\n"


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


def test_clean():
    assert terminal.clean("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert terminal.clean("é 日本 😀") == "é 日本 😀"
