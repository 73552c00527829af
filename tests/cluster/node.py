"""The one node of a full cluster: kubelet, kube-proxy and DNS, and their configuration files.

Called by `lifecycle`; the runtime below the kubelet is `containerd`. Paths that a kubelet would take
from the machine (pod logs, cgroups) are given per cluster, so that clusters do not see each other.
"""

import json

from tests.cluster import cgroups, pki, processes
from tests.cluster.addresses import Addresses
from tests.cluster.client import Client
from tests.cluster.paths import Dirs
from tests.cluster.tools import binary

_COREFILE = """\
.:53 {{
  bind {ip}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {pki}/coredns.kubeconfig
    pods insecure
  }}
  # a name that is not there yet is asked again soon
  cache 5 {{
    denial 1000 1
  }}
}}
"""


def start_kubelet(dirs: Dirs, addresses: Addresses, netns: str, server: str) -> None:
    names = f"DNS:{dirs.name},IP:{addresses.node_ip}"
    pki.certificate(dirs.pki, "kubelet", f"system:node:{dirs.name}", "system:nodes", names)
    pki.kubeconfig(dirs.pki, "kubelet", server, dirs.pki / "kubelet.kubeconfig", context=dirs.name)
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{dirs.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.create(netns),
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{dirs.containerd_sock}",
        "clusterDNS": [addresses.dns_ip],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "tlsCertFile": f"{dirs.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{dirs.pki}/kubelet.key",
        "podLogsDir": f"{dirs.run}/pod-logs",
        "volumePluginDir": f"{dirs.run}/volume-plugins",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }
    file = dirs.etc / "kubelet.json"
    file.write_text(json.dumps(config))
    command: processes.Command = [
        binary("kubelet"),
        f"--config={file}",
        f"--kubeconfig={dirs.pki}/kubelet.kubeconfig",
        f"--hostname-override={dirs.name}",
        f"--node-ip={addresses.node_ip}",
        f"--root-dir={dirs.run}/kubelet",
        f"--cert-dir={dirs.pki}",
    ]
    processes.start("kubelet", command, pids=dirs.pids, log=dirs.log, netns=netns)


def start_network(dirs: Dirs, addresses: Addresses, netns: str) -> None:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{dirs.pki}/kube-proxy.kubeconfig"},
        "clusterCIDR": addresses.pods,
        # the kernel may refuse these three sysctls
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": dirs.name,
    }
    file = dirs.etc / "kube-proxy.json"
    file.write_text(json.dumps(config))
    proxy: processes.Command = [binary("kube-proxy"), f"--config={file}"]
    processes.start("kube-proxy", proxy, pids=dirs.pids, log=dirs.log, netns=netns)
    corefile = dirs.etc / "Corefile"
    corefile.write_text(_COREFILE.format(ip=addresses.node_ip, pki=dirs.pki))
    dns: processes.Command = [binary("coredns"), "-conf", corefile]
    processes.start("coredns", dns, pids=dirs.pids, log=dirs.log, netns=netns)


def wait_ready(dirs: Dirs, client: Client) -> None:
    def ready() -> bool:
        if not client.answers(f"/api/v1/nodes/{dirs.name}"):
            return False
        conditions = client.get(f"/api/v1/nodes/{dirs.name}")["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    processes.wait_until("the node", ready, timeout_s=300, log=dirs.log / "kubelet.log")
