"""Prints what recording costs, and what is found in programs with known faults."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from tests.bench import findings
from tests.bench.child import Child, measure_children
from tests.bench.measure import Table, measure
from tests.bench.models import MODELS
from tests.bench.report import as_dict, machine, markdown
from tests.bench.variants import PLAIN, VARIANTS, Variant

_QUICK_ROUNDS = 12


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark."""
    options = _parser().parse_args(arguments)
    tf.get_logger().setLevel("ERROR")  # every variant is a function of its own, not a retrace
    facts = machine()
    text, found = "", {}
    if options.findings is None:
        tables, children = _costs(options)
        text, found = markdown(tables, children, facts), as_dict(tables, children, facts)
    if options.findings is not None or not (options.models or options.quick or options.costs):
        results = findings.results(findings.programs(options.findings or ""), _say)
        text += "\n" * bool(text) + findings.markdown(results)
        found = {"format": 1, "machine": facts, **found, "findings": findings.as_dict(results)}
    _say("")
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _costs(options: argparse.Namespace) -> tuple[list[Table], list[Child]]:
    """Measures what recording costs."""
    tables = []
    for key in options.models or (["mlp"] if options.quick else list(MODELS)):
        model = MODELS[key]
        rounds = options.rounds or (min(_QUICK_ROUNDS, model.rounds) if options.quick else None)
        block = options.block or model.block
        model = dataclasses.replace(model, rounds=rounds or model.rounds, block=block)
        rows = [row for row in options.variants or VARIANTS if row.key in model.variants]
        tables.append(measure(key, model, rows, _say))
    children = measure_children(_say) if not (options.models or options.quick) else []
    return tables, children


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--models", type=_models, help=f"some of {','.join(MODELS)}; default all")
    parser.add_argument("--variants", type=_variants, help="some of the rows, by their keys")
    parser.add_argument("--rounds", type=_positive, help="turns of every variant")
    parser.add_argument("--block", type=_positive, help="steps in a turn")
    parser.add_argument("--quick", action="store_true", help="a minute, the MLP only")
    parser.add_argument("--costs", action="store_true", help="only what it costs")
    parser.add_argument(
        "--findings",
        nargs="?",
        const="",
        metavar="WORD",
        help="only what is found; with WORD, in programs that have it in their name",
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write it here too")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write it here too")
    return parser


def _models(text: str) -> list[str]:
    keys = text.split(",")
    unknown = [key for key in keys if key not in MODELS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no model {unknown[0]!r}; there are {', '.join(MODELS)}")
    return keys


def _variants(text: str) -> tuple[Variant, ...]:
    known = [variant.key for variant in VARIANTS]
    keys = {PLAIN, *text.split(",")}
    unknown = sorted(keys - set(known))
    if unknown:
        raise argparse.ArgumentTypeError(f"no variant {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(variant for variant in VARIANTS if variant.key in keys)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _say(text: str) -> None:
    """Shows how far it is, where a person is watching."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
