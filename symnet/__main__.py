"""`python -m symnet`: the command line, whose commands are in `symnet.command`."""

import sys

from symnet.command import main

if __name__ == "__main__":
    sys.exit(main())
