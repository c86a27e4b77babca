"""Losses and variables are called what the user's program calls them."""

from __future__ import annotations

import gc
import sys
import threading

import pytest
import tensorflow as tf

import tb_gradscope as gs

g1 = tf.Variable(1.0)
w = {"inner": [tf.Variable(1.0)]}


def variable_names(run):
    return [variable.name for variable in run.variables]


def loss_names(run):
    return [loss.name for loss in run.losses]


def gradient_of(*sources, tape=gs.GradientTape, **keywords):
    with tape() as t:
        loss = tf.add_n([tf.reduce_sum(v * 2.0) for v in sources])
    return t.gradient(loss, list(sources), **keywords)


def test_two_plain_variables_stay_apart(recorded):
    w1, w2 = tf.Variable([[1.0], [2.0]]), tf.Variable([[1.0], [2.0], [3.0]])
    with gs.GradientTape() as tape:
        loss = tf.reduce_sum(w1) + tf.reduce_sum(w2)
    tape.gradient(loss, [w1, w2])
    assert variable_names(recorded()) == ["w1", "w2"]


def test_own_names_win(recorded):
    a, b = tf.Variable(1.0, name="kernel"), tf.Variable(1.0, name="scope/bias")
    gradient_of(a, b)
    assert variable_names(recorded()) == ["kernel", "scope/bias"]


def test_the_same_own_name_gets_a_suffix(recorded):
    a, b = tf.Variable(1.0, name="kernel"), tf.Variable(1.0, name="kernel")
    for _ in range(3):
        gradient_of(a, b)
        gradient_of(b, a)
    assert variable_names(recorded()) == ["kernel", "kernel_2"]


def test_keras_path(recorded):
    import keras

    model = keras.Sequential([keras.layers.Dense(2, name="first")], name="net")
    with gs.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.ones([1, 3])))
    tape.gradient(loss, model.trainable_variables)
    assert variable_names(recorded()) == ["net/first/kernel", "net/first/bias"]


class Model:
    def __init__(self):
        self.embed = tf.Variable(1.0)
        self.parts = {"head": tf.Variable(2.0)}

    def step(self):
        with gs.GradientTape() as tape:
            loss = self.embed * self.parts["head"]
        return tape.gradient(loss, [self.embed, self.parts["head"]])

    def step_with_list(self, variables):
        with gs.GradientTape() as tape:
            loss = self.embed * self.parts["head"]
        return tape.gradient(loss, variables)


@pytest.mark.parametrize("in_function", [False, True])
def test_attribute_paths(in_function, recorded):
    model = Model()
    (tf.function(model.step) if in_function else model.step)()
    assert variable_names(recorded()) == ["self.embed", "self.parts['head']"]


def test_attribute_paths_are_found_without_being_spelled(recorded):
    model = Model()
    model.step_with_list([model.parts["head"], model.embed])
    assert sorted(variable_names(recorded())) == ["self.embed", "self.parts['head']"]


def test_names_of_globals_and_containers(recorded):
    everything = [g1, w["inner"][0]]
    with gs.GradientTape() as tape:
        loss = tf.add_n(everything)
    tape.gradient(loss, everything)
    assert variable_names(recorded()) == ["g1", "w['inner'][0]"]


@pytest.mark.parametrize("in_function", [False, True])
def test_a_loop_variable_is_no_name(in_function, recorded):
    first, second = tf.Variable(1.0), tf.Variable(2.0)

    def step():
        with gs.GradientTape(persistent=True) as tape:
            loss = first * second
        for v in (first, second):
            tape.gradient(loss, v)

    (tf.function(step) if in_function else step)()
    assert variable_names(recorded()) == ["first", "second"]


def test_identity_survives_steps_freezing_and_retracing(recorded):
    one, two = tf.Variable(1.0), tf.Variable(2.0)

    @tf.function
    def step(x, both):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(x * one * two)
        return tape.gradient(loss, [two, one] if both else [one])

    for size, both in ((1, True), (2, True), (2, False), (3, True)):
        step(tf.ones([size]), both)
    run = recorded()
    assert variable_names(run) == ["two", "one"]
    (loss,) = run.losses
    assert loss.records == 4
    assert loss.asked.tolist() == [3, 4]


def test_a_new_variable_in_the_place_of_a_dead_one_takes_its_name(recorded):
    def train():
        weight = tf.Variable(1.0)
        with gs.GradientTape() as tape:
            loss = weight * 2
        tape.gradient(loss, weight)

    for _ in range(3):
        train()
        gc.collect()
    assert variable_names(recorded()) == ["weight"]


def test_plain_tensors_are_sources_too(recorded):
    for step in range(3):
        x = tf.constant([1.0, float(step)])
        with gs.GradientTape() as tape:
            tape.watch(x)
            penalty = tf.reduce_sum(x**2)
        tape.gradient(penalty, x)
    run = recorded()
    assert [(v.name, v.kind) for v in run.variables] == [("x", "tensor")]
    assert loss_names(run) == ["penalty"]
    assert run.losses[0].records == 3


@pytest.mark.parametrize("in_function", [False, True])
def test_losses(in_function, recorded):
    weight = tf.Variable([1.0, 2.0])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            recon = tf.reduce_sum(weight)
            also = recon
            terms = {"kl": tf.reduce_sum(weight**2)}
        tape.gradient(recon, weight)
        tape.gradient(terms["kl"], weight)
        tape.gradient(recon + terms["kl"], weight)
        tape.gradient([recon, terms["kl"]], weight)
        tape.gradient(also, weight, loss_name="mine")

    (tf.function(step) if in_function else step)()
    # The sum was made outside the tape, hence is a loss without gradients: data too.
    expected = ["recon", "terms['kl']", "recon + terms['kl']", "[recon, terms['kl']]", "mine"]
    assert loss_names(recorded()) == expected


@pytest.mark.parametrize("in_function", [False, True])
def test_losses_of_one_name_stay_apart(in_function, recorded):
    weight = tf.Variable(1.0)

    def generator():
        with gs.GradientTape() as tape:
            loss = weight * 2
        tape.gradient(loss, weight)

    def discriminator():
        with gs.GradientTape() as tape:
            loss = weight * 3
        tape.gradient(loss, weight)

    if in_function:
        generator, discriminator = tf.function(generator), tf.function(discriminator)
    for _ in range(3):
        generator()
        discriminator()
    run = recorded()
    assert loss_names(run) == ["loss", "loss_2"]
    assert [loss.records for loss in run.losses] == [3, 3]


@pytest.mark.parametrize("in_function", [False, True])
def test_targets_of_a_loop_stay_apart(in_function, recorded):
    weight = tf.Variable([1.0, 2.0])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            parts = [tf.reduce_sum(weight) * k for k in (1.0, 2.0)]
        for part in parts:
            tape.gradient(part, weight)

    step = tf.function(step) if in_function else step
    for _ in range(2):
        step()
    run = recorded()
    assert loss_names(run) == ["part", "part_2"]
    assert [loss.records for loss in run.losses] == [2, 2]


def test_one_loss_asked_twice_is_one_row(recorded):
    a, b = tf.Variable(1.0), tf.Variable(2.0)
    with gs.GradientTape(persistent=True) as tape:
        loss = a * b
    tape.gradient(loss, a)
    tape.gradient(loss, b)
    run = recorded()
    assert loss_names(run) == ["loss"]
    assert run.losses[0].values.shape[:2] == (1, 2)


@pytest.mark.parametrize("in_function", [False, True])
def test_places_are_the_users_lines(in_function, recorded):
    weight = tf.Variable(1.0)

    def step():
        with gs.GradientTape() as tape:
            loss = weight * 2
        return tape.gradient(loss, weight)  # this line

    (tf.function(step) if in_function else step)()
    where = recorded().losses[0].where
    assert where.file == __file__
    assert where.code == "return tape.gradient(loss, weight)  # this line"
    assert where.line == step.__code__.co_firstlineno + 3
    assert where.function.endswith("step")


ODD = ['a"b', "a/b//c", "<img src=x onerror=alert(1)>", "🙂 ñ", "x" * 300, " ", "a\nb"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_arrive_as_they_are(name, recorded):
    weight = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        loss = weight * 2
    tape.gradient(loss, weight, loss_name=name)
    assert loss_names(recorded()) == [name]


def test_endless_names_are_cut(recorded):
    weight = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        loss = weight * 2
    tape.gradient(loss, weight, loss_name="y" * 5000)
    assert loss_names(recorded()) == ["y" * 300]


def test_code_without_source(recorded):
    scope = {"gs": gs, "weight": tf.Variable(1.0)}
    exec(
        "with gs.GradientTape() as tape:\n  loss = weight * 2\ntape.gradient(loss, weight)\n",
        scope,
    )
    run = recorded()
    assert (loss_names(run), variable_names(run)) == (["loss"], ["weight"])


def test_called_by_nothing_of_the_users(recorded):
    weight = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        loss = weight * 2
    thread = threading.Thread(target=tape.gradient, args=(loss, weight))
    thread.start()
    thread.join()
    run = recorded()
    assert (loss_names(run), variable_names(run)) == (["loss"], ["variable"])
    assert (run.losses[0].where.file, run.losses[0].where.line) == ("<unknown>", 0)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="f_locals is no copy since 3.13")
def test_locals_that_the_user_holds_are_left_alone(recorder):
    weight = tf.Variable(1.0)
    mine = locals()
    with gs.GradientTape() as tape:
        loss = weight * 2
    tape.gradient(loss, weight)
    assert mine["weight"] is weight


def norms(run):
    return {loss.name: loss.values[:, :, 1].round(2).tolist() for loss in run.losses}


@pytest.mark.parametrize("in_function", [False, True])
def test_two_losses_of_one_name_in_one_function(in_function, recorded):
    """As actors and critics are often written: `tape` and `loss` are used again."""
    shared = tf.Variable(1.0)

    def step():
        with gs.GradientTape() as tape:
            loss = shared * 5
        tape.gradient(loss, shared)
        with gs.GradientTape() as tape:
            loss = shared * 25
        tape.gradient(loss, shared)

    step = tf.function(step) if in_function else step
    for _ in range(3):
        step()
    assert norms(recorded()) == {"loss": [[5]] * 3, "loss_2": [[25]] * 3}


@pytest.mark.parametrize("in_function", [False, True])
def test_one_helper_for_two_losses(in_function, recorded):
    shared = tf.Variable(1.0)

    def apply(tape, loss, variables):
        return tape.gradient(loss, variables)

    def step():
        with gs.GradientTape(persistent=True) as one:
            first = shared * 5
        with gs.GradientTape() as two:
            second = shared * 25
        apply(one, first, [shared])
        apply(two, second, [shared])

    step = tf.function(step) if in_function else step
    for _ in range(3):
        step()
    assert norms(recorded()) == {"loss": [[5]] * 3, "loss_2": [[25]] * 3}


@pytest.mark.parametrize("in_function", [False, True])
def test_one_function_for_two_models(in_function, recorded):
    generator, discriminator = tf.Variable(1.0), tf.Variable(2.0)

    def train(variable, factor):
        with gs.GradientTape() as tape:
            loss = variable * factor
        gs.clip_by_global_norm(tape.gradient(loss, [variable]), 1.0)

    steps = [lambda: train(generator, 5.0), lambda: train(discriminator, 25.0)]
    if in_function:
        steps = [tf.function(step) for step in steps]
    for _ in range(3):
        for step in steps:
            step()
    run = recorded()
    assert [loss.steps.tolist() for loss in run.losses] == [[0, 1, 2]] * 2
    assert loss_names(run) == ["loss", "loss_2"]
    assert [clip.variables for clip in run.clips] == [("generator",), ("discriminator",)]


def test_warming_up_on_another_line_is_no_other_loss(recorded):
    weight = tf.Variable(1.0)

    def step():
        with gs.GradientTape() as tape:
            loss = weight * 2
        tape.gradient(loss, weight)

    step()
    for _ in range(2):
        step()
    (loss,) = recorded().losses
    assert loss.steps.tolist() == [0, 1, 2]


CELL = """
with gs.GradientTape() as tape:
    loss = weight * {factor}
tape.gradient(loss, weight)
"""


def test_notebook_cells(recorded):
    """The same cell run again is the same loss; another cell is another one."""
    scope = {"gs": gs, "weight": tf.Variable(1.0)}
    for number, factor in enumerate((5, 25, 5)):
        exec(compile(CELL.format(factor=factor), f"<ipython-input-{number}>", "exec"), scope)
    assert norms(recorded()) == {"loss": [[5], [5]], "loss_2": [[25]]}


def test_a_path_from_self_comes_before_one_from_a_global(recorded):
    trainer = Model()
    globals()["trainer_of_the_module"] = trainer
    try:

        def inside(self):
            everything = list(self.parts.values())
            with gs.GradientTape() as tape:
                second = self.parts["head"] * 2
            tape.gradient(second, everything)

        inside(trainer)
    finally:
        del globals()["trainer_of_the_module"]
    assert variable_names(recorded()) == ["self.parts['head']"]


@pytest.mark.parametrize("in_function", [False, True])
def test_a_helper_that_makes_tape_and_loss(in_function, recorded):
    shared = tf.Variable(1.0)

    def slope(make_loss):
        with gs.GradientTape() as tape:
            loss = make_loss()
        return tape.gradient(loss, shared)

    def step():
        slope(lambda: shared * 5)
        slope(lambda: shared * 25)

    step = tf.function(step) if in_function else step
    for _ in range(4):
        step()
    assert norms(recorded()) == {"loss": [[5]] * 4, "loss_2": [[25]] * 4}


@pytest.mark.parametrize("in_function", [False, True])
def test_a_helper_that_is_given_numbers(in_function, recorded):
    """In a graph it is known at once who calls it; eagerly when the first comes again."""
    shared = tf.Variable(1.0)

    def slope(factor):
        with gs.GradientTape() as tape:
            loss = shared * factor
        return tape.gradient(loss, shared)

    def step():
        slope(5.0)
        slope(25.0)

    step = tf.function(step) if in_function else step
    for _ in range(4):
        step()
    found = norms(recorded())
    if in_function:
        assert found == {"loss": [[5]] * 4, "loss_2": [[25]] * 4}
    else:
        assert found == {"loss": [[5], [25], [5], [5], [5]], "loss_2": [[25]] * 3}


@pytest.mark.parametrize("in_function", [False, True])
def test_a_function_traced_again_from_elsewhere_is_no_other_loss(in_function, recorded):
    weight = tf.Variable([1.0, 2.0])

    def helper(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(weight * x)
        tape.gradient(loss, weight)

    step = tf.function(lambda x: helper(x)) if in_function else helper
    step(tf.ones([1]))
    for size in (2, 2):
        step(tf.ones([size]))
    (loss,) = recorded().losses
    assert loss.steps.tolist() == [0, 1, 2]


def test_a_helper_in_a_python_loop_of_one_graph_is_one_loss(recorded):
    weight = tf.Variable(1.0)

    def inner():
        with gs.GradientTape() as tape:
            loss = weight * 2
        tape.gradient(loss, weight)

    @tf.function(autograph=False)
    def step():
        for _ in range(2):
            inner()

    step()
    step()
    (loss,) = recorded().losses
    assert loss.steps.tolist() == [0, 1, 2, 3]
