"""Where records go, on which steps, and under which step number."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs

in_both = pytest.mark.parametrize("in_function", [False, True], ids=["eager", "graph"])


class Step:
    """One training step on two variables, eager or compiled."""

    def __init__(self, in_function=False, recorder=None, **compile_options):
        self.weight = tf.Variable([1.0, 2.0])
        self.unused = tf.Variable(3.0)
        self._recorder = recorder
        self.run = tf.function(self._step, **compile_options) if in_function else self._step

    def _step(self):
        with gs.GradientTape(recorder=self._recorder) as tape:
            loss = tf.reduce_sum(self.weight**2)
        gradient, _ = tape.gradient(loss, [self.weight, self.unused])
        self.weight.assign_sub(0.01 * gradient)

    def times(self, count):
        for _ in range(count):
            self.run()


def steps(logdir):
    """Recorded steps of each run that has any."""
    runs = gs.load(logdir).runs
    return {name: run.losses[0].steps.tolist() for name, run in runs.items() if run.losses}


def one_run(logdir):
    (found,) = steps(logdir).values()
    return found


@in_both
def test_every_call(in_function, logdir):
    with gs.record(logdir, every=1):
        Step(in_function).times(5)
    assert one_run(logdir) == [0, 1, 2, 3, 4]


@in_both
def test_every_third_call(in_function, logdir):
    with gs.record(logdir, every=3):
        Step(in_function).times(8)
    assert one_run(logdir) == [0, 3, 6]


@in_both
def test_auto_thins_out(in_function, logdir):
    with gs.record(logdir):
        Step(in_function).times(600)
    expected = [*range(128), *range(128, 256, 2), *range(256, 512, 4), *range(512, 600, 8)]
    assert one_run(logdir) == expected


@pytest.mark.parametrize("every", [0, -3, 1.5, True, "often", None])
def test_every_that_makes_no_sense(every, logdir):
    expected = r"every=.*: expected 'auto' or a whole number of 1 or more\."
    with pytest.raises(ValueError, match=expected):
        gs.record(logdir, every=every)


def test_numpy_integers_are_numbers(logdir):
    gs.record(logdir, every=np.int64(3))


def test_a_log_directory_that_is_no_path():
    with pytest.raises(TypeError, match=r"expected the path of a log directory, found int"):
        gs.record(3)
    with pytest.raises(ValueError, match="on_error='explode': expected 'warn' or 'raise'"):
        gs.record("x", on_error="explode")


@in_both
def test_the_innermost_recorder_records(in_function, tmp_path):
    with gs.record(tmp_path / "outer", every=1):
        with gs.record(tmp_path / "inner", every=1):
            Step(in_function).times(2)
        Step(in_function).times(3)
    assert steps(tmp_path) == {"inner": [0, 1], "outer": [0, 1, 2]}


@in_both
def test_a_tape_with_its_own_recorder(in_function, tmp_path):
    mine = gs.record(tmp_path / "mine", every=1)
    with mine, gs.record(tmp_path / "other", every=1):
        Step(in_function, recorder=mine).times(2)
    assert steps(tmp_path) == {"mine": [0, 1]}


def test_a_function_goes_on_in_the_next_recorder(tmp_path):
    step = Step(in_function=True)
    with gs.record(tmp_path / "one", every=1):
        step.times(3)
    step.times(10)  # nobody records these
    with gs.record(tmp_path / "two", every=2):
        step.times(5)
    assert steps(tmp_path) == {"one": [0, 1, 2], "two": [0, 2, 4]}
    assert step.run.experimental_get_tracing_count() == 1


@in_both
def test_a_recorder_entered_again_goes_on(in_function, logdir):
    recorder, step = gs.record(logdir, every=1), Step(in_function)
    with recorder:
        step.times(3)
    with recorder:
        step.times(2)
    assert one_run(logdir) == [0, 1, 2, 3, 4]


@in_both
def test_another_recorder_of_the_same_directory_is_warned_of(in_function, logdir):
    step, recorder = Step(in_function), gs.record(logdir, every=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # goes on
            with recorder:
                step.times(1)
    expected = pytest.warns(gs.GradscopeWarning, match="Steps are counted from 0 again")
    with expected, gs.record(logdir, every=1):
        step.times(1)
    assert one_run(logdir) == [0]


def test_the_users_own_steps_do_not_begin_again(logdir):
    step = Step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(2):
            tf.summary.experimental.set_step(number)
            with gs.record(logdir, every=1):
                step.times(1)
    tf.summary.experimental.set_step(None)
    assert one_run(logdir) == [0, 1]


def test_entered_twice_at_once(logdir):
    recorder = gs.record(logdir)
    with recorder, pytest.raises(RuntimeError, match="is entered already"):
        recorder.__enter__()


@in_both
def test_the_users_step(in_function, logdir):
    step = tf.Variable(100, dtype=tf.int64)
    tf.summary.experimental.set_step(step)
    try:
        with gs.record(logdir, every=1):
            training = Step(in_function)
            for _ in range(3):
                training.times(1)
                step.assign_add(10)
    finally:
        tf.summary.experimental.set_step(None)
    (run,) = gs.load(logdir).runs.values()
    assert run.losses[0].steps.tolist() == [100, 110, 120]
    assert run.losses[0].label.step_source == "user"


def test_a_python_step_in_eager_code(logdir):
    training = Step()
    with gs.record(logdir, every=1):
        for step in (7, 9, 11):
            tf.summary.experimental.set_step(step)
            training.times(1)
    tf.summary.experimental.set_step(None)
    assert one_run(logdir) == [7, 9, 11]


def test_a_python_step_frozen_into_a_function(logdir):
    training = Step(in_function=True)
    tf.summary.experimental.set_step(7)
    try:
        with (
            gs.record(logdir, every=1),
            pytest.warns(gs.GradscopeWarning, match="the Python number 7, which a tf.function"),
        ):
            training.times(3)
    finally:
        tf.summary.experimental.set_step(None)
    (run,) = gs.load(logdir).runs.values()
    assert run.losses[0].steps.tolist() == [0, 1, 2]
    assert run.losses[0].label.step_source == "calls"


@in_both
def test_the_default_summary_writer(in_function, logdir):
    writer = tf.summary.create_file_writer(str(logdir))
    step = tf.Variable(0, dtype=tf.int64)
    training = Step(in_function)
    with writer.as_default(step=step):
        for _ in range(4):
            training.times(1)
            tf.summary.scalar("mine", 1.0)
            step.assign_add(5)
    # On disk when the block ends, without closing anything.
    assert one_run(logdir) == [0, 5, 10, 15]


@in_both
@pytest.mark.parametrize("end", ["flush", "close"])
def test_nothing_is_lost_when_the_writer_ends(end, in_function, logdir):
    writer = tf.summary.create_file_writer(str(logdir))
    with writer.as_default(step=tf.Variable(0, dtype=tf.int64)):
        Step(in_function).times(1)
        getattr(writer, end)()
        assert one_run(logdir) == [0]


@in_both
def test_record_if_is_honoured(in_function, logdir):
    writer = tf.summary.create_file_writer(str(logdir))
    step = tf.Variable(0, dtype=tf.int64)
    training = Step(in_function)
    with writer.as_default(step=step), tf.summary.record_if(lambda: step % 3 == 0):
        for _ in range(300):
            training.times(1)
            step.assign_add(1)
    assert one_run(logdir) == list(range(0, 300, 3))


@in_both
def test_recording_nowhere_is_said_once(in_function):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Step(in_function).times(3)
        Step(in_function).times(3)
    ours = [str(w.message) for w in said if issubclass(w.category, gs.GradscopeWarning)]
    assert len(ours) == 1
    assert "records nowhere: neither gs.record(...) nor a default tf.summary writer" in ours[0]


@in_both
def test_a_step_that_fails_to_be_recorded_trains_on(in_function, logdir, monkeypatch):
    from tb_gradscope.recording.measure import statistics

    def broken(*_):
        raise ArithmeticError("planted")

    monkeypatch.setattr(statistics, "gradient_statistics", broken)
    plain, ours = tf.Variable([1.0, 2.0]), Step(in_function)
    with (
        gs.record(logdir, every=1),
        pytest.warns(gs.GradscopeWarning, match="ArithmeticError: planted. Training goes on") as w,
    ):
        ours.times(3)
    assert len([one for one in w if one.category is gs.GradscopeWarning]) == 1
    for _ in range(3):
        plain.assign_sub(0.01 * 2 * plain)
    np.testing.assert_allclose(ours.weight.numpy(), plain.numpy())


def test_warnings_as_errors_do_not_stop_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with gs.record(tmp_path / "file", every=1):
            Step().times(2)


def test_a_log_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    recorder = gs.record(tmp_path / "file", every=1)
    with pytest.warns(
        gs.GradscopeWarning, match=r"records nothing: that is a file, expected a directory\."
    ):
        recorder.__enter__()
    Step().times(2)
    Step(in_function=True).times(2)
    recorder.__exit__(None, None, None)


def test_an_empty_path():
    with pytest.raises(ValueError, match=r"gs.record\(''\): expected the path"):
        gs.record("")


def test_a_recording_that_got_nothing_says_so(tmp_path):
    step = Step(in_function=True)
    step.times(1)
    with (
        pytest.warns(gs.GradscopeWarning, match=r"recorded nothing: no gradient\(\) of a gs"),
        gs.record(tmp_path / "late", every=1),
    ):
        step.times(3)


def test_warnings_point_at_the_users_line():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Step().times(1)
    (ours,) = [one for one in said if issubclass(one.category, gs.GradscopeWarning)]
    assert ours.filename == __file__
    assert ours.lineno == Step._step.__code__.co_firstlineno + 3


@in_both
def test_recorders_take_turns(in_function, tmp_path):
    """Each goes on where it stopped, whoever recorded the function in between."""
    one, two = (gs.record(tmp_path / name, every=1) for name in ("one", "two"))
    step = Step(in_function)
    for recorder, count in ((one, 3), (two, 2), (one, 2), (two, 1)):
        with recorder:
            step.times(count)
    assert steps(tmp_path) == {"one": [0, 1, 2, 3, 4], "two": [0, 1, 2]}


def test_a_recorder_entered_inside_another_leaves_its_functions_alone(tmp_path):
    one, two = (gs.record(tmp_path / name, every=1) for name in ("one", "two"))
    step = Step(in_function=True)
    with one:
        step.times(2)
    with two:
        step.times(2)
        with one:
            step.times(2)
        step.times(2)
    assert steps(tmp_path) == {"one": [0, 1], "two": [0, 1, 2, 3, 4, 5]}


def test_none_on_and_off_does_not_flood_the_log(logdir):
    weight, sometimes = tf.Variable(1.0), tf.Variable(2.0)
    with gs.record(logdir, every=50):
        for step in range(200):
            with gs.GradientTape() as tape:
                loss = weight * sometimes if step % 3 == 1 else weight * 2
            tape.gradient(loss, [weight, sometimes])
    # The first of each pattern is recorded whatever the cadence.
    assert one_run(logdir) == [0, 1, 50, 100, 150]


def test_on_error_raise(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(tf.errors.OpError):
        gs.record(tmp_path / "file", on_error="raise").__enter__()


def test_two_threads_train_two_models(tmp_path):
    def train(name, count):
        with gs.record(tmp_path / name, every=1):
            Step(in_function=True).times(count)

    threads = [threading.Thread(target=train, args=(f"t{n}", n)) for n in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps(tmp_path) == {"t3": [0, 1, 2], "t5": [0, 1, 2, 3, 4]}


def test_a_thread_without_a_recorder_uses_the_one_around(logdir):
    with gs.record(logdir, every=1):
        thread = threading.Thread(target=Step().times, args=(2,))
        thread.start()
        thread.join()
    assert one_run(logdir) == [0, 1]


def test_a_loop_that_lives_in_a_function(logdir):
    training = Step()

    @tf.function
    def train(count):
        for _ in tf.range(count):
            training.run()

    with gs.record(logdir, every=1):
        train(tf.constant(7))
        train(tf.constant(3))
    assert one_run(logdir) == list(range(10))


def test_a_compiled_step(logdir):
    training = Step(in_function=True, jit_compile=True)
    with gs.record(logdir, every=2):
        training.times(6)
    assert one_run(logdir) == [0, 2, 4]


def test_a_compiled_loop_says_what_it_had_to_drop(logdir):
    """XLA hands variables over when the whole loop is done; the ring holds the last 1,023."""
    training = Step()

    @tf.function(jit_compile=True)
    def train(count):
        for _ in tf.range(count):
            training.run()

    with gs.record(logdir, every=1):
        train(tf.constant(1500))
    (run,) = gs.load(logdir).runs.values()
    assert run.losses[0].steps.tolist() == list(range(1500 - 1023, 1500))
    assert any("477" in problem for problem in run.problems)


def test_steps_not_recorded_compute_nothing(logdir, monkeypatch):
    """In a graph the statistics lie in a branch; eagerly they are never asked for."""
    from tb_gradscope.recording.measure import statistics

    original = statistics.gradient_statistics
    calls = []

    def counted(*arguments):
        calls.append(tf.executing_eagerly())
        if not tf.executing_eagerly():
            ran.assign_add(1)
        return original(*arguments)

    ran = tf.Variable(0)
    monkeypatch.setattr(statistics, "gradient_statistics", counted)
    with gs.record(logdir, every=5):
        Step().times(10)
        Step(in_function=True).times(10)
    assert calls == [True, True, False]
    assert ran.numpy() == 2


def test_graphs_of_tensorflow_1_are_not_recorded_and_go_on(logdir):
    with gs.record(logdir, every=1), tf.Graph().as_default():
        x = tf.constant(3.0)
        with gs.GradientTape() as tape:
            tape.watch(x)
            y = x**2
        with pytest.warns(gs.GradscopeWarning, match=r"graphs of TensorFlow 1 .* are not recorded"):
            slope = tape.gradient(y, x)
        with tf.compat.v1.Session() as session:
            assert session.run(slope) == 6
