"""Whatever makes values of bytes has a fuzzer in tests/property, or says here why nobody outside writes what it reads."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"loads", "model_validate_json", "b64decode", "urlsafe_b64decode", "JSONDecoder", "fromstring"}
BEGINNINGS = ("load_pem_", "load_der_", "safe_load")
FUZZED = {
    "fedaggregator.queued.arrivals": "fedaggregator/test_notifications_fuzz.py",
    "fedapi.wire.compactjws": "fedapi/wire/test_messages_fuzz.py",
    "fedapi.wire.enrollment": "fedapi/wire/test_enrollment_fuzz.py",
    "fedapi.wire.message": "fedapi/wire/test_records_fuzz.py",
    "fedapi.wire.signing": "fedcli/test_files_fuzz.py",
    "fedbackup.manifest": "fedbackup/test_manifest_fuzz.py",
    "fedcli.ledger": "fedcli/test_files_fuzz.py",
    "fedcli.ledgerapprovals": "fedcli/test_files_fuzz.py",
    "fedcli.releasegate": "fedcli/test_files_fuzz.py",
    "fedcore.ledger.entries": "fedcore/test_formats_fuzz.py",
    "fedcore.ledger.note": "fedcore/test_formats_fuzz.py",
    "fedcore.tensors.tensorfile": "fedcore/test_formats_fuzz.py",
    "fedlocal.goyaml": "fedlocal/test_manifests_fuzz.py",
    "fedoperator.decide.view": "fedoperator/test_last_words_fuzz.py",
}
_MESSAGE = "bytes become a message that tests/property has: "
_OURS = "this process, its parent or its child has written it"
_SERVER = "the API server, or the store's own server, has answered it, over TLS"
_MOUNTED = "the operator, or who installed it, has mounted it"
_CHECKED = "a pattern, a digest or a signature was checked before: "
NOT_FROM_OUTSIDE = {
    "fedaggregator.adapters.kubernetes": _SERVER,
    "fedaggregator.adapters.statusfile": _OURS,
    "fedaggregator.engine.configfile": _MOUNTED,
    "fedaggregator.engine.telling": _MOUNTED,
    "fedaggregator.handin": _MESSAGE + "Refusal and UploadGrant, which the job's hub says",
    "fedaggregator.queued.sites": _MESSAGE + "QueuedRequest, once its seal is opened",
    "fedaggregator.requests.attestation": _MOUNTED,
    "fedapi.wire.release": _CHECKED + "the API server's, of spec.release",
    "fedapi.wire.signature": _CHECKED + "PublicKey",
    "fedapi.wire.statement": _CHECKED + "Record.stored has read the same bytes",
    "fedbackup.adapters.files": _OURS,
    "fedbackup.adapters.kubernetes": _SERVER,
    "fedbackup.apiobjects": _CHECKED + "the signed manifest has their digests",
    "fedbackup.archive": "what is no such record is left out, as ValueError",
    "fedbackup.objects": "the user's own files, of which a backup is made",
    "fedcli.cluster": _SERVER,
    "fedcli.enrolled": _SERVER,
    "fedcli.keys": _SERVER,
    "fedcli.registry": _SERVER,
    "fedcli.volumerecords": "a pod of the user's own prints it; what is in it are records",
    "fedlocal.configmaps": "the user's own manifests; what is no base64 is a finding",
    "fedlocal.fork_client": _OURS,
    "fedlocal.fork_server": _OURS,
    "fedlocal.records": _OURS,
    "fedlocal.shared_trainer": _OURS,
    "fedlocal.statefolder": _OURS,
    "fedlocal.trainer_pool": _OURS,
    "fedoperator.certificates": _MOUNTED,
    "fedoperator.cluster.connection": _SERVER,
    "fedoperator.cluster.secret_store": _SERVER,
    "fedoperator.desired.difference": _OURS,
    "fedoperator.key_material": _MOUNTED,
    "fedregistry.identity": _MOUNTED,
    "fedstore.care.s3": _SERVER,
    "fedstore.gcs": _MOUNTED,
    "fedstore.s3": _SERVER,
    "fedtrainer.agent.attesting": "the TLS library has read the certificate before",
    "fedtrainer.agent.checkpoint_store": _OURS,
    "fedtrainer.agent.entrusting": _OURS,
    "fedtrainer.agent.peers": _MOUNTED,
    "fedtrainer.agent.securing": _OURS,
    "fedtrainer.heartbeat_settings": _MOUNTED,
    "fedtrainer.launch.client": _MESSAGE + "News",
    "fedtrainer.launch.service": _MESSAGE + "JoinRequest, WatchRequest, Report",
    "fedtrainer.settings": _MOUNTED,
    "fedtrainer.training.dpsgd.private": _OURS,
    "fedtrainer.training.hub_state": _OURS,
    "fedtrainer.training.means": _OURS,
    "fedtrainer.training.progress": _OURS,
    "fedtrainer.training.releases": _OURS,
    "fedtrainer.training.site_state": _OURS,
    "fedtrainer.training.tensors": _OURS,
}


def makes_values(tree: ast.Module) -> bool:
    called = (ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(name in NAMES or name.startswith(BEGINNINGS) for name in called)


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def parsers() -> set[str]:
    roots = [ROOT / "operator", ROOT / "trainer"]
    files = ((file.relative_to(root), file) for root in roots for file in root.rglob("*.py"))
    return {".".join(name.with_suffix("").parts) for name, file in files if makes_values(ast.parse(file.read_text()))}


def test_every_parser_is_fuzzed_or_reads_nothing_from_outside():
    assert parsers() == FUZZED.keys() | NOT_FROM_OUTSIDE.keys()
    assert not FUZZED.keys() & NOT_FROM_OUTSIDE.keys()


def test_each_fuzzer_is_there_and_reads_by_that_module():
    missing = {
        module: test for module, test in FUZZED.items() if module not in imported(ROOT / "tests/property" / test)
    }
    assert missing == {}


def test_what_reads_is_found():
    assert makes_values(ast.parse("import json\ndef f(data):\n    return json.loads(data)"))
    assert makes_values(ast.parse("x509.load_pem_x509_certificate(data)"))
    assert not makes_values(ast.parse("json.dumps({})"))
