"""The command line: it parses, calls and prints; it has no logic of its own."""

from evomal.cli.app import main

__all__ = ["main"]
