"""Programs that were not written for it: `gs.patch()` and `tb-gradscope run`."""
