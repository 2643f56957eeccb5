"""`python -m adaptlab` is the command `adaptlab`."""

import sys

try:
    from adaptlab.cli import main

    code = main()
except KeyboardInterrupt:  # Ctrl-C while the command line itself was still being imported
    code = 130
sys.exit(code)
