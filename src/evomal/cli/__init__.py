"""The command line: it parses, calls and prints; it has no logic of its own."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; see `evomal.cli.app.main`. Imported here, so that Ctrl-C is answered from the start."""
    try:
        from evomal.cli import app
    except KeyboardInterrupt:
        print("evomal: stopped before there was a result", file=sys.stderr)
        return 130
    return app.main(arguments)
