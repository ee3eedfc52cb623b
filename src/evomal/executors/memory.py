"""The C library's memory, kept by the process between training steps."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # numbers of glibc's mallopt
KEEP = {
    MMAP_THRESHOLD: 32 * 2**20,  # the greatest value that glibc takes
    TRIM_THRESHOLD: 2**31 - 1,
    TOP_PAD: 64 * 2**20,
}


def keep_freed_memory() -> bool:
    """Let the process keep freed memory instead of handing it back to the system; call it before torch is imported.

    Every forward and backward pass frees and takes the same megabytes. By default glibc returns them, so that each step
    pays for new pages: the forward-mode pass of LeNet-5 took 9.4 ms instead of 6.1 ms. Values do not change.

    Returns:
        Whether it could be asked for; elsewhere than on glibc nothing is done.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    try:
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return False
        return all(library.mallopt(name, value) == 1 for name, value in KEEP.items())
    except (OSError, TypeError, AttributeError):
        return False
