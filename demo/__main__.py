"""Trains the demos, then shows them: `python -m demo --help`."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from demo import DEMOS, Demo
from tb_gradscope import cli

_LOGDIR = "logs/demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: without the command's own name; None for the process's.

    Returns:
      0; 1 where a demo did not do what it promises or TensorBoard did not start; 2 where the
      log directory is none.
    """
    options = _parser().parse_args(arguments)
    demos = [DEMOS[name] for name in dict.fromkeys(options.names)] or list(DEMOS.values())
    logdir = Path(options.logdir)
    if logdir.exists() and not logdir.is_dir():
        print(f"{logdir} is a file; expected a log directory.", file=sys.stderr)
        return 2
    for demo in demos:
        _forget(logdir / demo.name)
    print(f"Training {len(demos)} small models into {logdir}", flush=True)
    for demo in demos:
        start = time.monotonic()
        run = str(logdir / demo.name)
        if demo.crashes:
            outcome = _crash(demo, run)
            if outcome is None:
                return 1
        else:
            steps = options.steps or demo.steps
            demo.train(run, steps)
            outcome = f"{steps} steps"
        print(f"  {demo.name}: {outcome}, {time.monotonic() - start:.0f} s", flush=True)
    print("\nWhat there is to see")
    for demo in demos:
        print(
            textwrap.fill(
                f"{demo.name}: {demo.finding}", 98, initial_indent="  ", subsequent_indent="    "
            )
        )
    if options.no_serve:
        print(flush=True)
        runs = "|".join(re.escape(demo.name) for demo in demos)
        return cli.main(["report", str(logdir), "--run", f"^({runs})(/train)?$"])
    return _serve(logdir, options.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Trains small models whose gradients tell something, then starts TensorBoard.",
        epilog=f"Demos: {', '.join(DEMOS)}.",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", type=_demo, help="only these demos")
    parser.add_argument(
        "--no-serve", action="store_true", help="print the report instead of starting TensorBoard"
    )
    parser.add_argument(
        "--logdir", metavar="DIR", default=_LOGDIR, help="where to record (default: %(default)s)"
    )
    parser.add_argument("--steps", metavar="N", type=_positive, help="train each for N steps")
    parser.add_argument(
        "--port", metavar="P", type=int, help="of TensorBoard (default: 6006 or the next free one)"
    )
    return parser


def _demo(name: str) -> str:
    if name not in DEMOS:
        raise argparse.ArgumentTypeError(f"no demo {name!r}; there are: {', '.join(DEMOS)}")
    return name


def _positive(number: str) -> int:
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{number!r} is no whole number of 1 or more")
    return int(number)


def _forget(run: Path) -> None:
    """Deletes what an earlier training of the same demo recorded, and nothing else."""
    for file in run.rglob("events.out.tfevents.*.gradscope"):
        file.unlink()


def _crash(demo: Demo, run: str) -> str | None:
    """Trains in a process of its own, which must crash; returns how, None if it did not."""
    command = [sys.executable, "-m", f"demo.{demo.module}", run, *demo.options]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    errors = re.findall(r"^ *((?:Type|Value)Error: .*None.*)", done.stderr, re.MULTILINE)
    if done.returncode and errors:
        return f"crashed as it should ({errors[-1]})"
    print(f"  {demo.name} did not stumble over a None:\n{done.stderr}", file=sys.stderr)
    return None


def _serve(logdir: Path, port: int | None) -> int:
    """Runs TensorBoard until Ctrl-C."""
    from tensorboard import program

    tensorboard = program.TensorBoard()
    argv = ["tensorboard", "--logdir", str(logdir)]
    tensorboard.configure(argv + ([] if port is None else ["--port", str(port)]))
    try:
        url = tensorboard.launch()
    except program.TensorBoardServerException as error:
        print(f"TensorBoard did not start: {error.msg}", file=sys.stderr)
        return 1
    print(f"\nOpen {url}#gradscope (Ctrl-C ends it)", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    # Small models are faster on the processor, and their numbers the same everywhere.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
