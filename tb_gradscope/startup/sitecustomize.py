"""Python runs this before the program that `tb-gradscope run` starts, and nothing remains of it.

Python itself then runs the program: `sys.argv`, `__main__`, `sys.path`, exit
codes, signals and tracebacks are those of `python script.py`. All that is left
is a hook that waits for the program's own `import tensorflow`.

Only modules are imported that Python has loaded already or that are built in: the
program may have modules of its own that are named like the standard library's.
"""

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` is not loaded yet
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(os.path.dirname(_HERE))
_TENSORFLOW = "tensorflow"


class _WaitForTensorFlow:
    """A finder that begins recording when the program has imported TensorFlow."""

    def __init__(self, **options: str) -> None:
        self._options = options
        self._process = os.getpid()

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name != _TENSORFLOW:
            return None
        # Asked for more than once, where a program only wants to know if it is installed.
        for finder in [one for one in sys.meta_path if one is not self]:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                # A process of the program's own, forked before this, is left alone.
                if hasattr(spec.loader, "exec_module") and os.getpid() == self._process:
                    self._begin_after(spec.loader)
                return spec
        return None

    def say_if_in_vain(self) -> None:
        """At the program's end: says why there are no records."""
        if self in sys.meta_path and os.getpid() == self._process:
            _say("nothing was recorded: the program did not import TensorFlow.")

    def _begin_after(self, loader: "Any") -> None:
        execute = loader.exec_module

        def exec_module(module: "Any") -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            del loader.exec_module  # on this object alone; its class has the real one
            execute(module)
            try:
                self._begin()
            except Exception as error:
                _say(f"recording could not begin: {type(error).__name__}: {error}")

        loader.exec_module = exec_module

    def _begin(self) -> None:
        # The program's own path need not lead to us.
        sys.path.append(_PACKAGE)
        try:
            from tb_gradscope.recording.patch import program
        finally:
            sys.path.remove(_PACKAGE)
        program.start(**self._options)


def _say(text: str) -> None:
    if sys.__stderr__ is not None:
        print(f"tb-gradscope: {text}", file=sys.__stderr__, flush=True)


def _restore() -> dict[str, str]:
    """Makes everything look as if this file were not there, and returns what it was told."""
    told = {
        name: os.environ.pop(f"TB_GRADSCOPE_RUN_{name.upper()}")
        for name in ("logdir", "shown", "every")
    }
    pythonpath = os.environ.pop("TB_GRADSCOPE_RUN_PYTHONPATH", None)
    if pythonpath is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = pythonpath
    sys.path[:] = [path for path in sys.path if path != _HERE]
    sys.path_importer_cache.pop(_HERE, None)
    return told


def _run_the_one_behind() -> None:
    """Runs the environment's own `sitecustomize`, if there is one, as Python would have."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)


_waiting = _WaitForTensorFlow(**_restore())
sys.meta_path.insert(0, _waiting)
atexit.register(_waiting.say_if_in_vain)
_run_the_one_behind()
