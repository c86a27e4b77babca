"""Who may import whom: recording never meets viewing, and `format` is the only bridge.

Each check is a plain function, and a test of its own plants a fault to see it found.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import tb_gradscope

PACKAGE = Path(tb_gradscope.__file__).parent
PAGE = PACKAGE.parent / "plugin_frontend" / "src"

# What the modules of a folder may import anywhere in their text, besides the standard library.
STANDARD = {*sys.stdlib_module_names, "tomllib", "tb_gradscope.__version__"}  # since 3.11
MAY_IMPORT = {
    "": {"tb_gradscope", "tensorflow", "tomli"},  # __init__ and cli: lazily, see LOADS
    "format": {"google.protobuf", "numpy", "tb_gradscope.format"},
    "recording": {
        "keras",
        "numpy",
        "tensorflow",
        "tb_gradscope.format",
        "tb_gradscope.diagnose",
        "tb_gradscope.recording",
    },
    "startup": {"sitecustomize", "tb_gradscope.recording"},  # lazily, in the user's program
    "diagnose": {"numpy", "tb_gradscope.format", "tb_gradscope.diagnose"},
    "view": {
        "google.protobuf",
        "numpy",
        "pandas",
        "tensorboard",
        "werkzeug",
        "tb_gradscope.format",
        "tb_gradscope.diagnose",
        "tb_gradscope.view",
    },
}

# The only third parties that importing all modules of a folder may load.
LOADS = {
    "": set[str](),
    "format": {"google", "numpy"},
    "diagnose": {"google", "numpy"},
}

# What importing all modules of a folder must never load.
LEAVES_OUT = {
    "recording": {"tensorboard"},
    "view": {"tensorflow", "keras", "pandas"},
}

# The same for the page: folders and packages.
PAGE_MAY_IMPORT = {
    "api": {"api"},
    "model": {"api", "model", "@preact/signals"},
    "views": {"api", "model", "views", "@preact/signals", "preact"},
}
PAGE_IMPORT = re.compile(
    r"""(?:^(?:import|export)\s(?:[^'";]*\sfrom\s)?|\bimport\()\s*['"]([^'"]+)['"]""", re.MULTILINE
)
ONLY_IN = {"uplot": "views/chart.tsx"}

TAGS = re.compile(r"^gradscope_events$|\bgradscope/(schema|record|event)\b")

# In recording/, the bare word also names threads and scopes.
PLUGIN = ("gradscope", "view")


def modules(folder: str) -> list[str]:
    """Names of all modules in a folder of the package, and below it."""
    found = sorted((PACKAGE / folder).rglob("*.py") if folder else PACKAGE.glob("*.py"))
    paths = [one.relative_to(PACKAGE.parent).with_suffix("") for one in found]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if not name.endswith(".__main__")]


def loaded(names: Iterable[str], path: Path | None = None) -> set[str]:
    """Top-level third-party modules that importing `names` in a new Python loads."""
    program = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    search = [str(one) for one in (path, PACKAGE.parent, os.environ.get("PYTHONPATH")) if one]
    done = subprocess.run(
        [sys.executable, "-c", program, *names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tops = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    own = {"tb_gradscope", "cython_runtime"}
    return {
        top
        for top in tops - own - sys.stdlib_module_names
        if not top.startswith(("_cython", "_sysconfigdata"))
    }


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of what a module imports, inside functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(package: Path) -> list[str]:
    """Imports in a `tb_gradscope` folder that `MAY_IMPORT` does not allow."""
    found = []
    for file in sorted(package.rglob("*.py")):
        folder = file.relative_to(package).parts[0] if file.parent != package else ""
        dotted = ".".join(["tb_gradscope", *file.parent.relative_to(package).parts])
        allowed = MAY_IMPORT.get(folder, set()) | STANDARD
        for name in imports(ast.parse(file.read_text("utf-8")), dotted):
            if not any(f"{name}.".startswith(f"{one}.") for one in allowed):
                found.append(f"{file.relative_to(package).as_posix()} imports {name}")
    return found


def spelled_tags(package: Path) -> list[str]:
    """Strings outside `format/tags.py`, docstrings aside, that name a plugin or a tag."""
    found = []
    for file in sorted(package.rglob("*.py")):
        where = file.relative_to(package).as_posix()
        tree = ast.parse(file.read_text("utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            f"{where}:{node.lineno} spells {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in prose
            and (TAGS.search(node.value) or (node.value, file.parent.name) == PLUGIN)
            and where != "format/tags.py"
        ]
    return found


def page_violations(page: Path) -> list[str]:
    """Imports in the page's folders that `PAGE_MAY_IMPORT` or `ONLY_IN` do not allow."""
    found = []
    for file in sorted([*page.rglob("*.ts"), *page.rglob("*.tsx")]):
        where = file.relative_to(page)
        if ".test." in file.name or where.parts[0] not in PAGE_MAY_IMPORT:
            continue
        text = file.read_text("utf-8")
        for name in PAGE_IMPORT.findall(text):
            if name.startswith("."):
                target = Path(os.path.normpath(file.parent / name)).relative_to(page).parts[0]
            else:
                target = name
            package = re.match(r"(@[^/]+/)?[^/]+", target)
            wanted = package[0] if package else target
            only_in = ONLY_IN.get(wanted)
            allowed = PAGE_MAY_IMPORT[where.parts[0]] | {"styles"}
            if where.as_posix() != only_in and wanted not in allowed:
                found.append(f"{where.as_posix()} imports {name}")
    return found


@pytest.mark.parametrize("folder", LOADS)
def test_light_folders_load_nothing_else(folder: str) -> None:
    assert loaded(modules(folder)) <= LOADS[folder]


@pytest.mark.parametrize("folder", LEAVES_OUT)
def test_halves_never_meet(folder: str) -> None:
    assert not loaded(modules(folder)) & LEAVES_OUT[folder]


def test_loading_is_seen(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").touch()
    (tmp_path / "planted.py").write_text("import tensorflow\n")
    assert loaded(["tb_gradscope.format", "planted"], tmp_path) >= {"tensorflow", "planted"}


def test_every_folder_has_its_rule() -> None:
    files = [file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py")]
    folders = {file.parts[0] for file in files if len(file.parts) > 1}
    assert folders == MAY_IMPORT.keys() - {""}


def test_imports_are_allowed() -> None:
    assert violations(PACKAGE) == []


def test_a_forbidden_import_is_seen(tmp_path: Path) -> None:
    for folder, text in {
        "format": "import numpy as np\nimport tensorflow as tf\nfrom google import genai\n",
        "recording": "def f():\n    from ..view import plugin\n",
        "view": "from tb_gradscope import recording\nfrom . import answers\nimport json\n",
        "diagnose": "from tb_gradscope.view.history import x\nfrom tb_gradscope.format import y\n",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "planted.py").write_text(text)
    assert violations(tmp_path) == [
        "diagnose/planted.py imports tb_gradscope.view.history.x",
        "format/planted.py imports tensorflow",
        "format/planted.py imports google.genai",
        "recording/planted.py imports tb_gradscope.view.plugin",
        "view/planted.py imports tb_gradscope.recording",
    ]


def test_tags_are_spelled_once() -> None:
    assert spelled_tags(PACKAGE) == []


def test_a_spelled_tag_is_seen(tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "planted.py").write_text(
        '"""Reads gradscope/record/x."""\nname = "gradscope"\ntag = f"gradscope/record/{name}"\n'
        'fine = "tb-gradscope, gradscope.desc"\n'
    )
    assert spelled_tags(tmp_path) == [
        "view/planted.py:2 spells 'gradscope'",
        "view/planted.py:3 spells 'gradscope/record/'",
    ]


def test_page_imports_are_allowed() -> None:
    assert page_violations(PAGE) == []


def test_a_forbidden_page_import_is_seen(tmp_path: Path) -> None:
    for name, text in {
        "api/client.ts": "import {\n  a,\n} from '../model/a';\nimport type { B } from './b';\n",
        "model/a.ts": "import { signal } from '@preact/signals';\nimport('../views/b');\n",
        "views/b.tsx": "import { useState } from 'preact/hooks';\nimport uPlot from 'uplot';\n",
        "views/chart.tsx": "import uPlot from 'uplot';\nimport css from '../styles/a.css';\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert page_violations(tmp_path) == [
        "api/client.ts imports ../model/a",
        "model/a.ts imports ../views/b",
        "views/b.tsx imports uplot",
    ]
