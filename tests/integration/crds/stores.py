"""Stores, backups and restores that a job may and may not ask for: (path, accepted, refused, words of the refusal)."""

STORAGE, BACKUP, RESTORE = "spec.storage", "spec.backup", "spec.restoreFrom"
S3 = {"bucket": "models", "region": "eu-central-1"}
GCS = {"bucket": "models"}
AZURE = {"account": "hospital", "container": "models"}
HERE, ONLY_HERE = {"region": "eu-central-1"}, {"residency": ["eu-central-1"]}
DAILY = {"schedule": "0 3 * * *"}
ROLE = "arn:aws:iam::123456789012:role/fedloom"
OTHER_ROLE = "arn:aws:iam::123456789012:role/other"
CLIENT_ID = "00000000-0000-0000-0000-000000000001"
OTHER_ID = "00000000-0000-0000-0000-000000000002"
GSA = "fedloom@project.iam.gserviceaccount.com"
SANDBOX = {"volumes": [{"name": "rows", "configMap": {"name": "sandbox"}}]}
SOURCE = {"source": {"s3": {"bucket": "copies"}}, "backup": "default/heart"}
WHOLE = {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3}
INITIAL = {"uri": "https://example.com/model.safetensors", "sha256": "0" * 64}
ONE = ["volume, s3, gcs and azure exclude each other", "keep one"]
CRON = ["must be minute, hour, day of the month, month and day of the week in UTC"]


def job(base, storage, destination):
    """The whole spec, for rules between the two."""
    return {
        "task": {"entrypoint": "a.b:c", "image": "i"},
        "rounds": 3,
        "storage": storage,
        "backup": base | {"destination": destination},
    }


def pair(good, bad):
    """(storage, destination) twice, as specs."""
    return ["spec", job(DAILY, *good), job(DAILY, *bad)]


STORES = [
    # One place.
    (STORAGE, {"s3": S3}, {"s3": S3, "volume": {}}, ONE),
    (STORAGE, {"gcs": GCS}, {"gcs": GCS, "azure": AZURE}, ONE),
    (STORAGE, {"azure": AZURE}, {"azure": {"account": "hospital"}}, ["spec.storage.azure.container", "Required value"]),
    (f"{STORAGE}.s3", S3 | {"prefix": "a/b-1"}, S3 | {"prefix": "/a"}, ["spec.storage.s3.prefix"]),
    (f"{STORAGE}.s3", S3, S3 | {"bucket": "Models"}, ["spec.storage.s3.bucket", "Models"]),
    (f"{STORAGE}.s3", S3 | {"endpoint": "https://minio.svc:9000"}, S3 | {"endpoint": "minio"}, ["storage.s3.endpoint"]),
    (f"{STORAGE}.s3", S3 | {"roleARN": ROLE}, S3 | {"roleARN": "admin"}, ["spec.storage.s3.roleARN", "admin"]),
    (f"{STORAGE}.s3", S3 | {"kmsKeyID": "alias/models"}, S3 | {"kmsKeyID": ""}, ["spec.storage.s3.kmsKeyID"]),
    (
        f"{STORAGE}.s3",
        S3 | {"conditionalWrites": "LeaseFenced"},
        S3 | {"conditionalWrites": "Never"},
        ["spec.storage.s3.conditionalWrites", "Never"],
    ),
    (
        f"{STORAGE}.s3",
        S3 | {"credentialsSecretRef": {"name": "fedloom-store-aws"}},
        S3 | {"credentialsSecretRef": {}},
        ["credentialsSecretRef.name"],
    ),
    *[
        (
            f"{STORAGE}.{cloud}",
            place | {"credentialsSecretRef": {"name": "fedloom-store-a"}},
            place | {"credentialsSecretRef": {"name": "db-password"}},
            ["credentialsSecretRef.name", "must begin with fedloom-store-", "no other Secret mounted"],
        )
        for cloud, place in (("s3", S3), ("gcs", GCS), ("azure", AZURE))
    ],
    (f"{STORAGE}.gcs", GCS | {"serviceAccount": GSA}, GCS | {"serviceAccount": "me@example.com"}, ["serviceAccount"]),
    (
        f"{STORAGE}.gcs",
        GCS | {"kmsKeyName": "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k"},
        GCS | {"kmsKeyName": "k"},
        ["spec.storage.gcs.kmsKeyName"],
    ),
    (f"{STORAGE}.azure", AZURE | {"clientID": CLIENT_ID}, AZURE | {"clientID": "me"}, ["spec.storage.azure.clientID"]),
    (f"{STORAGE}.azure", AZURE | {"encryptionScope": "own"}, AZURE | {"encryptionScope": "!"}, ["encryptionScope"]),
    (f"{STORAGE}.clientEncryption", {"enabled": False}, {"kem": "RSA"}, ["clientEncryption.kem", "RSA"]),
    # Regions.
    *[
        (
            "spec",
            job(DAILY, {cloud: place | HERE} | ONLY_HERE, {"s3": {"bucket": "copies"} | HERE}),
            job(DAILY, {cloud: place | region} | ONLY_HERE, {"s3": {"bucket": "copies"} | HERE}),
            [
                f"spec.storage.{cloud}",
                f"storage.{cloud}.region is not one of storage.residency",
                "name a bucket in one",
            ],
        )
        for cloud, place, region in (
            ("s3", S3, {"region": "eu-west-1"}),
            ("gcs", GCS, {}),
            ("azure", AZURE, {"region": "westeurope"}),
        )
    ],
    *[
        (
            "spec",
            job(DAILY, {"s3": S3 | HERE} | ONLY_HERE, {cloud: place | HERE}),
            job(DAILY, {"s3": S3 | HERE} | ONLY_HERE, {cloud: place}),
            [f"spec.backup.destination.{cloud}", f"backup.destination.{cloud}.region is not one of storage.residency"],
        )
        for cloud, place in (("s3", {"bucket": "copies"}), ("gcs", GCS), ("azure", AZURE))
    ],
    (f"{STORAGE}.residency", ["eu-central-1"], [], ["spec.storage.residency"]),
    # A backup is somewhere else.
    (
        *pair(({"s3": S3}, {"s3": S3 | {"bucket": "copies"}}), ({"s3": S3}, {"s3": S3 | {"prefix": "copies"}})),
        ["backup.destination.s3 is where storage.s3 is, and would be lost with it", "name another bucket"],
    ),
    (
        *pair(({"gcs": GCS}, {"gcs": {"bucket": "copies"}}), ({"gcs": GCS}, {"gcs": GCS})),
        ["backup.destination.gcs is where storage.gcs is", "name another bucket"],
    ),
    (
        *pair(({"azure": AZURE}, {"azure": AZURE | {"account": "other"}}), ({"azure": AZURE}, {"azure": AZURE})),
        ["backup.destination.azure is where storage.azure is", "name another container"],
    ),
    # A pod has one identity of a cloud.
    (
        *pair(
            ({"s3": S3 | {"roleARN": ROLE}}, {"s3": {"bucket": "copies", "roleARN": ROLE}}),
            ({"s3": S3 | {"roleARN": ROLE}}, {"s3": {"bucket": "copies", "roleARN": OTHER_ROLE}}),
        ),
        ["roleARN of backup.destination.s3 is not that of storage.s3", "give both the same"],
    ),
    (
        *pair(
            ({"gcs": GCS | {"serviceAccount": GSA}}, {"gcs": {"bucket": "copies"}}),
            ({"gcs": GCS | {"serviceAccount": GSA}}, {"gcs": {"bucket": "copies", "serviceAccount": f"x{GSA}"}}),
        ),
        ["serviceAccount of backup.destination.gcs is not that of storage.gcs"],
    ),
    (
        *pair(
            ({"azure": AZURE | {"clientID": CLIENT_ID}}, {"azure": AZURE | {"container": "copies"}}),
            (
                {"azure": AZURE | {"clientID": CLIENT_ID}},
                {"azure": AZURE | {"container": "copies", "clientID": OTHER_ID}},
            ),
        ),
        ["clientID of backup.destination.azure is not that of storage.azure"],
    ),
    *[
        (
            "spec",
            WHOLE
            | {
                "storage": {cloud: here | {field: one}},
                "restoreFrom": SOURCE | {"source": {cloud: there | {field: one}}},
            },
            WHOLE
            | {
                "storage": {cloud: here | {field: one}},
                "restoreFrom": SOURCE | {"source": {cloud: there | {field: two}}},
            },
            [
                f"spec.restoreFrom.source.{cloud}.{field}",
                f"{field} of restoreFrom.source.{cloud} is not that of storage.{cloud}",
            ],
        )
        for cloud, field, here, there, one, two in (
            ("s3", "roleARN", S3, {"bucket": "copies"}, ROLE, OTHER_ROLE),
            ("gcs", "serviceAccount", GCS, {"bucket": "copies"}, GSA, f"x{GSA}"),
            ("azure", "clientID", AZURE, AZURE | {"container": "copies"}, CLIENT_ID, OTHER_ID),
        )
    ],
    # When.
    (BACKUP, {"everyRounds": 5}, {}, ["spec.backup", "backup needs schedule or everyRounds", "set at least one"]),
    *[
        (BACKUP, {"schedule": good}, {"schedule": bad}, ["spec.backup.schedule", *CRON])
        for good, bad in (
            ("*/5 * * * *", "* * * *"),
            ("0 3 1-15 JAN,JUN MON-FRI", "60 * * * *"),
            ("@daily", "@every 5m"),
            ("0,30 8-18/2 * * 0", "0 24 * * *"),
            ("0 0 31 12 *", "TZ=UTC 0 0 * * *"),
        )
    ],
    (BACKUP, DAILY | {"keepLast": 1}, DAILY | {"keepLast": 0}, ["spec.backup.keepLast"]),
    (
        BACKUP,
        DAILY | {"coldAfterDays": 90, "destination": {"s3": {"bucket": "copies"}}},
        DAILY | {"coldAfterDays": 90},
        ["spec.backup.coldAfterDays", "coldAfterDays needs a bucket", "no cold class"],
    ),
    (
        BACKUP,
        DAILY | {"verify": {"schedule": "@weekly"}},
        DAILY | {"verify": {"schedule": "weekly"}},
        ["spec.backup.verify.schedule", *CRON],
    ),
    (
        BACKUP,
        DAILY | {"verify": {"schedule": "@daily", "data": SANDBOX, "metric": "accuracy"}},
        DAILY | {"verify": {"schedule": "@daily", "metric": "accuracy"}},
        ["spec.backup.verify.metric", "metric needs data"],
    ),
    (
        BACKUP,
        DAILY | {"verify": {"schedule": "@daily", "tolerance": "0"}},
        DAILY | {"verify": {"schedule": "@daily", "tolerance": "-0.1"}},
        ["spec.backup.verify.tolerance", "tolerance must not be below 0"],
    ),
    # From where.
    (
        RESTORE,
        SOURCE | {"source": {"persistentVolumeClaim": {"claimName": "lost-backup-store-01234567"}}},
        SOURCE | {"source": {}},
        ["spec.restoreFrom.source", "source needs persistentVolumeClaim, s3, gcs or azure, one of them"],
    ),
    (
        "spec",
        WHOLE | {"restoreFrom": SOURCE},
        WHOLE | {"restoreFrom": SOURCE, "task": WHOLE["task"] | {"initialModel": INITIAL}},
        ["spec.restoreFrom", "restoreFrom and task.initialModel exclude each other", "keep one"],
    ),
    (
        "spec",
        WHOLE | {"restoreFrom": SOURCE},
        WHOLE | {"restoreFrom": SOURCE, "rounds": 0},
        ["spec.rounds", "rounds 0 evaluates task.initialModel, which restoreFrom excludes"],
    ),
    (RESTORE, SOURCE | {"publicKey": "0" * 64}, SOURCE | {"publicKey": "0"}, ["spec.restoreFrom.publicKey"]),
    (RESTORE, SOURCE | {"round": 0}, SOURCE | {"backup": "../heart"}, ["spec.restoreFrom.backup"]),
]

# What a job that exists has, and what of it cannot change: (path, value, begin of the refusal).
BUCKETS = {"s3": S3, "gcs": GCS, "azure": AZURE}
FIXED = [
    ("spec.storage.s3.bucket", "others", "the place of storage.s3 cannot change"),
    ("spec.storage.s3.prefix", "new", "the place of storage.s3 cannot change"),
    ("spec.storage.s3.region", None, "the place of storage.s3 cannot change"),
    ("spec.storage.s3.endpoint", "https://minio", "the place of storage.s3 cannot change"),
    ("spec.storage.s3.conditionalWrites", "LeaseFenced", "conditionalWrites cannot change"),
    ("spec.storage.gcs.bucket", "others", "the place of storage.gcs cannot change"),
    ("spec.storage.gcs.endpoint", "https://minio", "the place of storage.gcs cannot change"),
    ("spec.storage.azure.account", "others", "the place of storage.azure cannot change"),
    ("spec.storage.azure.container", "others", "the place of storage.azure cannot change"),
    ("spec.storage", {}, "the kind of storage cannot change"),
    ("spec.storage", {"s3": {"bucket": "kept"}}, "the kind of storage cannot change"),
    ("spec.restoreFrom", None, "restoreFrom cannot change"),
    ("spec.restoreFrom.round", 3, "restoreFrom cannot change"),
]
MAY_CHANGE = [
    ("spec.storage.s3.kmsKeyID", "alias/new"),
    ("spec.storage.s3.credentialsSecretRef", {"name": "fedloom-store-rotated"}),
    ("spec.storage.s3.roleARN", ROLE),
    ("spec.storage.gcs.serviceAccount", GSA),
    ("spec.storage.azure.clientID", CLIENT_ID),
    ("spec.storage.history.keep", 3),
    ("spec.backup", DAILY),
]
