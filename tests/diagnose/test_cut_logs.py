"""A training that was killed while it wrote: what is on disk is judged, wherever it ends."""

from __future__ import annotations

import json

import tb_gradscope as gs
from tb_gradscope.diagnose import report
from tb_gradscope.diagnose.judge import findings
from tb_gradscope.view import markdown, text
from tests.view.logs import NAN, NONE, OK, Clip, Log, Loss


def test_wherever_the_file_ends(tmp_path):
    with Log(tmp_path / "whole") as log:
        loss, clip = Loss("loss", ["enc/kernel", "dec/kernel"]), Clip("clip", ["enc/kernel"])
        loss.open(log, 0)
        clip.open(log, 0)
        for step in range(12):
            loss.record(log, step, [1.0, 2.0], [NAN if step >= 6 else OK, NONE])
            clip.record(log, step, [10.0])
    content = log.path.read_bytes()
    seen = set()
    for size in range(0, len(content) + 1, 97):
        run = tmp_path / "cut" / str(size)
        run.mkdir(parents=True)
        (run / log.path.name).write_bytes(content[:size])
        history = gs.load(run)
        found = {name: findings(one) for name, one in history.runs.items()}
        json.dumps(report.as_json(history.runs, found), allow_nan=False)
        assert markdown.report(history, found)
        assert text.report(history, found, 100)
        seen.add(tuple(one.kind for kinds in found.values() for one in kinds))
    assert {(), ("none",), ("nan", "none")} <= seen
