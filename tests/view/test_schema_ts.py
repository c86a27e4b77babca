"""The page's types are those of `schema`."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys

from tb_gradscope.view import schema, schema_ts

GENERATED = pathlib.Path(__file__).parents[2] / "plugin_frontend/src/api/schema.gen.ts"


def test_generated_file_is_up_to_date():
    command = "python -m tb_gradscope.view.schema_ts plugin_frontend/src/api/schema.gen.ts"
    text = GENERATED.read_text(encoding="utf-8")
    assert text == schema_ts.typescript(), f"run: {command}"


def test_every_dataclass_is_there():
    text = schema_ts.typescript()
    for name, value in vars(schema).items():
        if dataclasses.is_dataclass(value) and value is not schema.Route:
            assert f"export interface {name} {{" in text
    for path in schema.ROUTES:
        assert f"  {path}: {{ query: " in text


def test_types():
    text = schema_ts.typescript()
    assert "  where: Place | null;\n" in text
    assert '  pattern: "always" | "from" | "on_and_off";\n' in text
    assert "  since?: string" in text.replace("{ since?", "  since?")
    assert "  absent: -1,\n" in text


def test_command_writes_the_file(tmp_path):
    path = tmp_path / "schema.gen.ts"
    command = [sys.executable, "-m", "tb_gradscope.view.schema_ts"]
    subprocess.run([*command, str(path)], check=True)
    printed = subprocess.run(command, check=True, capture_output=True)
    assert path.read_bytes() == printed.stdout == GENERATED.read_bytes()
