"""What the operating system tells about this process."""

import resource


def resident_bytes() -> int:
    """Return the resident memory of this process; where the system does not tell, its peak."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
