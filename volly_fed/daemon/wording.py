"""Numbers for people: times and sizes as the commands and the status page write them.

in: numbers; out: words. Never: a number without its unit.
"""


def duration(seconds: float) -> str:
    """For people: the two largest units."""
    whole = int(seconds)
    for size, name, below, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {lesser}"
    return f"{whole} s"


def size(count: int) -> str:
    """Bytes, with three digits at most."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def brief(seconds: float) -> str:
    """The same where there is little room: the largest unit."""
    return " ".join(duration(seconds).split()[:2])
