"""Names that two processes, or a process and a user, must spell the same way.

Labels, annotations, environment names, ports, paths and field managers, a sentence each, and the naming
of child objects. Read by every package; nothing here depends on anything but the standard library.
"""

import hashlib

GROUP = "fedloom.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
JOB_KIND, JOB_PLURAL = "FederatedJob", "federatedjobs"
CLIENT_KIND, CLIENT_PLURAL = "FLClient", "flclients"
CATEGORY = "federated"

# Field managers of server-side apply: one writer per leaf.
OPERATOR_MANAGER = "fedloom-operator"  # children, conditions, phase, sites
AGGREGATOR_MANAGER = "fedloom-aggregator"  # outcome, round, metrics, clients, model
BACKUP_MANAGER = "fedloom-backup"  # backup

# Labels.
LABEL_JOB = f"{GROUP}/job"  # full name of the FederatedJob that an object belongs to
LABEL_JOB_UID = f"{GROUP}/job-uid"  # its uid: tells a recreated job from its predecessor
LABEL_CLIENT = f"{GROUP}/client"  # full name of the FLClient that an object belongs to
LABEL_ROLE = f"{GROUP}/role"  # aggregator, init, trainer, store, site, model-reader, backup, verify or restore
LABEL_STEP = f"{GROUP}/step"  # with training.lifetime Round: the step of the plan that a training Job was made for
LABEL_MONITORING = f"{GROUP}/monitoring"  # "true" on a namespace: its pods may read the aggregators' metrics
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"  # always "fedloom": what the operator watches
MANAGED_BY = "fedloom"
ROLE_AGGREGATOR, ROLE_INIT, ROLE_TRAINER, ROLE_STORE, ROLE_SITE = "aggregator", "init", "trainer", "store", "site"
ROLE_READER = "model-reader"
ROLE_BACKUP, ROLE_VERIFY, ROLE_RESTORE = "backup", "verify", "restore"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"  # Kueue's: a Job with it is started and stopped by that LocalQueue alone
LABEL_JOBSET = "jobset.sigs.k8s.io/jobset-name"  # JobSet's, on its pods: its own name
LABEL_JOBSET_INDEX = "jobset.sigs.k8s.io/job-index"  # JobSet's, on its pods: number of their Job, which is a slice
LABEL_REGION = "topology.kubernetes.io/region"  # Kubernetes', on nodes: the cloud's region
LABEL_HOSTNAME = "kubernetes.io/hostname"  # Kubernetes', on nodes
LABEL_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"  # Kubernetes', on an Indexed Job's pods

# Annotations.
ANNOTATION_CONTROLLER = "fedloom.dev/operator"  # spec.managedBy value of this operator
ANNOTATION_CERTIFICATE_ENDS = f"{GROUP}/certificate-ends"  # on an aggregator's Secret: when its certificate ends
ANNOTATION_MADE_FROM = f"{GROUP}/made-from"  # on the registry's Secret: the keys, and hosts of its certificate
ANNOTATION_REGISTERED = f"{GROUP}/registered"  # "true" on an FLClient that was made for a site which registered itself
ANNOTATION_SLICE_HOSTS = f"{GROUP}/slice-hosts"  # on a JobSet's pods: pods per slice, to number workers through
ANNOTATION_ACCOUNT = f"{GROUP}/account-uid"  # on an aggregator's pods: its ServiceAccount, where that was made anew
# Workload identity: what the clouds' own webhooks read.
ANNOTATION_AWS_ROLE = "eks.amazonaws.com/role-arn"  # on a ServiceAccount: IAM role (IRSA)
ANNOTATION_GCP_ACCOUNT = "iam.gke.io/gcp-service-account"  # on a ServiceAccount: Google service account
ANNOTATION_AZURE_CLIENT = "azure.workload.identity/client-id"  # on a ServiceAccount: client id
LABEL_AZURE_IDENTITY = "azure.workload.identity/use"  # "true" on pods that get one
ANNOTATION_AWS_SKIPPED = "eks.amazonaws.com/skip-containers"  # on a pod: containers that get none
ANNOTATION_AZURE_SKIPPED = "azure.workload.identity/skip-containers"
SITE_KEY_SECRET_PREFIX = "fedloom-site-key-"  # noqa: S105 - before the site's name: the Secret with its private key
STATE_KEY_SECRET_PREFIX = "fedloom-state-key-"  # noqa: S105 - the same for what a site encrypts its state by
QUEUE_SECRET_PREFIX = "fedloom-queue-"  # noqa: S105 - the same for queues, of the hub and of sites
STORE_SECRET_PREFIX = "fedloom-store-"  # noqa: S105 - begin of the names of Secrets that are mounted for stores

# Environment of the aggregator and the trainer (set by fedoperator.desired, read by their settings modules).
ENV_JOB = "FEDLOOM_JOB"  # name of the FederatedJob
ENV_NAMESPACE = "FEDLOOM_NAMESPACE"  # its namespace
ENV_JOB_UID = "FEDLOOM_JOB_UID"  # its uid
ENV_CLIENT = "FEDLOOM_CLIENT"  # name of the FLClient that a trainer works for
ENV_CONFIG_FILE = "FEDLOOM_CONFIG_FILE"  # aggregator: wire.job.JobConfig as JSON
ENV_STORE = "FEDLOOM_STORE"  # aggregator: where the store is, as fedstore.opening reads it
ENV_STORE_CREDENTIALS_DIR = (
    "FEDLOOM_STORE_CREDENTIALS_DIR"  # that store's Secret: a file per variable of its cloud's SDK
)
ENV_BACKUP_STORE = "FEDLOOM_BACKUP_STORE"  # backup: where its backups are, said as a store is
ENV_BACKUP_CREDENTIALS_DIR = "FEDLOOM_BACKUP_CREDENTIALS_DIR"  # that destination's Secret, as the store's
ENV_BACKUP_OBJECTS = "FEDLOOM_BACKUP_OBJECTS"  # backup: "kubernetes", or "file:FOLDER" of manifests
ENV_BACKUP_KEEP_LAST = "FEDLOOM_BACKUP_KEEP_LAST"  # backup: how many stay; all, where it is not set
ENV_BACKUP_COLD_AFTER_DAYS = "FEDLOOM_BACKUP_COLD_AFTER_DAYS"  # backup: when older models go to a cold class
ENV_BACKUP_NAME = "FEDLOOM_BACKUP_NAME"  # verify: which; the newest, where it is not set
ENV_BACKUP_METRIC = "FEDLOOM_BACKUP_METRIC"  # verify: which metric is compared
ENV_BACKUP_TOLERANCE = "FEDLOOM_BACKUP_TOLERANCE"  # verify: how far it may be from what was recorded
ENV_BACKUP_PUBLIC_KEY = "FEDLOOM_BACKUP_PUBLIC_KEY"  # restore: hex of the Ed25519 key that must have signed
ENV_RESTORE_FROM = "FEDLOOM_RESTORE_FROM"  # restore: NAMESPACE/JOB, NAMESPACE/JOB-UID, or a backup's key
ENV_RESTORE_ROUND = "FEDLOOM_RESTORE_ROUND"  # restore: up to which round; the last, where it is not set
ENV_ROUNDS = "FEDLOOM_ROUNDS"  # restore: spec.rounds of the new job
ENV_VERIFY_DIR = "FEDLOOM_VERIFY_DIR"  # verify: where its two containers meet
ENV_QUEUES = "FEDLOOM_QUEUES"  # aggregator, trainer: where the job's queues are, as fedqueue.opening reads it
ENV_QUEUES_CREDENTIALS_DIR = (
    "FEDLOOM_QUEUES_CREDENTIALS_DIR"  # their Secret: a user and password, or the SDK's variables
)
ENV_ARRIVALS_QUEUE = "FEDLOOM_ARRIVALS_QUEUE"  # aggregator: the queue into which the store's notifications come
ENV_CREDENTIALS_DIR = "FEDLOOM_CREDENTIALS_DIR"  # directory of the process's own Secret (file names below)
ENV_PORT = "FEDLOOM_PORT"  # aggregator: HTTPS port
ENV_MONITORING_PORT = "FEDLOOM_MONITORING_PORT"  # aggregator: HTTP port of probes and metrics
ENV_HOST = "FEDLOOM_HOST"  # aggregator: address to bind
ENV_PUBLIC_URL = "FEDLOOM_PUBLIC_URL"  # aggregator: base of the blob URLs that it signs
ENV_STATUS = "FEDLOOM_STATUS"  # aggregator: "kubernetes", or "file:PATH" where the embedded runner reads it
ENV_REGISTRY_URL = "FEDLOOM_REGISTRY_URL"  # trainer: https://… of the registry, where there is one
ENV_TEE = "FEDLOOM_TEE"  # aggregator: kind of its trusted execution environment; absent: it gives no evidence
ENV_TEE_AGENT = "FEDLOOM_TEE_AGENT"  # aggregator: where its guest's agent gives evidence
ENV_TEE_VERIFIER = (
    "FEDLOOM_TEE_VERIFIER"  # aggregator: wire.attestation.Verifier as JSON, by whom it has itself appraised
)
ENV_REQUIRES_CONFIDENTIAL = "FEDLOOM_REQUIRES_CONFIDENTIAL"  # trainer: wire.attestation.Demand as JSON
ENV_REQUIRES_PRIVACY = "FEDLOOM_REQUIRES_PRIVACY"  # trainer: wire.privacy.PrivacyDemand as JSON
ENV_AGGREGATOR_URL = "FEDLOOM_AGGREGATOR_URL"  # trainer: https://…
ENV_ENTRYPOINT = "FEDLOOM_ENTRYPOINT"  # trainer: package.module:factory
ENV_TASK_PATH = "FEDLOOM_TASK_PATH"  # trainer: folders, as in PYTHONPATH, where the task's module is looked for last
ENV_TASK_ARGS = "FEDLOOM_TASK_ARGS"  # trainer: JSON object of the factory's keyword arguments
ENV_SEED = "FEDLOOM_SEED"  # trainer: spec.seed, for the initial model
ENV_DATA_DIR = "FEDLOOM_DATA_DIR"  # trainer: one folder per entry of FLClient spec.data.volumes
ENV_SIGNING_KEY_DIR = "FEDLOOM_SIGNING_KEY_DIR"  # trainer: folder of the Secret by which the site signs what it sends
ENV_PEER_KEYS_DIR = "FEDLOOM_PEER_KEYS_DIR"  # trainer: folder of the ConfigMap with the other sites' public keys
ENV_STATE_KEY_DIR = "FEDLOOM_STATE_KEY_DIR"  # trainer: folder of the Secret by which the site encrypts what it entrusts
ENV_ENTRUST_EVERY_ROUNDS = "FEDLOOM_ENTRUST_EVERY_ROUNDS"  # trainer: so many rounds between two entrusted states
ENV_ENTRUST_KEEP_LAST = "FEDLOOM_ENTRUST_KEEP_LAST"  # trainer: entrusted states that the hub keeps
ENV_STATE_DIR = "FEDLOOM_STATE_DIR"  # trainer: checkpoints and the site's state, on the site's state volume
ENV_INIT_DIR = "FEDLOOM_INIT_DIR"  # trainer in init mode: where the initial model is written, and handed in from
ENV_IMPORT_URI = "FEDLOOM_IMPORT_URI"  # init step: where task.initialModel is fetched from
ENV_IMPORT_SHA256 = "FEDLOOM_IMPORT_SHA256"  # init step: the SHA-256 that its file must have
ENV_IMPORT_FILE = "FEDLOOM_IMPORT_FILE"  # init step: that file, fetched (a path) or in the task's image (file:PATH)
ENV_EXCHANGE = "FEDLOOM_EXCHANGE"  # init step: training.exchange, a JSON list; absent: none
ENV_LOCAL_PARAMETERS = "FEDLOOM_LOCAL_PARAMETERS"  # init step: training.localParameters, the same
ENV_WIDTHS = "FEDLOOM_WIDTHS"  # init step: all of clients.overrides[].modelWidth below 1, a JSON list; absent: none
ENV_LIFETIME = "FEDLOOM_LIFETIME"  # trainer: Job (lives as long as the FederatedJob) or Round (ends after one order)
ENV_TERMINATION_LOG = "FEDLOOM_TERMINATION_LOG"  # one line of why the process ended; the kubelet reads it

# A site's ring: the ranks of its training pods. Without these a trainer is a ring of one.
ENV_ACCELERATOR = "FEDLOOM_ACCELERATOR"  # CPU, GPU or TPU
ENV_COLLECTIVE = "FEDLOOM_COLLECTIVE"  # what joins the ranks: Horovod, TorchDistributed or XLA
ENV_BACKEND = "FEDLOOM_BACKEND"  # Auto, Gloo or NCCL
ENV_RING_WORKERS = "FEDLOOM_RING_WORKERS"  # pods of the ring
ENV_RING_MIN_WORKERS = "FEDLOOM_RING_MIN_WORKERS"  # with fewer pods the ring waits
ENV_RING_SLOTS = "FEDLOOM_RING_SLOTS"  # ranks per pod
ENV_RING_SLICE_HOSTS = "FEDLOOM_RING_SLICE_HOSTS"  # TPU: pods per slice, which XLA joins; absent: no slices
ENV_RING_LEADER = "FEDLOOM_RING_LEADER"  # host name of worker 0, whose launcher keeps the generations
ENV_RING_PORT = "FEDLOOM_RING_PORT"  # port of that service
ENV_RING_ADDRESS = "FEDLOOM_RING_ADDRESS"  # this pod's IP address
ENV_RING_SLICE = "FEDLOOM_RING_SLICE"  # JobSet: number of this pod's slice; its worker index counts on from there
ENV_COMPLETION_INDEX = "JOB_COMPLETION_INDEX"  # set by Kubernetes in the pods of an Indexed Job

# Names with our prefix that users may set themselves (spec.….podTemplate.env, FLClient spec.data.env).
TUNABLE = (
    "FEDLOOM_THREADS",  # trainer: threads of one torch operation
    "FEDLOOM_PATIENCE_S",  # trainer: seconds without the aggregator before it gives up
    "FEDLOOM_POLL_S",  # trainer: seconds that one question for work is held open
    "FEDLOOM_RING_WAIT_S",  # trainer: seconds that a ring waits for missing workers before it goes on with fewer
    "FEDLOOM_RING_TIMEOUT_S",  # trainer: seconds that a rank waits for its peers in one operation
    "FEDLOOM_LOG_LEVEL",  # both: least level that is logged
    "FEDLOOM_URL_LIFETIME_S",  # aggregator: seconds that a blob URL is good for
    "FEDLOOM_STORE_RETRY_S",  # aggregator: seconds of retries before the store is given up
    # aggregator: limits of its HTTPS port (fedaggregator.limits, docs/security.md)
    "FEDLOOM_HTTP_CONNECTIONS",
    "FEDLOOM_HTTP_UNAUTHENTICATED",
    "FEDLOOM_HTTP_CONNECTIONS_PER_SITE",
    "FEDLOOM_HTTP_TRANSFERS",
    "FEDLOOM_HTTP_DOWNLOADS_PER_SITE",
    "FEDLOOM_HTTP_TRANSFER_WAIT_S",
    "FEDLOOM_HTTP_REQUEST_LINE_BYTES",
    "FEDLOOM_HTTP_HEADER_BYTES",
    "FEDLOOM_HTTP_HEADERS",
    "FEDLOOM_HTTP_MESSAGE_BYTES",
    "FEDLOOM_HTTP_INLINE_BYTES",
    "FEDLOOM_HTTP_HANDSHAKE_S",
    "FEDLOOM_HTTP_HEADER_S",
    "FEDLOOM_HTTP_IDLE_S",
    "FEDLOOM_HTTP_STALL_S",
    "FEDLOOM_HTTP_LEAST_BYTES_PER_S",
    "FEDLOOM_HTTP_LINGER_S",
)

# What spec.aggregator.podTemplate.env may set. Anything else may make a program load code or trust other keys
# (LD_PRELOAD, PYTHONPATH, OPENSSL_CONF, GCONV_PATH, SSL_CERT_FILE, …): there is no list of all of those.
HUB_ENV = (*TUNABLE, "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

# The program of an aggregator's pod: isolated (-I: no PYTHON… variables, no working directory, no user's folder on the
# search path), so that nothing that task code wrote into the store volume is ever imported.
AGGREGATOR_COMMAND = ("/opt/fedloom/bin/python", "-I", "-m", "fedaggregator")

# The program of the init Job's second container, in the same image: hands in what the task's code made.
HANDIN_COMMAND = (*AGGREGATOR_COMMAND[:-1], "fedaggregator.handin")

# With task.initialModel, its first container: fetches the file, and is the one of them that has a store's credentials.
FETCH_COMMAND = (*AGGREGATOR_COMMAND[:-1], "fedaggregator.fetch")

# Backups are made, verified and restored by the same image; `create`, `verify` or `restore` follows.
BACKUP_COMMAND = (*AGGREGATOR_COMMAND[:-1], "fedbackup")

# Files inside a process's credentials directory (keys of its Secret).
FILE_CA = "ca.crt"  # PEM of the CA that signed the aggregator's certificate (both processes)
FILE_TLS_CERT, FILE_TLS_KEY = "tls.crt", "tls.key"  # a process's own certificate and key: of a server, or of a client
FILE_STORE_CA = "ca.crt"  # in a store's credentials: PEM of the CA that its endpoint's certificate is verified with
FILE_USERNAME, FILE_PASSWORD = "username", "password"
FILE_JOB_KEY = "job.key"  # aggregator: 32 bytes from which site tokens and blob URL signatures derive
FILE_REGISTRY_KEY = "registry.key"  # registry: 32 bytes from which the tokens of heartbeats derive
FILE_REGISTRY_TOKEN = "registry.token"  # noqa: S105 - a file name; a site's bearer token for the registry (hex)
FILE_SIGNING_KEY = "signing.key"  # a site's own private key (PEM), by which it signs updates and reports
FILE_STATE_KEY = "state.key"  # a site's own secret, by which it encrypts the state that it entrusts to the hub
FILE_TOKEN = "token"  # noqa: S105 - a file name; the bearer token of a site, or of the init step, for this job (hex)

# Paths inside containers. The embedded runner rewrites them to folders of its own.
PATH_CONFIG = "/etc/fedloom/config"
PATH_CREDENTIALS = "/etc/fedloom/credentials"
PATH_STORE = "/var/lib/fedloom/store"
PATH_STORE_CREDENTIALS = "/etc/fedloom/store-credentials"
PATH_QUEUES_CREDENTIALS = "/etc/fedloom/queues-credentials"
PATH_SIGNING_KEY = "/etc/fedloom/signing-key"
PATH_PEER_KEYS = "/etc/fedloom/peer-keys"
PATH_STATE_KEY = "/etc/fedloom/state-key"
PATH_BACKUP_CREDENTIALS = "/etc/fedloom/backup-credentials"
PATH_BACKUP = "/var/lib/fedloom/backup"  # the destination's volume, where it is one
PATH_VERIFY = "/var/lib/fedloom/verify"  # shared by the two containers of a verification
PATH_API = "/var/run/secrets/kubernetes.io/serviceaccount"
PATH_INIT = "/var/lib/fedloom/init"
PATH_IMPORT = "/var/lib/fedloom/import"
PATH_DATA = "/data"
PATH_STATE = "/var/lib/fedloom/state"
PATH_SHM = "/dev/shm"  # noqa: S108 - a volume of the pod's own, in memory
PATH_TMP = "/tmp"  # noqa: S108 - an emptyDir of the container, not a shared folder
PATH_TERMINATION_LOG = "/dev/termination-log"
CONFIG_FILE = "job.json"
RELEASE_FILE = "release.json"  # beside it, once decisions on the release are to be told: spec.release as JSON
INIT_MODEL_FILE = "model.safetensors"  # written last, by rename: its presence says that the model is made

IMPORT_FILE = "initial-model"  # as it was fetched; of whatever form

AGGREGATOR_PORT = 8443  # HTTPS: control, blobs
AGGREGATOR_MONITORING_PORT = 9090  # HTTP: /healthz, /readyz, /metrics
RING_PORT = 8470  # HTTP with a token: the generation service of a ring, on its worker 0
REGISTRY_PORT = 8443  # HTTPS: heartbeats
REGISTRY_MONITORING_PORT = 9090  # HTTP: /healthz, /readyz, /metrics
OPERATOR_PROBE_PORT = 8080  # HTTP: /healthz, /readyz
OPERATOR_METRICS_PORT = 9090  # HTTP: /metrics

SITE_LEASE_ACTIVE_S = 300  # a site whose Lease was renewed within this many seconds is active
SITE_LEASE_RENEW_S = 60  # the aggregator renews a site's Lease at most this often
JOB_LEASE_S = 30  # who writes a job's store alone, where the store has no conditional writes, renews this Lease
SITE_EXPIRES_S = 24 * 3600  # a site that was not heard from for so long has expired, in whichever registry

WARNING = "warning: "  # a message of a site that begins so is no reason to stop: people should look

BACKUP_ACCOUNT_SUFFIX = "-fedloom-backup"  # so that no account of somebody else's backups has such a name

MAX_JOB_NAME = 52  # a batch/v1 Job name that leaves room for the pod's suffix
MAX_CRON_JOB_NAME = 52  # leaves room for the minute that its controller adds
MAX_JOBSET_NAME = 44  # leaves room for -slice-<slice>-<host>-<5 letters> in 63


def digest8(*parts: str) -> str:
    """First 8 hex digits of the SHA-256 of the parts, which may hold any character."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _bounded(stem: str, suffix: str, limit: int) -> str:
    return f"{stem[: limit - len(suffix) - 1].rstrip('-.')}-{suffix}".replace(".", "-")


def aggregator_name(job: str) -> str:
    """Deployment, Service, ServiceAccount, Role, RoleBinding and ConfigMap of a job's aggregator (≤ 63)."""
    name = f"{job}-aggregator"
    return name if len(name) <= 63 and "." not in name else _bounded(job, f"{digest8(job)}-aggregator", 63)


def init_job_name(job: str, template_hash: str) -> str:
    """The init Job, which makes round 0's model."""
    return _bounded(f"{job}-init", template_hash, MAX_JOB_NAME)


def training_job_name(job: str, client: str, template_hash: str) -> str:
    """A site's training Job: readable stem, then 8 hex digits of job, client and template."""
    return _bounded(f"{job}-{client}", digest8(job, client, template_hash), MAX_JOB_NAME)


def jobset_name(job: str, client: str, template_hash: str) -> str:
    """A site's JobSet, which has a Job per TPU slice; as a training Job's name, but shorter."""
    return _bounded(f"{job}-{client}", digest8(job, client, template_hash), MAX_JOBSET_NAME)


def aggregator_secret_name(job: str, job_uid: str, keys: str = "") -> str:
    """The aggregator's Secret: the uid keeps a recreated job off its predecessor's, which nobody may read to compare.

    `keys`: id of the keys that it was made from. With other keys all of a job's Secrets are others.
    """
    return _bounded(f"{job}-aggregator", digest8(*filter(None, (job_uid, keys))), 63)


def site_secret_name(job: str, client: str, job_uid: str, keys: str = "") -> str:
    """The Secret with a site's token for a job and the CA certificate; with uid and keys, as the aggregator's."""
    return _bounded(f"{job}-{client}", f"{digest8(*filter(None, (client, job_uid, keys)))}-site", 63)


def init_secret_name(job: str, job_uid: str, keys: str = "") -> str:
    """The Secret with the init step's token and the CA certificate; with uid and keys, as the aggregator's."""
    return _bounded(f"{job}-init", digest8(*filter(None, ("init", job_uid, keys))), 63)


def ring_service_name(job: str, client: str) -> str:
    """The headless Service that gives the pods of a site's ring their names."""
    return _bounded(f"{job}-{client}", f"{digest8(job, client)}-ring", 63)


def store_claim_name(job: str, job_uid: str) -> str:
    """The store volume of one job: the uid keeps a recreated job off its predecessor's retained volume."""
    return _bounded(f"{job}-store", digest8(job_uid), 63)


def backup_claim_name(job: str, job_uid: str) -> str:
    """The volume of one job's backups. It reads as a store does: no site mounts it as its data."""
    return _bounded(_backup_claims(job), digest8(job, job_uid), 63)


def is_backup_claim_of(name: str, job: str) -> bool:
    """Whether a claim of a job, or of one before it under the same name, is a volume of backups."""
    return name.startswith(f"{_backup_claims(job)}-")


def _backup_claims(job: str) -> str:
    return f"{job[:40]}-backup-store"


def backup_name(job: str) -> str:
    """CronJob of backups."""
    return _short(job, "backup")


def backup_account_name(job: str) -> str:
    """ServiceAccount, Role and RoleBinding of all pods that read or write backups (≤ 63)."""
    name = f"{job}{BACKUP_ACCOUNT_SUFFIX}"
    return name if len(name) <= 63 else _bounded(job, f"{digest8(job)}{BACKUP_ACCOUNT_SUFFIX}", 63)


def verify_name(job: str) -> str:
    """CronJob that verifies the newest backup."""
    return _short(job, "verify")


def triggered_backup_name(job: str, round_: int, attempt: int = 0) -> str:
    """Job that makes a backup because of the rounds that were committed. `attempt`: how many failed before it."""
    parts = (str(round_), str(attempt)) if attempt else (str(round_),)
    return _bounded(f"{job}-backup", digest8(job, *parts), MAX_JOB_NAME)


def restore_job_name(job: str, template_hash: str) -> str:
    """Job that restores a backup into a new job's store."""
    return _bounded(f"{job}-restore", template_hash, MAX_JOB_NAME)


def _short(job: str, word: str) -> str:
    """Within what a CronJob's name may have."""
    name = f"{job}-{word}"
    return name if len(name) <= MAX_CRON_JOB_NAME else _bounded(job, f"{digest8(job)}-{word}", MAX_CRON_JOB_NAME)


# Every name that store_claim_name gives a job (of at most 52 characters), and as few others as can be: what long names
# leave of "store" is a part of it.
STORE_CLAIM_PATTERN = "(-store|^.{49,52}-s(t|to|tor)?)-[0-9a-f]{8}$"


def job_lease_name(job: str) -> str:
    """The Lease of who writes a job's store, where the store cannot tell two writers apart."""
    return f"fedloom-job-{job}" if len(job) <= 200 else _bounded(f"fedloom-job-{job}", digest8(job), 253)


def site_lease_name(client: str) -> str:
    """The Lease that is a site's heartbeat."""
    return f"fedloom-site-{client}" if len(client) <= 200 else _bounded(f"fedloom-site-{client}", digest8(client), 253)
