"""The kinds of objects that the operator watches and writes, and their paths in the API. Pure.

Read by handlers/ (what to watch) and by the modules beside it (where to write).
"""

from dataclasses import dataclass

from fedapi import names


@dataclass(frozen=True)
class Kind:
    """A kind of namespaced object."""

    kind: str
    group: str  # "" is the core group
    version: str
    plural: str
    ours: bool = False  # a custom resource of this project: watched without a label selector

    @property
    def api_version(self) -> str:
        """As in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Path of the collection, an object, or a subresource of it."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return "/".join(filter(None, (root, self.version, "namespaces", namespace, self.plural, name, subresource)))


JOB = Kind(names.JOB_KIND, names.GROUP, names.VERSION, names.JOB_PLURAL, ours=True)
CLIENT = Kind(names.CLIENT_KIND, names.GROUP, names.VERSION, names.CLIENT_PLURAL, ours=True)
SECRET = Kind("Secret", "", "v1", "secrets")  # written, never watched and never listed
EVENT = Kind("Event", "events.k8s.io", "v1", "events")  # written; read where a Job lacks pods
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")

WATCHED = (
    JOB,
    CLIENT,
    Kind("Deployment", "apps", "v1", "deployments"),
    Kind("Job", "batch", "v1", "jobs"),
    Kind("Pod", "", "v1", "pods"),
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    Kind("Service", "", "v1", "services"),
    Kind("ConfigMap", "", "v1", "configmaps"),
    Kind("ServiceAccount", "", "v1", "serviceaccounts"),
    Kind("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    LEASE,
)
JOBSET = Kind("JobSet", "jobset.x-k8s.io", "v1alpha2", "jobsets")
OPTIONAL = (JOBSET,)  # other projects' resources: dealt with where the cluster has them when the operator starts
BY_KIND = {kind.kind: kind for kind in (*WATCHED, *OPTIONAL, SECRET)}
LABEL_SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"  # of every watch but those of our own kinds
