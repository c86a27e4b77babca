"""Python runs this before the program that `tb-gradscope run` starts, and nothing remains of it.

Python itself then runs the program: `sys.argv`, `__main__`, `sys.path`, exit
codes, signals and tracebacks are those of `python script.py`. All that is left
is a hook that waits for the program's own `import tensorflow`.

Only `os` and `sys` are imported, both of which Python has loaded already: the
program may have modules of its own that are named like the standard library's.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(os.path.dirname(_HERE))
_TENSORFLOW = "tensorflow"


class _WaitForTensorFlow:
    """A finder that begins recording when the program has imported TensorFlow."""

    def __init__(self, **options):
        self._options = options
        self._process = os.getpid()

    def find_spec(self, name, path=None, target=None):
        if name != _TENSORFLOW:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                # A process of the program's own, forked before this, is left alone.
                if spec.loader is not None and os.getpid() == self._process:
                    self._begin_after(spec.loader)
                return spec
        return None

    def _begin_after(self, loader):
        execute = loader.exec_module

        def exec_module(module):
            del loader.exec_module  # on this object alone; its class has the real one
            execute(module)
            try:
                self._begin()
            except Exception as error:
                print(
                    f"tb-gradscope: recording could not begin, the program goes on: "
                    f"{type(error).__name__}: {error}",
                    file=sys.stderr,
                )

        loader.exec_module = exec_module

    def _begin(self):
        # The program's own path need not lead to us.
        sys.path.append(_PACKAGE)
        try:
            from tb_gradscope.recording import program
        finally:
            sys.path.remove(_PACKAGE)
        program.start(**self._options)


def _restore():
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


def _run_the_one_behind():
    """Runs the environment's own `sitecustomize`, if there is one, as Python would have."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)


sys.meta_path.insert(0, _WaitForTensorFlow(**_restore()))
_run_the_one_behind()
