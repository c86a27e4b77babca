"""What happens to programs in the course of their lives: each trains as with TensorFlow alone."""

from __future__ import annotations

import linecache
import threading

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs

X = tf.random.stateless_normal([7, 3], [4, 2])


def steps(run):
    return {loss.name: loss.steps.tolist() for loss in run.losses}


def in_mode(step, in_function):
    return tf.function(step) if in_function else step


def assert_identical(train):
    """Trains with either tape, and returns what `train` returned with ours."""
    ours, theirs = train(gs.GradientTape), train(tf.GradientTape)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    return ours


def random_matrix(rows=3, columns=2):
    return tf.Variable(tf.random.stateless_normal([rows, columns], [1, 2]))


@pytest.mark.parametrize("in_function", [False, True])
def test_a_generator_as_input_with_a_last_batch_that_is_smaller(in_function, recorded):
    def rows():
        yield from X.numpy()

    data = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec([3]))
    data = data.batch(3).prefetch(1)

    def train(tape):
        weights = random_matrix()

        def step(batch):
            with tape() as t:
                loss = tf.reduce_mean(tf.tanh(batch @ weights) ** 2)
            weights.assign_sub(0.1 * t.gradient(loss, weights))

        step = in_mode(step, in_function)
        for _ in range(2):
            for batch in data:
                step(batch)
        return [weights]

    assert_identical(train)
    assert steps(recorded()) == {"loss": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("in_function", [False, True])
def test_threads_that_train_two_models_at_once(in_function, recorded):
    """Of one recorder, and with one helper."""
    meeting = threading.Barrier(2)

    def train(tape):
        models = [random_matrix(), random_matrix()]

        def fit(weights, factor):
            def step():
                with tape(persistent=True) as t:
                    error = tf.reduce_mean(tf.tanh(X @ weights * factor) ** 2)
                    size = tf.reduce_sum(weights**2)
                a, b = t.gradient(error, weights), t.gradient(size, weights)
                weights.assign_sub(0.1 * (a + b))

            step = in_mode(step, in_function)
            for _ in range(4):
                meeting.wait(60)
                step()

        threads = [
            threading.Thread(target=fit, args=(weights, factor))
            for weights, factor in zip(models, (1.0, 2.0), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return models

    assert_identical(train)
    run = recorded()
    assert sorted(steps(run).items()) == [
        ("error", [0, 1, 2, 3]), ("error_2", [0, 1, 2, 3]),
        ("size", [0, 1, 2, 3]), ("size_2", [0, 1, 2, 3]),
    ]  # fmt: skip
    # Which thread comes first gets the plain names; the pairs are of one model.
    named = {frozenset(cosine.losses) for cosine in run.cosines}
    variables = {loss.name: loss.variables.tolist() for loss in run.losses}
    assert len(named) == 2
    assert all(variables[one] == variables[other] for one, other in map(tuple, named))


def test_threads_with_a_recorder_each(tmp_path):
    def fit(name):
        weights = random_matrix()
        with gs.record(tmp_path / name, every=1, on_error="raise"):
            for _ in range(3):
                with gs.GradientTape() as tape:
                    loss = tf.reduce_sum(weights**2)
                weights.assign_sub(0.1 * tape.gradient(loss, weights))

    threads = [threading.Thread(target=fit, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = gs.load(tmp_path).runs
    assert {name: steps(run) for name, run in found.items()} == {
        "one": {"loss": [0, 1, 2]},
        "two": {"loss": [0, 1, 2]},
    }


class Notebook:
    """Runs cells as IPython does: each under a file name of its own, known to `linecache`."""

    def __init__(self, file_name):
        self._file_name = file_name
        self._number = 0
        self.names = {"gs": gs, "tf": tf, "X": X}

    def run(self, cell):
        self._number += 1
        file = self._file_name.format(number=self._number)
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec"), self.names)


FILE_NAMES = ["<ipython-input-{number}-5d0e7fb2ef7a>", "/tmp/ipykernel_7/{number}1325.py"]

MODEL = "weights = tf.Variable(tf.random.stateless_normal([3, 2], [1, 2]))\n"

STEP = """
{decorator}
def step(batch):
    with gs.GradientTape() as tape:
        error = tf.reduce_mean(tf.tanh(batch @ weights) ** 2)
        size = {factor} * tf.reduce_sum(weights ** 2)
    gradient = tape.gradient({{"error": error, "size": size}}, weights)
    weights.assign_sub(0.1 * gradient)
"""

LOOP = "for _ in range(2):\n    step(X)\n"


@pytest.mark.parametrize("file_name", FILE_NAMES)
@pytest.mark.parametrize("decorator", ["", "@tf.function"])
def test_a_notebook(file_name, decorator, recorded):
    """A cell run again goes on with the same row; a cell that was edited begins another."""
    notebook = Notebook(file_name)
    cells = [MODEL, STEP.format(decorator=decorator, factor=0.1), LOOP]
    for cell in [*cells, LOOP]:
        notebook.run(cell)
    assert steps(recorded())["total"] == [0, 1, 2, 3]
    for cell in cells:  # "Run all" once more: a new model of the same name
        notebook.run(cell)
    run = recorded()
    assert steps(run) == {name: [0, 1, 2, 3, 4, 5] for name in ("total", "error", "size")}
    notebook.run(STEP.format(decorator=decorator, factor=0.2))
    notebook.run(LOOP)
    run = recorded()
    assert steps(run)["total"] == [0, 1, 2, 3, 4, 5]
    assert steps(run)["total_2"] == [0, 1]
    assert {v.name for v in run.variables} == {"weights"}
    assert run.losses[0].where.code.startswith("gradient = tape.gradient(")


def test_a_notebook_that_records_into_the_same_directory_again(tmp_path):
    """The second run is what is shown: a log directory holds one training."""
    notebook = Notebook(FILE_NAMES[0])
    notebook.names["logdir"] = tmp_path
    record = "with gs.record(logdir, every=1):\n    for _ in range({count}):\n        step(X)\n"
    for cell in (MODEL, STEP.format(decorator="@tf.function", factor=0.1)):
        notebook.run(cell)
    notebook.run(record.format(count=3))
    notebook.run(MODEL)
    notebook.run(STEP.format(decorator="@tf.function", factor=0.1))
    notebook.run(record.format(count=2))
    (run,) = gs.load(tmp_path).runs.values()
    assert steps(run)["total"] == [0, 1]


@pytest.mark.parametrize("in_function", [False, True])
def test_a_checkpoint_that_moves_the_step_back(in_function, tmp_path, logdir):
    """What was recorded after the step that is restored is history no more."""

    def train(tape):
        weights, number = random_matrix(), tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(weights=weights, number=number)
        tf.summary.experimental.set_step(number)

        def step():
            with tape() as t:
                loss = tf.reduce_mean(tf.tanh(X @ weights) ** 2)
            weights.assign_sub(0.1 * t.gradient(loss, weights))
            number.assign_add(1)

        step = in_mode(step, in_function)
        for _ in range(3):
            step()
        saved = checkpoint.write(str(tmp_path / f"checkpoint_{tape.__module__}"))
        for _ in range(3):
            step()
        checkpoint.read(saved)
        for _ in range(2):
            step()
        return [weights, number]

    try:
        with gs.record(logdir, every=1, on_error="raise"):
            _, number = assert_identical(train)
    finally:
        tf.summary.experimental.set_step(None)
    assert number.numpy() == 5
    (run,) = gs.load(logdir).runs.values()
    assert steps(run) == {"loss": [0, 1, 2, 3, 4]}


def test_a_layer_that_is_built_later(recorded):
    def train(tape):
        layers = [random_matrix()]
        for number in range(5):
            if number == 3:
                layers.append(random_matrix(2, 2))
            with tape() as t:
                hidden = X
                for weights in layers:
                    hidden = tf.tanh(hidden @ weights)
                loss = tf.reduce_sum(hidden**2)
            for weights, gradient in zip(layers, t.gradient(loss, layers), strict=True):
                weights.assign_sub(0.1 * gradient)
        return layers

    assert_identical(train)
    run = recorded()
    assert steps(run) == {"loss": [0, 1, 2, 3, 4]}
    assert run.losses[0].asked.tolist() == [5, 2]


def test_a_keras_layer_that_is_built_by_its_first_call(recorded):
    import keras

    def train(tape):
        keras.utils.set_random_seed(1)
        layer = keras.layers.Dense(2, name="late")

        @tf.function
        def step():
            with tape() as t:
                loss = tf.reduce_sum(layer(X) ** 2)
            gradients = t.gradient(loss, layer.trainable_variables)
            for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
                variable.assign_sub(0.01 * gradient)

        for _ in range(3):
            step()
        return [variable.value for variable in layer.trainable_variables]

    assert_identical(train)
    run = recorded()
    assert steps(run) == {"loss": [0, 1, 2]}
    assert [variable.name for variable in run.variables] == ["late/kernel", "late/bias"]


def test_several_functions_share_a_helper(recorded):
    """A row for each function that calls it, whatever the helper calls its loss."""

    def train(tape):
        weights = random_matrix()

        def minimize(make_loss):
            with tape() as t:
                loss = make_loss()
            weights.assign_sub(0.1 * t.gradient(loss, weights))

        @tf.function
        def fit():
            minimize(lambda: tf.reduce_mean(tf.tanh(X @ weights) ** 2))

        @tf.function
        def shrink():
            minimize(lambda: tf.reduce_sum(weights**2))

        for _ in range(3):
            fit()
            shrink()
        return [weights]

    assert_identical(train)
    assert steps(recorded()) == {"loss": [0, 1, 2], "loss_2": [0, 1, 2]}


def test_a_gan(recorded):
    """Two tapes over one forward pass, two sets of variables, one function."""

    def train(tape):
        generator, critic = random_matrix(), random_matrix(2, 1)

        @tf.function
        def step():
            with tape() as gen_tape, tape() as disc_tape:
                fake = tf.tanh(X @ generator)
                gen_loss = -tf.reduce_mean(fake @ critic)
                disc_loss = tf.reduce_mean(fake @ critic) - tf.reduce_mean(X[:, :2] @ critic)
            of_generator = gen_tape.gradient(gen_loss, generator)
            of_critic = disc_tape.gradient(disc_loss, critic)
            generator.assign_sub(0.1 * of_generator)
            critic.assign_sub(0.1 * of_critic)

        for _ in range(3):
            step()
        return [generator, critic]

    assert_identical(train)
    run = recorded()
    assert steps(run) == {"gen_loss": [0, 1, 2], "disc_loss": [0, 1, 2]}
    assert run.cosines == ()  # they share no variable


def test_first_eager_then_a_function(recorded):
    """As programs are debugged: the first steps run eagerly."""

    def train(tape):
        weights = random_matrix()

        def step():
            with tape() as t:
                loss = tf.reduce_mean(tf.tanh(X @ weights) ** 2)
            weights.assign_sub(0.1 * t.gradient(loss, weights))

        tf.config.run_functions_eagerly(True)
        try:
            compiled = tf.function(step)
            for _ in range(2):
                compiled()
        finally:
            tf.config.run_functions_eagerly(False)
        for _ in range(2):
            compiled()
        return [weights]

    assert_identical(train)
    assert steps(recorded()) == {"loss": [0, 1, 2, 3]}
