"""`fedloom backup`: a stranger's laptop makes, lists, proves and restores backups with stores and a key alone."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from fedapi import names
from fedapi.wire.layout import Layout
from fedcli.commands import app
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError
from fedstore import history
from fedstore.disk import DiskStore
from tests.unit.fedbackup.jobs import FEDERATED_JOB, JOB_KEY, NEW, OLD, SIGNER, finish, hub, train


class Place:
    """A job in a folder, and a folder for its backups."""

    def __init__(self, root):
        self.root = root
        self.store, self.backups = str(root / "store"), str(root / "backups")
        (root / "job.key").write_bytes(JOB_KEY)
        (root / "manifests").mkdir()
        (root / "manifests" / "job.json").write_text(json.dumps(FEDERATED_JOB))
        self.job = hub(store=DiskStore(root / "store"))
        train(self.job, 3)

    def run(self, *words: str) -> str:
        done = CliRunner().invoke(app, ["backup", *words], catch_exceptions=True, env={"COLUMNS": "300"})
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def create(self) -> dict:
        given = ("--store", self.store, "--job", f"ns/job-{OLD}", "--key", str(self.root / "job.key"))
        said = self.run("create", self.backups, *given, "--manifests", str(self.root / "manifests"), "--json")
        return json.loads(said)

    def rows(self, *words: str) -> list[dict]:
        return json.loads(self.run("list", self.backups, "--json", *words))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_made_listed_proved_and_restored(place):
    with pytest.raises(BadInputError, match="there is no folder"):
        place.rows()
    assert not (place.root / "backups").exists()
    made = place.create()
    assert made["publicKey"] == SIGNER.public_key
    (row,) = place.rows()
    assert (row["round"], row["bytes"], row["proved"], row["key"]) == (3, made["bytes"], "no", made["key"])
    said = place.run("verify", place.backups, "--key", str(place.root / "job.key"))
    assert "Verified" in said
    assert "by digests alone" in said
    assert place.rows("--job", "ns/job", "--public-key", SIGNER.public_key)[0]["proved"].startswith("20")
    table = place.run("list", place.backups)
    assert f"ns/job-{OLD}" in table
    new = str(place.root / "new")
    said = place.run("restore", place.backups, "--to", new, "--as", f"ns/job-{NEW}", "--job", made["key"])
    assert "round 3" in said
    layout = Layout("ns", "job", NEW)
    assert [each.record.round for each in history.committed(DiskStore(place.root / "new"), layout)] == [0, 1, 2, 3]
    assert finish(hub(NEW, DiskStore(place.root / "new"))) == finish(hub())
    said = place.run("restore", place.backups, "--to", new, "--as", f"ns/job-{NEW}")
    assert "restored before" in said


def test_manifests_for_another_cluster_go_on_from_the_backup(place):
    bucket = {"s3": {"bucket": "copies", "region": "x", "credentialsSecretRef": {"name": "fedloom-store-copies"}}}
    spec = {"task": {"entrypoint": "a:b", "initialModel": {"uri": "s3://x"}}, "backup": {"destination": bucket}}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "contact": "us"}
    metadata = {"namespace": "ns", "uid": OLD, "managedFields": [], "annotations": annotations, "labels": {"a": "b"}}
    head = {"apiVersion": FEDERATED_JOB["apiVersion"], "status": {"phase": "Running"}}
    events = {"events": {"credentialsSecretRef": {"name": "fedloom-queue-a"}}}
    site = head | {"kind": "FLClient", "metadata": metadata | {"name": "a"}, "spec": events}
    gone = {"rollbackTo": {"round": 1}, "restoreFrom": {"backup": "older"}}
    job = head | {"kind": "FederatedJob", "metadata": metadata | {"name": "job"}, "spec": spec | gone}
    for body in (site, job):
        (place.root / "manifests" / f"{body['kind']}.json").write_text(json.dumps(body))
    (place.root / "manifests" / "job.json").unlink()
    made = place.create()
    printed = place.run("manifests", place.backups, "--public-key", SIGNER.public_key)
    assert "&id" not in printed, "what is edited in one place is no alias of another"
    client, again = yaml.safe_load_all(printed)
    kept = {"labels": {"a": "b"}, "annotations": {"contact": "us"}}
    assert client == {**_head(site), "metadata": {"name": "a", **kept}, "spec": events}
    restore = {"source": bucket, "backup": made["key"], "publicKey": SIGNER.public_key}
    task = {"entrypoint": "a:b"}
    assert again == {
        **_head(job),
        "metadata": {"name": "job", **kept},
        "spec": spec | {"task": task, "restoreFrom": restore},
    }
    with pytest.raises(CommandError, match="WrongSignature"):
        place.run("manifests", place.backups, "--public-key", "0" * 64)


def test_manifests_of_a_job_whose_backups_were_on_a_volume_name_its_claim(place):
    nested = place.root / "manifests" / ".fedloom"
    nested.mkdir()
    (nested / "job.json").write_text("a file of a run, no manifest: {")
    place.create()
    (again,) = yaml.safe_load_all(place.run("manifests", place.backups))
    claim = {"claimName": names.backup_claim_name("job", OLD)}
    assert again["spec"]["restoreFrom"]["source"] == {"persistentVolumeClaim": claim}


def _head(body: dict) -> dict:
    return {name: body[name] for name in ("apiVersion", "kind")}


def test_a_damaged_backup_is_told(place):
    place.create()
    (model,) = (place.root / "backups").rglob(place.job.state.tip.model.sha256)
    model.write_bytes(model.read_bytes()[:-1] + b"\1")
    with pytest.raises(CommandError, match=f"BackupDamaged: .*{model.name}"):
        place.run("verify", place.backups, "--key", str(place.root / "job.key"))
    assert place.rows()[0]["proved"] == "failed: BackupDamaged"
    (manifest,) = (place.root / "backups" / "backups" / "manifests").rglob("*.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"round":3', b'"round":4'))
    assert place.rows()[0]["proved"] == "unreadable: WrongSignature"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list", "ftp://nowhere"), "names no store"),
        (("verify", "{backups}", "--job", "ns/other"), f"ns/job-{OLD}"),
        (("verify", "{backups}", "--backup", "000009-nothing"), "there is no backup"),
        (("restore", "{backups}", "--to", "{new}", "--as", "ns/job"), "NAMESPACE/JOB-UID"),
        (("restore", "{backups}", "--to", "{store}", "--as", f"ns/job-{OLD}"), "not empty"),
        (("restore", "{backups}", "--to", "{new}", "--as", f"ns/job-{NEW}", "--round", "7"), "0, 1, 2, 3"),
        (("create", "{backups}", "--store", "{store}", "--job", f"ns/job-{OLD}", "--key", "{new}"), "--key"),
        (
            (
                "create",
                "{backups}",
                "--store",
                "{store}",
                "--job",
                f"ns/job-{OLD}",
                "--key",
                "{other}",
                "--keep-last",
                "1",
            ),
            "--key: .*of this very job's Secret",
        ),
    ],
)
def test_bad_input_changes_nothing_and_names_the_way_out(place, words, told):
    place.create()
    other = place.root / "other.key"
    other.write_bytes(bytes(32))
    given = {"backups": place.backups, "store": place.store, "new": str(place.root / "new"), "other": str(other)}
    with pytest.raises(BadInputError, match=told):
        place.run(*(word.format(**given) for word in words))
    assert len(place.rows()) == 1


def test_an_empty_store_is_no_backup(place):
    given = ("--job", f"ns/job-{NEW}", "--key", str(place.root / "job.key"))
    with pytest.raises(CommandError, match="NothingCommitted"):
        place.run("create", place.backups, "--store", place.store, *given)
    assert place.rows() == []
