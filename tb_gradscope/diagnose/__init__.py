"""Judging histories: one rule per file, pure functions over arrays, numpy only.

`judge.findings(run)` applies every rule of `judge.RULES` to a run. A rule is
a function of a `RunHistory` and the `Thresholds` that yields `Finding`s; what it
sees, what that usually means and what to try stand in its file's docstring.
"""
