"""The kinds of objects that the operator watches and writes: their paths in the API, and what is special about each. Pure.

The one table of kinds: handlers/ (what to watch), cluster/ (where to write, in which order), ownership.py, takeback.py
and jobs.py beside it read it. Which objects of a kind a job has is the table of decide/children.py.
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
    optional: bool = False  # another project's: dealt with where the cluster has it when the operator starts
    workload: bool = False  # makes pods, which mount Secrets: written after them
    job: bool = False  # a Job or made of Jobs: its template is immutable, and `suspend` is flipped (jobs.py)
    named_by_uid: bool = False  # its names hold the job's uid: one restored by hand is the job's
    wholly_ours: tuple[str, ...] = ()  # parts in which nobody else's fields stay (takeback.py); elsewhere they do

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
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
JOBSET = Kind("JobSet", "jobset.x-k8s.io", "v1alpha2", "jobsets", optional=True, workload=True, job=True)
SECRET = Kind("Secret", "", "v1", "secrets")  # written, never watched and never listed
CERTIFICATE = Kind("Certificate", "cert-manager.io", "v1", "certificates")  # cert-manager's: written, never watched
EVENT = Kind("Event", "events.k8s.io", "v1", "events")  # written; read where a Job lacks pods

_RBAC = "rbac.authorization.k8s.io"
_ACCOUNT = ("imagePullSecrets", "automountServiceAccountToken")
TABLE = (
    JOB,
    CLIENT,
    Kind("Deployment", "apps", "v1", "deployments", workload=True, wholly_ours=("spec",)),
    Kind("Job", "batch", "v1", "jobs", workload=True, job=True),
    Kind("CronJob", "batch", "v1", "cronjobs", workload=True, wholly_ours=("spec",)),
    Kind("Pod", "", "v1", "pods"),
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims", named_by_uid=True),
    Kind("Service", "", "v1", "services", wholly_ours=("spec",)),
    Kind("ConfigMap", "", "v1", "configmaps", wholly_ours=("data", "binaryData", "immutable")),
    Kind("ServiceAccount", "", "v1", "serviceaccounts", wholly_ours=_ACCOUNT),
    Kind("Role", _RBAC, "v1", "roles", wholly_ours=("rules",)),
    Kind("RoleBinding", _RBAC, "v1", "rolebindings", wholly_ours=("subjects",)),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", wholly_ours=("spec",)),
    LEASE,
    JOBSET,
)
BY_KIND = {kind.kind: kind for kind in (*TABLE, SECRET)}
WATCHED = tuple(kind for kind in TABLE if not kind.optional)
OPTIONAL = tuple(kind for kind in TABLE if kind.optional)
JOB_KINDS = tuple(kind.kind for kind in TABLE if kind.job)
LABEL_SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"  # of every watch but those of our own kinds
