"""Real TensorBoards, each a process of its own, and what they answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

# TensorBoard without TensorFlow, even where that is installed: it starts in 2 s, not 10.
_WITHOUT_TENSORFLOW = """
import sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
from tensorboard.main import run_main
run_main()
"""
_START_SECONDS = 90


class Server:
    """A TensorBoard that runs until `stop`."""

    def __init__(self, *arguments, tensorflow=False):
        command = ["-m", "tensorboard.main"] if tensorflow else ["-c", _WITHOUT_TENSORFLOW]
        fixed = ["--port=0", "--host=127.0.0.1", "--reload_interval=1"]
        self._process = subprocess.Popen(
            [sys.executable, *command, *map(str, arguments), *fixed],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        self.log = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stderr:
            self.log.append(line)
            found = re.search(r"http://[^/ ]+:\d+/", line)
            if found:
                self.url = found[0]
                self._ready.set()
        self._ready.set()

    def wait(self, runs=None):
        """Waits for the server, and until it has loaded: the answer of two polls is the same."""
        assert self._ready.wait(_START_SECONDS), "".join(self.log)
        assert hasattr(self, "url"), "".join(self.log)
        deadline = time.monotonic() + _START_SECONDS
        before = None
        while time.monotonic() < deadline:
            index = self.json("index")
            names = {run["name"] for run in index["runs"]}
            if index == before and (runs is None or names == set(runs)):
                return self
            before = index
            time.sleep(0.3)
        raise AssertionError(f"still not loaded: {names} {''.join(self.log)}")

    def get(self, path, method="GET", prefix="data/plugin/gradscope/", **query):
        """Returns status, headers and body."""
        url = self.url + prefix + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def json(self, path, **query):
        """Returns a route's JSON, in which NaN and the like would be an error."""

        def refuse(constant):
            raise AssertionError(f"{constant} in the answer of {path}")

        status, headers, body = self.get(path, **query)
        assert status == 200, (path, query, status, body)
        assert headers["Content-Type"].startswith("application/json")
        return json.loads(body, parse_constant=refuse)

    def numbers(self, path, **query):
        """Returns a route's float32 numbers."""
        status, headers, body = self.get(path, **query)
        assert status == 200, (path, query, status, body)
        assert headers["Content-Type"] == "application/octet-stream"
        return np.frombuffer(body, "<f4")

    def stop(self):
        self._process.terminate()
        self._process.wait(20)
        self._reader.join(5)
        self._process.stderr.close()
