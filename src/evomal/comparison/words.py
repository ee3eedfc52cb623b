"""Text of a comparison's files: times for people, and names from files as plain text."""


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(3.21), duration(75), duration(7380)
        ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def cleaned(text: object) -> str:
    r"""Text from a file without anything that a terminal would obey.

    Example:
        >>> cleaned("digits\x1b[31m")
        'digits?[31m'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
