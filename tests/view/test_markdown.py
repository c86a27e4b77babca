"""Markdown for a pull request: names and code that Markdown would take for its own."""

from __future__ import annotations

from tb_gradscope.diagnose.finding import Finding, Span, Where
from tb_gradscope.view import markdown
from tb_gradscope.view.load import load
from tests.view.logs import Log, Loss


def reported(tmp_path, finding):
    with Log(tmp_path / "a_run") as log:
        loss = Loss("loss", ["w"])
        loss.open(log, 0)
        loss.record(log, 0)
    history = load(tmp_path)
    return markdown.report(history, {"a_run": [finding]}).splitlines()


def test_names_and_code_are_shown_as_they_are(tmp_path):
    finding = Finding(
        kind="update_ratio",
        severity="warning",
        loss=None,
        variables=("a*b*", "<b>"),
        span=Span(0, 0, "all", 1),
        message="a*b* and <b> | are\nodd.",
        advice="Use `x_1` in place of [y].",
        where=Where("my_file.py", 3, "x = `y` | z"),
    )
    lines = reported(tmp_path, finding)
    assert "| a\\_run | 0 |  | 1 |  |" in lines
    assert "### a\\_run" in lines
    assert lines[-1] == (
        "- **warning: update\\_ratio** a\\*b\\* and \\<b\\> \\| are odd.<br>`my_file.py:3`<br>"
        "`` x = `y` | z ``<br>*Use \\`x\\_1\\` in place of \\[y\\].*"
    )
