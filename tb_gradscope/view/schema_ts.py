"""Prints the page's types from `schema`: `python -m tb_gradscope.view.schema_ts`.

With a path as argument, writes them there. The checked-in copy is
`plugin_frontend/src/api/schema.gen.ts`; a test fails when it is stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pathlib
import sys
import textwrap
import types
import typing

from tb_gradscope.view import schema

_OBJECTS: tuple[type, ...] = (
    schema.Place,
    schema.Label,
    schema.RunSummary,
    schema.Index,
    schema.Loss,
    schema.Optimizer,
    schema.Cosine,
    schema.Variable,
    schema.Clip,
    schema.Missing,
    schema.Nonfinite,
    schema.Overflow,
    schema.Mark,
    schema.Run,
    schema.Finding,
    schema.Findings,
    schema.Threshold,
)
_SCALARS = {str: "string", int: "number", float: "number", bool: "boolean"}
_HEAD = """\
// Generated from tb_gradscope/view/schema.py, do not edit:
// python -m tb_gradscope.view.schema_ts plugin_frontend/src/api/schema.gen.ts
"""


def typescript() -> str:
    """Returns the text of `schema.gen.ts`."""
    parts = [_HEAD, _constants()]
    parts += [_interface(one) for one in _OBJECTS]
    parts += [_thresholds(), _routes()]
    return "\n".join(parts)


def _constants() -> str:
    return "".join(
        f"{_comment(text, '')}export const {name} = {_literal(value)} as const;\n"
        for name, value, text in (
            ("STATES", schema.STATES, "What the statistic `state` may be."),
            ("STATISTICS", schema.STATISTICS, "The statistics, in the order of the last axis."),
            ("CLIP_STATISTICS", schema.CLIP_STATISTICS, "A clip site's numbers, in order."),
            (
                "OPTIMIZER_STATISTICS",
                schema.OPTIMIZER_STATISTICS,
                "An optimizer's own numbers, in order.",
            ),
            (
                "UNMEASURED",
                schema.UNMEASURED,
                "The bits of the NaN in place of a statistic that was not measured.",
            ),
        )
    )


def _literal(value: dict[str, int] | tuple[str, ...] | int) -> str:
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, dict):
        lines = [f"  {name}: {number},\n" for name, number in value.items()]
        return "".join(["{\n", *lines, "}"])
    return "".join(["[\n", *(f"  {json.dumps(name)},\n" for name in value), "]"])


def _interface(one: type) -> str:
    hints = typing.get_type_hints(one)
    fields = "".join(
        f"  {field.name}: {_type(hints[field.name])};\n" for field in dataclasses.fields(one)
    )
    return (
        f"{_comment(inspect.getdoc(one) or '', '')}export interface {one.__name__} {{\n{fields}}}\n"
    )


def _thresholds() -> str:
    lines = [f"  {json.dumps(dataclasses.asdict(one))},\n" for one in schema.THRESHOLDS]
    comment = _comment("All thresholds, in the order of the report's flags.", "")
    return "".join([comment, "export const THRESHOLDS: readonly Threshold[] = [\n", *lines, "];\n"])


def _routes() -> str:
    lines = [
        _comment("The routes: what to ask, what is answered.", ""),
        "export interface Routes {\n",
    ]
    for path, route in schema.ROUTES.items():
        query = "; ".join(f"{name}: {_type(kind)}" for name, kind in route.query.items())
        answer = "Float32Array" if route.answer is None else route.answer.__name__
        lines.append(_comment(route.meaning, "  "))
        lines.append(f"  {path}: {{ query: {{ {query} }}; answer: {answer} }};\n")
    return "".join([*lines, "}\n"])


def _type(hint: typing.Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint is type(None):
        return "null"
    if origin is typing.Literal:
        return " | ".join(json.dumps(value) for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(_type(one) for one in arguments)
    if origin is tuple:
        return f"{_type(arguments[0])}[]"
    if hint in _OBJECTS:
        return str(hint.__name__)
    raise TypeError(f"schema.py uses {hint!r}, which has no TypeScript form here.")


def _comment(text: str, indent: str) -> str:
    lines = [part for line in text.strip().splitlines() for part in textwrap.wrap(line, 90) or [""]]
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    body = "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
    return f"{indent}/**\n{body}{indent} */\n"


def main(arguments: list[str]) -> None:
    """Prints the types, or writes them to the path given."""
    if arguments:
        pathlib.Path(arguments[0]).write_text(typescript(), encoding="utf-8")
    else:
        sys.stdout.write(typescript())


if __name__ == "__main__":
    main(sys.argv[1:])
