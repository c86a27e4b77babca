"""`tb-gradscope run`: the program cannot tell, and is recorded."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tb_gradscope as gs

RUN = ["-m", "tb_gradscope", "run"]

# What a program can see of how it was started.
LOOK = """
'''A program.'''
import json, os, pickle, signal, sys, traceback

class Mine:
    pass

def look():
    main = sys.modules["__main__"]
    names = ["__name__", "__file__", "__package__", "__cached__", "__doc__"]
    seen = {name: getattr(main, name, "none") for name in names}
    seen["spec"] = getattr(main.__spec__, "name", None), getattr(main.__spec__, "origin", None)
    seen["loader"] = type(main.__loader__).__name__
    seen["argv"] = sys.argv, sys.orig_argv[0], sys.flags.optimize, sys.warnoptions
    seen["path"] = sys.path, os.getcwd()
    seen["environ"] = dict(os.environ)
    seen["mine"] = type(pickle.loads(pickle.dumps(Mine()))) is Mine
    seen["signals"] = [str(signal.getsignal(s)) for s in (signal.SIGTERM, signal.SIGINT)]
    seen["hook"] = sys.excepthook is sys.__excepthook__
    seen["stack"] = traceback.format_stack()
    seen["input"] = sys.stdin.read()
    print(json.dumps(seen, indent=1))

if __name__ == "__main__":
    look()
    sys.exit(7)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # So that a checkout that is not installed is found by the command, and by the program.
    monkeypatch.setenv("PYTHONPATH", str(Path(gs.__file__).parents[1]))
    return tmp_path


def python(*arguments, **more):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        # A shell may have started all this in the background, where it ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **more,
    )


def run(*arguments, **more):
    return python(*RUN, *arguments, **more)


def outcome(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        ["look.py", "one", "--every", "3", "-m", "--", "-h"],
        ["folder/link.py"],
        ["-m", "look", "--logdir", "x"],
        ["-m", "package", "a"],
        ["-m", "package.look"],
        ["package", "a"],
    ],
    ids=" ".join,
)
def test_the_program_sees_what_python_would_show_it(here, program):
    for folder in ("folder", "package"):
        Path(folder).mkdir()
    for file in ("look.py", "package/__main__.py", "package/look.py"):
        Path(file).write_text(LOOK)
    Path("folder/link.py").symlink_to("../look.py")
    plain = python(*program, input="typed\n")
    assert plain.returncode == 7
    assert "typed" in plain.stdout
    note = "tb-gradscope: nothing was recorded: the program did not import TensorFlow.\n"
    done = run("--every", 2, *program, input="typed\n")
    assert outcome(done) == (7, plain.stdout, plain.stderr + note)


def test_options_of_python_are_the_programs(here):
    Path("look.py").write_text(LOOK)
    plain = python("-O", "-W", "ignore::UserWarning", "look.py", input="")
    done = python("-O", "-W", "ignore::UserWarning", *RUN, "look.py", input="")
    assert done.stdout == plain.stdout


def test_an_environment_without_pythonpath(here, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    Path("show.py").write_text("import os; print(os.environ.get('PYTHONPATH'))")
    started = "import sys; sys.path.insert(0, sys.argv.pop(1)); import tb_gradscope.__main__ as m"
    root = Path(gs.__file__).parents[1]
    done = python("-c", f"{started}; sys.exit(m.main())", root, "run", "show.py")
    assert (done.returncode, done.stdout) == (0, "None\n")


ENDS = {
    "falling off the end": "",
    "exit code": "sys.exit(5)",
    "exit with a sentence": "sys.exit('it is over')",
    "exception": "def f(x):\n    return 1 / x\nf(0)",
    "exception while handling one": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError",
    "syntax error": "x = (",
    "hook": "sys.excepthook = lambda *a: print('hooked', a[2].tb_frame.f_code.co_name)\n1 / 0",
    "interrupt": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "terminate": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "a handler of its own": "signal.signal(signal.SIGTERM, lambda *a: sys.exit(9))\n"
    "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "at once": "os._exit(4)",
    "abort": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "a broken pipe": "raise BrokenPipeError('mine')",
    "while threads go on": "import atexit, threading\natexit.register(print, 'exit')\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n1 / 0",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_programs_end_is_the_commands(here, end):
    text = f"import os, signal, sys, time\nprint('begun', flush=True)\n{ENDS[end]}\n"
    Path("program.py").write_text(text)
    plain, done = python("program.py"), run("program.py")
    ours = "tb-gradscope: nothing was recorded: the program did not import TensorFlow.\n"
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    assert done.stderr.replace(ours, "") == plain.stderr


def test_children_that_import_main_again(here):
    Path("spawning.py").write_text(
        """
import multiprocessing, sys

class Number:
    def __init__(self, value):
        self.value = value

def double(number):
    return Number(2 * number.value), __name__, sys.argv, "sitecustomize" in sys.modules

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        doubled, *rest = pool.apply(double, [Number(21)])
    print(doubled.value, *rest)
"""
    )
    plain, done = python("spawning.py", "x"), run("spawning.py", "x")
    assert plain.stdout.startswith("42 __mp_main__ ['spawning.py', 'x']")
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    assert done.stderr.count("tb-gradscope") == 1


def test_a_sitecustomize_of_ones_own_runs_too(here, monkeypatch):
    Path("mine").mkdir()
    Path("mine/sitecustomize.py").write_text("import sys; sys.customized = __file__\n")
    Path("program.py").write_text("import sys, sitecustomize; print(sys.customized, sitecustomize)")
    monkeypatch.setenv("PYTHONPATH", "mine", prepend=os.pathsep)
    plain, done = python("program.py"), run("program.py")
    assert (done.returncode, done.stdout) == (0, plain.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no program given; expected SCRIPT or -m MODULE, as after `python`."),
        (["nope.py"], "nope.py does not exist; expected a script, or -m MODULE."),
        (["."], ". is a directory; expected a script."),
        (["-m"], "-m without a name; expected -m MODULE."),
        (["--logdir", "", "a.py"], "--logdir is empty; expected a directory."),
        (["--logdir", "a.py", "a.py"], "--logdir a.py is a file; expected a directory."),
        (["--nope", "a.py"], "error: unrecognized arguments: --nope"),
        (["--every"], "error: argument --every: expected one argument"),
        *(
            (
                [f"--every={every}", "a.py"],
                f"error: argument --every: '{every}': expected 'auto' or a whole number of 1 "
                "or more",
            )
            for every in ("0", "-1", "1.5", "often")
        ),
    ],
)
def test_wrong_use(here, arguments, sentence):
    Path("a.py").write_text("print('ran')")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"tb-gradscope run: {sentence}"


def test_python_without_its_usual_start(here):
    Path("a.py").write_text("print('ran')")
    done = python("-S", *RUN, "a.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Python runs with -E, -I or -S" in done.stderr


def test_a_module_that_is_not_there(here):
    done = run("-m", "nope")
    assert done.returncode == 1
    assert "No module named nope" in done.stderr


def test_the_call_from_python_returns_the_exit_code(here):
    Path("a.py").write_text("import os; os.kill(os.getpid(), 15)")
    call = "from tb_gradscope.cli import main; print(main(['run', 'a.py']))"
    assert outcome(python("-c", call)) == (0, "143\n", "")


# ---- Real trainings

LOOP = """
import importlib.util, os, sys, time
assert importlib.util.find_spec("tensorflow")
import tensorflow as tf
from tensorflow import GradientTape, clip_by_global_norm

# Only possible where TensorFlow was not started before.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.random.set_seed(1)
w, unused = tf.Variable(tf.random.normal([3, 2]), name="w"), tf.Variable(1.0)

@tf.function
def step(x):
    with GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.dropout(x @ w, 0.5) ** 2)
    gradients = tape.gradient(loss, [w, unused])
    gradients, _ = clip_by_global_norm(gradients, 1.0)
    w.assign_sub(0.1 * gradients[0])

for _ in range(20):
    step(tf.ones([4, 3]))
print(w.numpy().tobytes().hex(), flush=True)
"""

FIT = """
import keras
import numpy as np

keras.utils.set_random_seed(1)
layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.3)]
net = keras.Sequential([*layers, keras.layers.Dense(1)], name="net")
net.compile(keras.optimizers.Adam(clipnorm=0.1), "mse")
x = np.random.rand(64, 3)
os.makedirs("elsewhere")
os.chdir("elsewhere")
net.fit(x, x.sum(1), epochs=3, verbose=0)  # this line
for variable in net.variables:
    print(variable.path, variable.numpy().tobytes().hex())
raise RuntimeError("it is over")
"""


def of_the_program(stderr):
    """Standard error without TensorFlow's greetings, which tell the time."""
    greeting = re.compile(r"^(WARNING: All log messages|[IWE]\d{4} |\d{4}-\d\d-\d\d )")
    return [line for line in stderr.splitlines() if not greeting.match(line)]


@pytest.mark.slow
def test_a_loop_and_fit_are_recorded_and_train_the_same(here):
    Path("train.py").write_text(LOOP + FIT)
    plain = python("train.py")
    assert plain.stdout.count("\n") == 6, plain.stderr
    (here / "elsewhere").rmdir()

    done = run("--every", 2, "train.py")

    assert (done.returncode, done.stdout) == (1, plain.stdout)
    begin, *rest, end = of_the_program(done.stderr)
    assert begin == "tb-gradscope: recording; to see it: tensorboard --logdir logs/gradscope"
    assert end == (
        "tb-gradscope: 1 warning found; what and where: tb-gradscope report logs/gradscope"
    )
    assert rest == of_the_program(plain.stderr)
    assert rest[-1] == "RuntimeError: it is over"
    assert not list((here / "elsewhere").iterdir())
    ((name, recorded),) = gs.load("logs/gradscope").runs.items()
    assert re.fullmatch(r"\d{8}-\d{6}", name)
    loop, fit = recorded.losses
    assert (loop.name, fit.name) == ("loss", "loss_2")
    assert (loop.calls[-1], fit.calls[-1]) == (19, 5)
    assert loop.where.code == "gradients = tape.gradient(loss, [w, unused])"
    assert fit.where.code == "net.fit(x, x.sum(1), epochs=3, verbose=0)  # this line"
    (clip,) = (clip for clip in recorded.clips if clip.method == "global_norm")
    assert clip.where.code == "gradients, _ = clip_by_global_norm(gradients, 1.0)"


@pytest.mark.slow
def test_what_was_recorded_outlives_a_signal(here):
    Path("train.py").write_text(LOOP + "os.kill(os.getpid(), 15); time.sleep(60)")
    done = run("--logdir", "mine/", "train.py")
    assert done.returncode == -signal.SIGTERM
    assert "tensorboard --logdir mine/\n" in done.stderr
    (recorded,) = gs.load("mine").runs.values()
    assert [loss.name for loss in recorded.losses] == ["loss"]


@pytest.mark.slow
def test_without_a_gradient_it_says_so(here):
    Path("a.py").write_text("import tensorflow as tf\nprint(tf.executing_eagerly())")
    done = run("--logdir", "mine", "a.py")
    assert (done.returncode, done.stdout) == (0, "True\n")
    said = "nothing was recorded of any tf.GradientTape: none of its gradient() was called."
    assert of_the_program(done.stderr) == [f"tb-gradscope: {said}"]
    assert not Path("mine").exists()
