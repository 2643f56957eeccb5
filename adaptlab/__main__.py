"""`python -m adaptlab` is the command `adaptlab`."""

import sys

from adaptlab.cli import main

sys.exit(main())
