"""Which addresses a cluster has: one number per full cluster, everything else follows from it.

Pure values and the allocation of a free number among the clusters recorded on this machine.
The interfaces that carry the addresses are made in `network`.
"""

from dataclasses import dataclass

# One bridge on the host joins all clusters' nodes; the host is reachable from pods at HOST_IP.
BRIDGE = "fedloom0"
HOST_IP = "10.200.255.254"
VETH = "fedloom-"
NODES_PREFIX = 16
API_PORT = 6443
REGISTRY = "127.0.0.1:5000"  # inside each cluster's network namespace


@dataclass(frozen=True)
class Addresses:
    index: int

    @property
    def node_ip(self) -> str:
        return f"10.200.{self.index}.1"

    @property
    def pods(self) -> str:
        return f"10.201.{self.index}.0/24"

    @property
    def services(self) -> str:
        return f"10.202.{self.index}.0/24"

    @property
    def api_service_ip(self) -> str:
        return f"10.202.{self.index}.1"

    @property
    def dns_ip(self) -> str:
        return f"10.202.{self.index}.10"

    @property
    def veth(self) -> str:
        return f"{VETH}{self.index}"


def free_index(taken: set[int]) -> int:
    return next(index for index in range(200) if index not in taken)
