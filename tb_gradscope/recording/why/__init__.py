"""Why a gradient is None: found while the program runs, and without touching it.

`missing.explain_missing` is asked when a None is seen. In graphs the operations are
there to be read. In eager code they are gone by then, so the first step of each tape
is observed (`observing`, `observer`). From there on both are one: a list of operations
(`nodes`), what gets where (`reach`, `needed`), where gradients stop (`blockers`), and
the cause (`verdict`), which `tb_gradscope.diagnose.causes` puts into words.
"""
