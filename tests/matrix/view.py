"""Shows logs with what this environment has: the report, and a TensorBoard that answers.

Run by the `python` of a cell: it knows nothing of the checkout.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request

_DEADLINE = 90


def main(logs: list[str]) -> None:
    """Fails unless each log is shown as the environment that wrote it shows it."""
    for log in logs:
        text = report(sys.executable, log)
        beside = f"{log}.txt"
        if os.path.exists(beside):
            with open(beside, encoding="utf-8") as file:
                assert text == file.read(), f"another report of {log}:\n{text}"
        print(f"{os.path.basename(log)}: report ok, {served(log)}")


def report(python: str | os.PathLike[str], log: str) -> str:
    """Returns what the `tb-gradscope report` beside a Python prints."""
    command = [os.path.join(os.path.dirname(python), "tb-gradscope"), "report", log]
    environment = {**os.environ, "COLUMNS": "100"}
    # It names files as they are seen from where it is called.
    here = os.path.dirname(log)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, cwd=here
    )
    return done.stdout


def served(log: str) -> str:
    """Starts TensorBoard on a log, and returns the runs that the plugin's route names."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", log, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = None
        for line in server.stderr or ():
            address = re.search(r"http://(\S+?):(\d+)/", line)
            if address:
                break
        assert address, "TensorBoard did not start"
        root = f"http://localhost:{address[2]}/data"
        assert fetch(f"{root}/plugins_listing")["gradscope"]["enabled"] in (True, False)
        end = time.monotonic() + _DEADLINE
        while time.monotonic() < end:
            found = fetch(f"{root}/plugin/gradscope/index")
            if found["runs"]:
                return f"page ok, {len(found['runs'])} run"
            time.sleep(0.5)
        raise AssertionError(f"no run of {log} within {_DEADLINE} s")
    finally:
        server.terminate()
        server.wait()


def fetch(url: str) -> dict[str, object]:
    """Returns the JSON at an address."""
    with urllib.request.urlopen(url, timeout=_DEADLINE) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
