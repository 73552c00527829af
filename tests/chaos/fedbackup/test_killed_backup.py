"""kill -9 of backups on a real disk, two of them at once, a disk that fills up: what is listed restores, and the next one goes on."""

from pathlib import Path

import pytest

from fedapi import names
from fedapi.outcome import Exit
from tests.integration.fedaggregator.harness import JobFolder, config
from tests.integration.fedbackup.backups import CLIENTS, NEW, Backups, finished, trained
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).parents[1] / "fedaggregator" / "die_at.py")
LINK = "fedstore.disk:DiskStore.name"
CREATE = [
    ("before the first object", LINK, "before", "2", ""),
    ("in mid-object", "fedstore.disk:DiskWriter.write", "before", "2", ""),
    ("before the manifest has its name", LINK, "before", "1", "manifests/"),
    ("after the manifest has its name", LINK, "after", "1", "manifests/"),
]
RESTORE = [
    ("after it was begun", LINK, "after", "1", "restored.json"),
    ("in the middle", LINK, "after", "3", ""),
    ("before HEAD", "fedstore.disk:DiskStore.replace_head", "before", "1", ""),
    ("after HEAD", "fedstore.disk:DiskStore.replace_head", "after", "1", ""),
]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two of three rounds."""
    return trained(tmp_path_factory.mktemp("job"), of=3)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finished(JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS, rounds=3)))


def restored(backups: Backups, folder: Path, *wrapper: str) -> tuple[JobFolder, int]:
    new = JobFolder(folder, config(CLIENTS, rounds=3, uid=NEW), model=None)
    return new, backups.run("restore", new, *wrapper, **{names.ENV_RESTORE_FROM: "lab/job"})[0]


@pytest.mark.parametrize("point", [point[1:] for point in CREATE], ids=[point[0] for point in CREATE])
def test_a_backup_killed_at(tmp_path, job, point):
    backups = Backups(tmp_path)
    code, _ = backups.run("create", job, DIE_AT, *point)
    assert code == 137
    for name in backups.of(job).names():
        assert backups.run("verify", job, **{names.ENV_BACKUP_NAME: name})[0] == Exit.OK, "what is listed is whole"
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.run("verify", job)[0] == Exit.OK


@pytest.mark.parametrize("point", [point[1:] for point in RESTORE], ids=[point[0] for point in RESTORE])
def test_a_restore_killed_at(tmp_path, job, undisturbed, point):
    backups = Backups(tmp_path)
    assert backups.run("create", job)[0] == Exit.OK
    _, code = restored(backups, tmp_path / "new", DIE_AT, *point)
    assert code == 137
    new, code = restored(backups, tmp_path / "new")
    assert code == Exit.OK
    assert finished(new) == undisturbed


def test_two_at_once_are_both_good(tmp_path, job):
    backups = Backups(tmp_path)
    both = [backups.start("create", job, **{names.ENV_BACKUP_KEEP_LAST: "2"}) for _ in range(2)]
    codes = [process.wait(PATIENCE_S) for process in both]
    assert codes == [Exit.OK, Exit.OK], [process.log.read_text() for process in both]
    made = backups.of(job).names()
    assert len(made) == 2
    for name in made:
        assert backups.run("verify", job, **{names.ENV_BACKUP_NAME: name})[0] == Exit.OK


def test_a_full_destination_is_told_and_nothing_false_is_left(tmp_path, job):
    """A limit on the size of files, so that the operating system itself refuses the model."""
    backups = Backups(tmp_path)
    limited = tmp_path / "limited.py"
    limited.write_text(
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "from fedbackup.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    code, log = backups.run("create", job, str(limited))
    assert code == Exit.STORE_FAILED, log
    assert "the backups' store is full" in log
    assert backups.of(job).names() == []
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.run("verify", job)[0] == Exit.OK
