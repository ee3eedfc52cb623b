"""A process of its own that connects to a Ray cluster and leaves: Ray itself does not give up for minutes."""

import logging
import sys


def main() -> int:
    """Connect to the cluster whose address is the argument; what is wrong goes to standard error."""
    import ray

    try:
        ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # whatever it is, the caller makes a sentence of it
        print(type(error).__name__, error, file=sys.stderr)
        return 1
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
