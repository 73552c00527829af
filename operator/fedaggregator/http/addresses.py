"""Which addresses the server binds. Called by server.py and monitoring.py."""

import socket

EVERY = "::"
_EACH_FAMILY = ((socket.AF_INET6, EVERY), (socket.AF_INET, "0.0.0.0"))  # noqa: S104 - the pod's own addresses


def addresses(host: str) -> list[str]:
    """`::` means every address of IPv6 and of IPv4, as far as the machine has these; anything else means itself.

    Two sockets and not one for both: asyncio and uvloop make every IPv6 socket deaf to IPv4.
    """
    if host != EVERY:
        return [host]
    return [address for family, address in _EACH_FAMILY if _there(family, address)] or [host]


def _there(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
