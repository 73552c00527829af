"""What a job's author must not reach, and numbers that are none: (kind, path, accepted, refused, words of the refusal).

Judged by a real API server in this folder, and by the embedded runner in tests/unit/fedlocal.
"""

from fedapi import names

JOB, SITE = names.JOB_KIND, names.CLIENT_KIND
HUB = "spec.aggregator.podTemplate"
PODS = "spec.training.podTemplate"
LOADER = ["the aggregator takes", "remove it", "spec.training.podTemplate.env"]
ORDER = ["has a key that a container runtime or an add-on", "use a key without"]
OWN_LABEL = ["has a key of Fedloom's or Kubernetes' own", "use another key"]
OURS = ["env[0].name", "belong to Fedloom, in lower case too", "choose another name"]
FINITE = ["must be a finite number of at most 15 digits", "such as 0.01 or 1e-4"]
YEAR = ["longer than zero and at most 8760h (a year)"]


def env(*names_):
    return [{"name": name, "value": "9"} for name in names_]


HOSTILE = [
    # Code in the aggregator: what makes it load other code, trust other keys, or read its settings otherwise.
    *[
        (JOB, f"{HUB}.env", env(*names.HUB_ENV), env(name), ["env[0].name", *LOADER])
        for name in (
            "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH",
            "OPENSSL_CONF", "SSL_CERT_FILE", "OPENBLAS_NUM_THREADS", "KUBERNETES_SERVICE_HOST", "PATH", "HOME", "anything",
            "FEDLOOM_STORE", "fedloom_store", "Fedloom_Log_Level", "pythonpath",
        )
    ],
    # Names of Fedloom's own, whatever their case.
    *[
        (JOB, f"{PODS}.env", env("HTTP_PROXY", "NOT_FEDLOOM_", "PYTHONPATH"), env(name), OURS)
        for name in ("FEDLOOM_TOKEN", "fedloom_token", "Fedloom_Seed", "fedloom_threads", "FEDLOOM_")
    ],
    *[(SITE, "spec.data.env", env("SPLIT"), env(name), OURS) for name in ("FEDLOOM_CLIENT", "fedloom_client")],
    (SITE, "spec.data.env", env("JOB_INDEX"), env("job_completion_index"), ["is set by Kubernetes", "choose another"]),
    (JOB, f"{PODS}.env", env("X"), env("JOB_COMPLETION_INDEX"), ["JOB_COMPLETION_INDEX is set by Kubernetes"]),
    # Orders to what runs pods.
    *[
        (JOB, f"{place}.annotations", {"team": "x", "prometheus.io/scrape": "true"}, {key: "unconfined"}, ORDER)
        for place in (PODS, HUB)
        for key in (
            "container.apparmor.security.beta.kubernetes.io/trainer",
            "container.apparmor.security.beta.kubernetes.io/aggregator",
            "seccomp.security.alpha.kubernetes.io/pod",
            "container.seccomp.security.alpha.kubernetes.io/trainer",
            "io.katacontainers.config.hypervisor.path",
            "io.kubernetes.cri-o.Devices",
            "cdi.k8s.io/gpu",
            "k8s.v1.cni.cncf.io/networks",
            "iam.amazonaws.com/role",
            "vault.hashicorp.com/agent-inject",
            "batch.kubernetes.io/job-completion-index",
            "fedloom.dev/slice-hosts",
            "prometheus.io/",
            "sidecar.istio.io/injected",
            "",
        )
    ],
    (
        JOB,
        f"{PODS}.annotations",
        dict.fromkeys(
            (
                "cost-center", "a", "sidecar.istio.io/inject", "linkerd.io/inject", "karpenter.sh/do-not-disrupt",
                "cluster-autoscaler.kubernetes.io/safe-to-evict", "kueue.x-k8s.io/podset-required-topology",
            ),
            "false",
        ),
        {"a.b": "c"},
        ORDER,
    ),
    # Labels by which others find pods.
    *[
        (JOB, f"{place}.labels", {"team": "a", "example.com/cost": "1", "app.kubernetes.io/name": "n"}, {key: "x"}, OWN_LABEL)
        for place in (PODS, HUB)
        for key in (
            "fedloom.dev/role", "fedloom.dev/client", "fedloom.dev/anything", "batch.kubernetes.io/job-name", "job-name",
            "controller-uid", "pod-template-hash", "kueue.x-k8s.io/queue-name", "jobset.sigs.k8s.io/jobset-name",
            "pod-security.kubernetes.io/enforce",
        )
    ],
    # Other sites' updates.
    (
        SITE,
        "spec.state",
        {"persistentVolumeClaim": {"claimName": "heart-store-data"}},
        {"persistentVolumeClaim": {"claimName": "heart-store-0a1b2c3d"}},
        ["claimName", "are stores of FederatedJobs", "name a claim of the site's own"],
    ),
    *[
        (
            SITE,
            "spec.state",
            {"persistentVolumeClaim": {"claimName": "data-s-0a1b2c3d"}},
            {"persistentVolumeClaim": {"claimName": names.store_claim_name("j" * length, "uid")}},
            ["claimName", "are stores of FederatedJobs"],
        )
        for length in (1, 48, 49, 50, 51, 52)
    ],
    (
        SITE,
        "spec.data.volumes",
        [{"name": "d", "persistentVolumeClaim": {"claimName": "store"}}],
        [{"name": "d", "persistentVolumeClaim": {"claimName": "heart-store-0a1b2c3d"}}],
        ["claimName", "are stores of FederatedJobs"],
    ),
    # The cluster's own priorities.
    *[
        (JOB, "spec.priorityClassName", "research-system", name, ["spec.priorityClassName", "use a class of your own"])
        for name in ("system-node-critical", "system-cluster-critical", "system-x")
    ],
    # Numbers that overflow.
    *[
        (JOB, "spec.training.optimizer", {"weightDecay": "123456789012345.5e99"}, {"weightDecay": text}, FINITE)
        for text in ("1e400", "1e100", "1e+400", "1E999", "9" * 16, "1e-400", "1e0000000001")
    ],
    (JOB, "spec.training.optimizer", {"learningRate": "1e-9"}, {"learningRate": "1e400"}, FINITE),
    (JOB, "spec.training.optimizer", {"momentum": "0"}, {"momentum": "1e400"}, FINITE),
    (JOB, "spec.training.optimizer", {"momentum": "0"}, {"momentum": "-0.1"}, ["momentum must not be below 0"]),
    (JOB, "spec.training.optimizer", {"weightDecay": "0"}, {"weightDecay": "-1"}, ["weightDecay must not be below 0"]),
    (JOB, "spec.stop", {"metric": "m", "target": "-0.5"}, {"metric": "m", "target": "-1e400"}, FINITE),
    *[
        (JOB, "spec.stop", {"metric": "m", "target": "1e3"}, {"metric": "m", "target": text}, ["spec.stop.target"])
        for text in ("NaN", "nan", "inf", "-Infinity", ".5", "1_0", "0x10", " 1")
    ],
    (
        JOB,
        "spec.clients",
        {"policy": "Random", "fraction": "1e-99"},
        {"policy": "Random", "fraction": "1e-400"},
        FINITE,
    ),
    *[
        (JOB, path, "8760h", text, YEAR)
        for path in (
            "spec.round.deadline", "spec.round.graceAfterQuorum", "spec.training.checkpointEvery", "spec.pendingDeadline",
        )
        for text in ("8761h", "99999999h", "9999999999999999999999999h", "8760h1ms")
    ],
    (JOB, "spec.round.quorum", 100000, 100001, ["count of at most 100000: lower it"]),
    (JOB, "spec.round.quorum", 100000, 2**62, ["count of at most 100000: lower it"]),
    (JOB, "spec.task.args", {"n": -(2**63)}, {"n": 2**63}, ["spec.task.args.n"]),
    (JOB, "spec.storage.volume.size", "1Ki", "0", ["size must be over 0"]),
    (JOB, "spec.storage.volume.size", "10Gi", "0.00Gi", ["size must be over 0"]),
    (JOB, "spec.training.sharedMemory", "512Mi", "much", ["spec.training.sharedMemory"]),
]  # fmt: skip
