"""One wrong byte in a backup: refused before a job could go on from it, and named."""

import json

import pytest

from fedapi.wire.strategy import StrategySettings
from fedbackup.errors import BadRequestError, NotRestorableError, Reason
from fedbackup.manifest import FORMAT, Signer
from fedstore.memory import MemoryStore
from tests.unit.fedbackup.jobs import JOB_KEY, NEW, SIGNER, archive, hub, maker, restore, train


@pytest.fixture
def backup():
    job = hub(strategy=StrategySettings(name="FedAvgM", parameters={"learning_rate": 0.5, "momentum": 0.9}))
    train(job, 3)
    to = archive()
    made = maker(job, to).made()
    return to, made


def objects(made):
    return {entry.path: entry for entry in made.manifest.entries}


@pytest.mark.parametrize(
    "kind", ["models/000002-", "control/rounds/000001", "control/HEAD.json", "hubstate", "models/000003"]
)
@pytest.mark.parametrize("how", ["one bit", "cut", "gone"])
def test_content(backup, kind, how):
    to, made = backup
    entry = next(e for path, e in objects(made).items() if path.startswith(kind))
    key = to.object_key(entry.sha256)
    data = to.store._objects[key]
    if how == "gone":
        to.store.delete(key)
    else:
        to.store._objects[key] = data[:-1] if how == "cut" else data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    target = MemoryStore()
    with pytest.raises(NotRestorableError, match=entry.sha256) as error:
        restore(to, target=target)
    assert error.value.reason == Reason.BACKUP_DAMAGED
    assert entry.path in str(error.value)
    assert error.value.damaged == (entry.sha256,)
    assert target.head(f"control/ns/job-{NEW}/HEAD.json") is None, "no job goes on from half of it"


def test_every_byte_of_the_manifest(backup):
    to, made = backup
    data = to.store._objects[made.found.key]
    for at in range(0, len(data), max(1, len(data) // 200)):
        to.store._objects[made.found.key] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(NotRestorableError) as error:
            restore(to)
        assert error.value.reason in (Reason.WRONG_SIGNATURE, Reason.BACKUP_DAMAGED)
        assert made.found.key in str(error.value)


def test_a_signature_of_somebody_else(backup):
    to, made = backup
    forged = Signer(bytes(32)).signed(made.manifest)  # says our key, is signed with another
    to.store._objects[made.found.key] = forged
    with pytest.raises(NotRestorableError) as error:
        restore(to)
    assert error.value.reason == Reason.WRONG_SIGNATURE
    theirs = Signer(bytes(32))
    body = made.manifest.model_copy(update={"public_key": theirs.public_key})
    to.store._objects[made.found.key] = theirs.signed(body)
    restore(to)  # nobody has pinned a key
    pinned = archive(to.store, pinned=SIGNER.public_key)
    with pytest.raises(NotRestorableError, match="somebody else made it") as error:
        restore(pinned)
    assert error.value.reason == Reason.WRONG_SIGNATURE


def test_a_newer_format_says_so(backup):
    to, made = backup
    newer = made.manifest.model_copy(update={"format": FORMAT + 1})
    to.store._objects[made.found.key] = Signer(JOB_KEY).signed(newer)
    with pytest.raises(NotRestorableError, match="newer one") as error:
        restore(to)
    assert error.value.reason == Reason.VERSION_TOO_OLD


def test_what_a_newer_version_says_beside_is_under_the_signature(backup):
    to, made = backup

    class Newer(type(made.manifest)):
        more: str = "more"

    body = Newer.model_validate(made.manifest.model_dump())
    data = SIGNER.signed(body)
    to.store._objects[made.found.key] = data
    restore(to)
    table = json.loads(data)
    table["body"]["more"] = "less"
    to.store._objects[made.found.key] = json.dumps(table).encode()
    with pytest.raises(NotRestorableError) as error:
        restore(to)
    assert error.value.reason == Reason.WRONG_SIGNATURE


def test_a_store_that_holds_something(backup):
    to, _ = backup
    target = MemoryStore()
    target.put_once(f"models/ns/job-{NEW}/000000-{'a' * 64}.safetensors", b"x")
    with pytest.raises(BadRequestError, match="not empty") as error:
        restore(to, target=target)
    assert error.value.reason == Reason.TARGET_NOT_EMPTY
    other, _ = restore(to)
    with pytest.raises(BadRequestError, match="not empty"):
        restore(to, target=other, round=1)
