"""`python -m evomal.cli` is the same as `evomal`."""

import sys

from evomal.cli import main

sys.exit(main())
