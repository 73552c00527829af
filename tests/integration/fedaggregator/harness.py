"""A job's folder, the real aggregator process and scripted sites that speak real HTTPS to it. Used by tests and benches."""

import contextlib
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

import httpx
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import load, save

from fedaggregator import handin
from fedaggregator.errors import FatalError
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.ciphertext import Place
from fedapi.wire.commit import CommitRecord
from fedapi.wire.download import Download
from fedapi.wire.encryption import Recipient
from fedapi.wire.job import JobConfig
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.orders import TrainOrder
from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.roster import RosterEntry
from fedapi.wire.seeds import derived
from fedapi.wire.site import Assignment, EvaluationReport, FailureReport, NextRequest, UploadGrant, UploadRequest
from fedapi.wire.store import Head
from fedapi.wire.tokens import init_token, site_token
from fedapi.wire.update import HandedUpdate, Payload, UpdateManifest
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store
from tests.ports import free_port
from tests.preloaded import Program
from tests.waiting import PATIENCE_S, until

UID = "0b5c1f9e-0000-4000-8000-000000000001"
JOB_KEY = bytes(range(32))
Tensors = dict[str, np.ndarray]
OPEN: list[httpx.Client] = []
ORDER_WITHIN_S = 60.0  # an order ends the wait as soon as it is there


def certificates(folder: Path) -> None:
    """A CA, and a certificate for localhost, as the aggregator's Secret holds them."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
    now = datetime.now(UTC)

    def signed(subject, public_key, *extensions):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    folder.mkdir(parents=True, exist_ok=True)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    (folder / names.FILE_CA).write_bytes(
        signed(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=None), ski, usage)
    )
    (folder / names.FILE_TLS_CERT).write_bytes(signed(x509.Name([]), key.public_key(), hosts, aki))
    (folder / names.FILE_TLS_KEY).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / names.FILE_JOB_KEY).write_bytes(JOB_KEY)


def small_model() -> Tensors:
    return {"layer.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "layer.bias": np.zeros(3, np.float32)}


def config(clients=("a", "b"), **values) -> JobConfig:
    roster = tuple(RosterEntry(name=client) for client in clients)
    defaults = {
        "rounds": 3,
        "seed": 7,
        "deadline_s": 600.0,
        "min_available": len(clients),
        "uid": UID,
        "roster": roster,
    }
    return JobConfig(namespace="lab", name="job", store_uri="volume://claim", **defaults | values)


@dataclass
class JobFolder:
    """Everything that the operator or the embedded runner would prepare for one job."""

    root: Path
    config: JobConfig
    model: Tensors | None = field(default_factory=small_model)
    port: int = field(default_factory=free_port)
    monitoring_port: int = field(default_factory=free_port)
    extra_env: dict[str, str] = field(default_factory=dict)
    place: str = ""  # of its store, where that is no folder below `root`
    store_credentials: Path | None = None

    def __post_init__(self):
        if not (self.root / "credentials").exists():
            certificates(self.root / "credentials")
        self.write_config(self.config)
        self.init_dir.mkdir(parents=True, exist_ok=True)
        if self.model is not None:
            self.write_initial(save(self.model))

    @property
    def init_dir(self) -> Path:
        return self.root / "init"

    @property
    def layout(self) -> Layout:
        return Layout(self.config.namespace, self.config.name, self.config.uid)

    def write_config(self, config: JobConfig) -> None:
        self.config = config
        beside = self.root / "job.json.new"
        beside.write_text(config.model_dump_json())
        beside.replace(self.root / "job.json")

    def write_initial(self, data: bytes) -> None:
        beside = self.init_dir / "new"
        beside.write_bytes(data)
        beside.replace(self.init_dir / names.INIT_MODEL_FILE)

    def hand_in(self, patience_s: float = PATIENCE_S, url: str = "") -> None:
        """What the init Job's second container does with what the first one made; `url`: of what is in front of the hub."""
        values = {"job_uid": self.config.uid, "aggregator_url": url or self.url, "patience_s": patience_s}
        handin.run(handin.Settings(credentials_dir=self.init_credentials(), init_dir=self.init_dir, **values))

    def init_credentials(self) -> Path:
        """Writes the folder of the init step's Secret."""
        folder = self.root / "init-credentials"
        folder.mkdir(exist_ok=True)
        ca = (self.root / "credentials" / names.FILE_CA).read_bytes()
        for name, content in {names.FILE_TOKEN: init_token(JOB_KEY).encode(), names.FILE_CA: ca}.items():
            beside = folder / f".{name}-{threading.get_ident()}"
            beside.write_bytes(content)
            beside.replace(folder / name)  # the thread of an aggregator that was killed may be reading it
        return folder

    def hand_in_beside(self, aggregator: Program | subprocess.Popen) -> None:
        """The same in a thread, unless it is done, as long as the aggregator lives. What goes wrong shows in what it lacks."""
        if not self.initialized() and (self.init_dir / names.INIT_MODEL_FILE).exists():
            threading.Thread(target=self._hand_in_to, args=(aggregator,), daemon=True).start()

    def _hand_in_to(self, aggregator: Program | subprocess.Popen) -> None:
        """A try at a time: what has ended is asked no more, least of all in the next test."""
        while aggregator.poll() is None:
            with contextlib.suppress(OSError):
                try:
                    self.hand_in(patience_s=0.01)
                except FatalError as error:
                    if error.code == Exit.AGGREGATOR_LOST:
                        time.sleep(0.1)
                        continue
            break

    def initialized(self) -> bool:
        """Whether a model was committed."""
        if not self.place and not (self.root / "store" / self.layout.head).is_file():  # a pipe would be waited for
            return False
        try:
            return self.head().round >= 0
        except (OSError, ValueError, StoreError):
            return False

    def env(self) -> dict[str, str]:
        root = Path(__file__).parents[3]
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root / "operator"),
            names.ENV_JOB: self.config.name,
            names.ENV_NAMESPACE: self.config.namespace,
            names.ENV_JOB_UID: self.config.uid,
            names.ENV_CONFIG_FILE: str(self.root / "job.json"),
            names.ENV_STORE: self.place or str(self.root / "store"),
            **({names.ENV_STORE_CREDENTIALS_DIR: str(self.store_credentials)} if self.store_credentials else {}),
            names.ENV_CREDENTIALS_DIR: str(self.root / "credentials"),
            names.ENV_HOST: "127.0.0.1",
            names.ENV_PORT: str(self.port),
            names.ENV_MONITORING_PORT: str(self.monitoring_port),
            names.ENV_PUBLIC_URL: self.url,
            names.ENV_STATUS: f"file:{self.root / 'status.json'}",
            names.ENV_TERMINATION_LOG: str(self.root / "termination.log"),
            **self.extra_env,
        }

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def status(self) -> dict:
        try:
            return json.loads((self.root / "status.json").read_text())
        except FileNotFoundError:
            return {}

    @cached_property
    def store(self) -> ObjectStore:
        return open_store(self.place or self.root / "store", self.store_credentials)

    def head(self) -> Head:
        return Head.model_validate_json(self.store.get(self.layout.head))

    def commits(self) -> list[CommitRecord]:
        """Commits that HEAD reaches, oldest first."""
        keys = (key for key in self.store.keys(f"{self.layout.rounds()}/") if key.endswith("/commit.json"))
        by_digest = {hashlib.sha256(data).hexdigest(): data for data in map(self.store.get, keys)}
        chain, digest = [], self.head().commit_sha256
        while digest:
            chain.append(CommitRecord.model_validate_json(by_digest[digest]))
            digest = chain[-1].previous_sha256
        return chain[::-1]

    def final_model(self) -> Tensors:
        commit = self.commits()[-1]
        return load(self.store.get(commit.model.key))


class Aggregator:
    """The real process. As a context manager it is ended, and a traceback in its log fails the test."""

    def __init__(self, job: JobFolder, *wrapper: str, forked: bool = True) -> None:
        """`wrapper`: a file that runs it, and what that is told. One that is not to be `forked`, because it is measured, has
        imports of its own.
        """
        self.job = job
        self.log_path = job.root / f"aggregator-{time.monotonic_ns()}.log"
        self.log_path.touch()
        self.process: Program | subprocess.Popen
        if forked:
            self.process = Program(*(wrapper or ("fedaggregator",)), env=job.env(), cwd=job.root, log=self.log_path)
        else:
            command = [sys.executable, "-m", "fedaggregator"]
            with self.log_path.open("wb") as log:
                self.process = subprocess.Popen(command, env=job.env(), stdout=log, stderr=log, cwd=job.root)
        job.hand_in_beside(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            finally:
                self.process.kill()
        assert "Traceback" not in self.log(), self.log()

    def log(self) -> str:
        return self.log_path.read_text()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    def ready(self, timeout_s: float = PATIENCE_S) -> "Aggregator":
        """Until sites may come, and there is a model if one was made."""
        made = (self.job.init_dir / names.INIT_MODEL_FILE).exists()

        def ready() -> bool:
            return self._probe("/readyz") == 200 and (not made or self.job.initialized())

        until(lambda: ready() or self.process.poll() is not None, timeout_s, self.log)
        assert self.process.poll() is None, self.log()
        return self

    def _probe(self, path: str) -> int | None:
        try:
            return monitored(self.job, path).status_code
        except httpx.TransportError:
            return None


SPEAKS = {"protocol": PROTOCOL, "oldest_protocol": OLDEST_AT_SITE, "features": FEATURES}


def monitored(job: JobFolder, path: str) -> httpx.Response:
    """What a probe or a scrape is answered. Over HTTP, so no authority is loaded, which would take far longer than the answer."""
    url = f"http://127.0.0.1:{job.monitoring_port}{path}"
    return httpx.get(url, trust_env=False, verify=False, timeout=PATIENCE_S)


def https(job: JobFolder, client: str | None = None, token: str | None = None, url: str = "") -> httpx.Client:
    """An HTTPS client that trusts the job's CA and nobody else; of the aggregator, or of what is in front of it."""
    context = ssl.create_default_context(cafile=str(job.root / "credentials" / names.FILE_CA))
    token = token or (site_token(JOB_KEY, client) if client else None)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    made = httpx.Client(base_url=url or job.url, verify=context, headers=headers, timeout=PATIENCE_S)
    OPEN.append(made)
    return made


def close_clients() -> None:
    """Closes what `https` made; a fixture calls it after each test."""
    while OPEN:
        OPEN.pop().close()


def scripted_update(model: Tensors, client: str, order: TrainOrder) -> Tensors:
    """A deterministic update: what training would give."""
    generator = np.random.default_rng(derived(order.seed, "test", client, order.round))
    return {
        name: generator.normal(size=value.shape).astype(value.dtype)
        if value.dtype.kind == "f"
        else generator.integers(0, 9, value.shape).astype(value.dtype)
        for name, value in sorted(model.items())  # load() gives them in any order
    }


class Site:
    """A scripted site: the protocol and nothing else. `delays` are seconds of training by round."""

    def __init__(self, job: JobFolder, client: str, *, samples: int = 10, train=scripted_update, url: str = "") -> None:
        self.job, self.client, self.samples, self.train_function = job, client, samples, train
        self.http = https(job, client, url=url)
        self.trained: list[tuple[int, int]] = []
        self.error: BaseException | None = None
        self.elsewhere: httpx.Client | None = None

    def post(self, what: str, message) -> httpx.Response:
        return self.http.post(f"/v1/sites/{self.client}/{what}", content=message.model_dump_json())

    def next(self, wait_s: float = ORDER_WITHIN_S, doing=None) -> Assignment:
        response = self.post("next", NextRequest(wait_s=wait_s, doing=doing, **SPEAKS))
        response.raise_for_status()
        return Assignment.told(response.content)

    def download(self, blob: Download) -> bytes:
        if blob.content is not None and hashlib.sha256(blob.content).hexdigest() == blob.sha256:
            return blob.content
        response = self.at(blob).get(blob.url)
        response.raise_for_status()
        if hashlib.sha256(response.content).hexdigest() != blob.sha256:
            raise httpx.ReadError("other bytes than the order says")
        return response.content

    def at(self, told: Download | UploadGrant) -> httpx.Client:
        """Who speaks to the server of a URL: to the hub with the site's token, to a store without it, by the CA that is told."""
        if told.url.startswith((self.job.url, str(self.http.base_url))):
            return self.http
        if self.elsewhere is None:
            self.elsewhere = httpx.Client(verify=ssl.create_default_context(cadata=told.ca), timeout=PATIENCE_S)
            OPEN.append(self.elsewhere)
        return self.elsewhere

    def grant(self, order: TrainOrder, data: bytes, size: int | None = None) -> UploadGrant:
        sha256 = hashlib.sha256(data).hexdigest()
        request = UploadRequest(round=order.round, attempt=order.attempt, sha256=sha256, size=size or len(data))
        response = self.post("uploads", request)
        response.raise_for_status()
        return UploadGrant.told(response.content)

    def manifest(self, order: TrainOrder, sent: UploadGrant | ObjectRef, **values) -> HandedUpdate:
        """What hands in an object that was put, or comes in `content`."""
        defaults = {
            "job_uid": self.job.config.uid,
            "round": order.round,
            "attempt": order.attempt,
            "client": self.client,
            "base_sha256": order.base_sha256,
            "payloads": {"update": self.payload(order, sent)},
            "samples": self.samples,
            "metrics": {"loss": 0.5},
            "training_s": 0.0,
            "nonce": f"{self.client}-{order.round}-{order.attempt}-{'0' * 16}",
        }
        content = {"content": values.pop("content")} if "content" in values else {}
        return HandedUpdate(body=UpdateManifest(**defaults | values), **content)

    def payload(self, order: TrainOrder, sent: UploadGrant | ObjectRef) -> Payload:
        ref = sent.object if isinstance(sent, UploadGrant) else sent
        return Payload(object=ref, encryption=order.encryption.kem if order.encryption else None)

    def encrypted(self, order: TrainOrder, data: bytes, payload: str = "update") -> bytes:
        """As the order asks for it."""
        if order.encryption is None:
            return data
        place = Place(
            job_uid=self.job.config.uid, round=order.round, attempt=order.attempt, client=self.client,
            base_sha256=order.base_sha256, payload=payload,
        )  # fmt: skip
        to = Recipient(order.encryption.kem, order.encryption.public_key)
        return b"".join(bytes(part) for part in to.encryption(place, os.urandom(32)).encrypted([data]))

    def evaluate(self, round_: int, model: Download) -> None:
        report = EvaluationReport(
            job_uid=self.job.config.uid,
            round=round_,
            client=self.client,
            model_sha256=model.sha256,
            samples=self.samples,
            metrics={"accuracy": min(0.99, 0.5 + round_ / 10), "loss": 1.0 / (1 + round_)},
        )
        response = self.post("evaluations", report)
        if response.status_code != 409:  # a site that was paused meanwhile goes on, as the trainer does
            response.raise_for_status()

    def fail(self, order: TrainOrder, reason: str = "TaskFailed", message: str = "it broke") -> None:
        report = FailureReport(
            job_uid=self.job.config.uid, round=order.round, attempt=order.attempt, client=self.client,
            reason=reason, message=message,
        )  # fmt: skip
        self.post("failures", report).raise_for_status()

    def upload(self, order: TrainOrder, data: bytes, **beside: bytes) -> httpx.Response:
        """With the manifest, or by grant and PUT before it where that is too large; the answer to the manifest."""
        files = {"update": data, **beside}
        if order.inline is not None and sum(map(len, files.values())) <= order.inline.max_bytes:
            refs = {n: order.inline.object(hashlib.sha256(each).hexdigest(), len(each)) for n, each in files.items()}
            payloads = {name: self.payload(order, ref) for name, ref in refs.items()}
            return self.post("updates", self.manifest(order, refs["update"], payloads=payloads, content=files))
        return self.put(order, data, **beside)

    def put(self, order: TrainOrder, data: bytes, **beside: bytes) -> httpx.Response:
        """By grant and PUT, whatever its size."""
        grants = {}
        for name, each in {"update": data, **beside}.items():
            grant = grants[name] = self.grant(order, each)
            answer = self.at(grant).put(grant.url, content=each, headers=grant.headers)
            if answer.status_code != 412:  # it is there already
                answer.raise_for_status()
        payloads = {name: self.payload(order, grant) for name, grant in grants.items()}
        return self.post("updates", self.manifest(order, grants["update"], payloads=payloads))

    def take_part(self, order: TrainOrder) -> httpx.Response:
        base = self.download(order.model)
        if order.evaluate:
            self.evaluate(order.round - 1, order.model.model_copy(update={"sha256": order.base_sha256}))
        update = self.train_function(load(base), self.client, order)
        self.trained.append((order.round, order.attempt))
        beside = {}
        if order.training.method is not None and order.training.method.control_variates:
            beside["control"] = self.encrypted(order, save(self.control(update, order)), "control")
        return self.upload(order, self.encrypted(order, save(update)), **beside)

    def control(self, update: Tensors, order: TrainOrder) -> Tensors:
        """The change of a control, rows of one number for each float tensor; of what the hub told of its state, too."""
        told = load(self.download(order.hub_state)) if order.hub_state else {}
        floats = {name: value.ravel() for name, value in update.items() if value.dtype.kind == "f"}
        rows = {
            name: value.astype(np.promote_types(value.dtype, np.float32))[:, None] / 2 for name, value in floats.items()
        }
        return {name: value - told[name] / 4 if told else value for name, value in rows.items()}

    def step(self, wait_s: float = ORDER_WITHIN_S) -> str:
        """Asks once and does what it is told; the kind of the assignment."""
        assignment = self.next(wait_s)
        if assignment.train:
            response = self.take_part(assignment.train)
            if response.status_code != 409:
                response.raise_for_status()
        if assignment.evaluate:
            self.download(assignment.evaluate.model)
            self.evaluate(assignment.evaluate.round, assignment.evaluate.model)
        return assignment.kind

    def run(self) -> None:
        """Until Done; like the trainer it outlives a restart of the aggregator."""
        while True:
            try:
                if self.step(5.0) == "Done":
                    return
            except (httpx.TransportError, httpx.HTTPStatusError):
                time.sleep(0.05)

    def _run_guarded(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run_guarded, daemon=True)
        thread.start()
        return thread


def run_sites(job: JobFolder, timeout_s: float = PATIENCE_S, *, kind: type[Site] = Site, **values) -> list[Site]:
    """All sites of the roster until Done."""
    sites = [kind(job, entry.name, samples=10 + 5 * i, **values) for i, entry in enumerate(job.config.roster)]
    threads = [site.start() for site in sites]
    for thread, site in zip(threads, sites, strict=True):
        thread.join(timeout_s)
        assert site.error is None, site.error
        assert not thread.is_alive(), f"site {site.client} did not end; trained {site.trained}"
    return sites
