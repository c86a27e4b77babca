"""`python -m tb_gradscope` is `tb-gradscope`."""

import sys

from tb_gradscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
