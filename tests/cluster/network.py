"""A cluster's network namespace and its way to the host.

Inside: a bridge `node0` with the node address. Outside: the shared bridge `fedloom0`, joined by one
veth pair per cluster, so that the host reaches API server, Services, pods and NodePorts, and the
clusters reach each other's NodePorts. Called by `lifecycle`; processes are not started here.
"""

from pathlib import Path

from tests.cluster import state
from tests.cluster.addresses import BRIDGE, HOST_IP, NODES_PREFIX, Addresses
from tests.cluster.shell import attempt, lines, run


def netns(name: str) -> str:
    return f"fedloom-{name}"


def create(name: str, addresses: Addresses) -> None:
    space = netns(name)
    run("ip", "netns", "add", space)
    inside = ("ip", "-n", space)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "add", "node0", "type", "bridge")
    run(*inside, "addr", "add", f"{addresses.node_ip}/{NODES_PREFIX}", "dev", "node0")
    with state.locked("bridge"):  # its last cluster, of those in this cache, takes it along
        _host_bridge()
        run("ip", "link", "add", addresses.veth, "type", "veth", "peer", "name", "uplink", "netns", space)
        run("ip", "link", "set", addresses.veth, "master", BRIDGE, "up")
    run(*inside, "link", "set", "uplink", "master", "node0", "up")
    run(*inside, "link", "set", "node0", "up")
    # kube-proxy and pods complain without a default route
    run(*inside, "route", "add", "default", "via", HOST_IP)
    for reach in (addresses.pods, addresses.services):
        run("ip", "route", "replace", reach, "via", addresses.node_ip, "dev", BRIDGE)
    enter = ("nsenter", f"--net=/run/netns/{space}")
    run(*enter, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    # what leaves for the host or another cluster carries the node address: nobody there routes to pods of others
    run(*enter, "iptables", "-t", "nat", "-A", "POSTROUTING",
        "-s", addresses.pods, "-o", "node0", "-j", "MASQUERADE")  # fmt: skip


def _host_bridge() -> None:
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "replace", f"{HOST_IP}/{NODES_PREFIX}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def remove(name: str, addresses: Addresses) -> None:
    """Leaves nothing; every step may find its object gone. The routes go with their device or here."""
    for reach in (addresses.pods, addresses.services):
        if lines(["ip", "route", "show", reach]):
            attempt("ip", "route", "del", reach)
    if Path(f"/sys/class/net/{addresses.veth}").exists():
        attempt("ip", "link", "del", addresses.veth)
    if Path(f"/run/netns/{netns(name)}").exists():
        attempt("ip", "netns", "del", netns(name))
    with state.locked("bridge"):
        if not lines(["ip", "-o", "link", "show", "master", BRIDGE]):
            attempt("ip", "link", "del", BRIDGE)
