"""The real process with sites' certificates: who is let in, who is not and how that is told, and renewal without a restart."""

import json
import re
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.site import NextRequest
from fedapi.wire.tokens import site_token
from fedoperator.certificates import LIFETIME
from fedoperator.key_material import Files, Keys, aggregator_files, init_files, site_files
from fedtrainer.agent.hub_context import HubContext
from fedtrainer.agent.link import Link
from fedtrainer.agent.patience import RetryError
from tests.integration.fedaggregator.harness import (
    JOB_KEY,
    OPEN,
    SPEAKS,
    UID,
    Aggregator,
    JobFolder,
    Site,
    config,
    monitored,
)
from tests.waiting import PATIENCE_S, until

NOW = datetime.now(UTC)
KEYS, OTHERS = Keys.generated(NOW), Keys.generated(NOW)
HOSTS = ("localhost", "127.0.0.1")
PAST, FUTURE = NOW - 2 * LIFETIME, NOW + timedelta(hours=1)
LARGE = {"layer.weight": np.arange(1 << 16, dtype=np.float32)}  # by URL, not in messages


def written(folder, files: Files):
    """Each replaced by rename, as the kubelet does it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / "new").write_bytes(content)
        (folder / "new").replace(folder / name)
    return folder


def hub_files(made: datetime) -> Files:
    return aggregator_files(KEYS, UID, HOSTS, made) | {names.FILE_JOB_KEY: JOB_KEY}


def job_in(root, required="Required", made=NOW, **values) -> JobFolder:
    written(root / "credentials", hub_files(made))
    written(root / "init-credentials", init_files(KEYS, UID, NOW))
    return JobFolder(root, config(("a", "b"), certificates=required, **values), model=LARGE)


def certified(job: JobFolder, client: str, files: Files | None) -> Site:
    """A site with its own token that shows the certificate of some files, or none."""
    site = Site(job, client)
    context = ssl.create_default_context(cafile=str(job.root / "credentials" / names.FILE_CA))
    if files is not None:
        folder = written(job.root / f"shown-{len(OPEN)}", files)
        context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    headers = {"authorization": f"Bearer {site_token(JOB_KEY, client)}"}
    site.http = httpx.Client(base_url=job.url, verify=context, headers=headers, timeout=PATIENCE_S)
    OPEN.append(site.http)
    return site


def question(wait_s=0.0) -> NextRequest:
    return NextRequest(wait_s=wait_s, **SPEAKS)


def test_a_whole_job_whose_sites_show_their_certificates(tmp_path):
    job = job_in(tmp_path, rounds=2)
    with Aggregator(job).ready():
        sites = [certified(job, client, site_files(KEYS, UID, client, NOW)) for client in ("a", "b")]
        for thread in [site.start() for site in sites]:
            thread.join(PATIENCE_S)
        assert [site.error for site in sites] == [None, None]
        until(lambda: "outcome" in job.status())
    assert job.status()["outcome"]["result"] == "Succeeded"
    assert job.head().round == 2


WRONG = {
    "none": (None, "clients.certificates is Required"),
    "another site's": (site_files(KEYS, UID, "b", NOW), "/site/b"),
    "of another job": (site_files(KEYS, "another-uid", "a", NOW), "but of spiffe://fedloom/job/another-uid/site/a"),
    "the init step's": (init_files(KEYS, UID, NOW), "/init"),
}
UNFIT = {
    "of another installation": (site_files(OTHERS, UID, "a", NOW), "unable to get local issuer certificate"),
    "ended": (site_files(KEYS, UID, "a", PAST), "certificate has expired"),
    "not yet valid": (site_files(KEYS, UID, "a", FUTURE), "certificate is not yet valid"),
    "a server's": (aggregator_files(KEYS, UID, HOSTS, NOW), "unsuitable certificate purpose"),
}


def test_wrong_certificates_are_refused_and_told(tmp_path):
    job = job_in(tmp_path)
    with Aggregator(job).ready() as aggregator:
        for files, words in WRONG.values():
            answer = certified(job, "a", files).post("next", question())
            assert answer.status_code == 401, words
            assert words in answer.json()["message"]
        for files, words in UNFIT.values():
            with pytest.raises(httpx.TransportError):
                certified(job, "a", files).post("next", question())
            until(lambda words=words: words in aggregator.log())
        metrics = monitored(job, "/metrics").text
        assert certified(job, "a", site_files(KEYS, UID, "a", NOW)).post("next", question()).status_code == 200
    assert f'refusals_total{{code="Unauthorized"}} {float(len(WRONG))}' in metrics
    assert f'connections_ended_total{{reason="Certificate"}} {float(len(UNFIT))}' in metrics
    lines = [json.loads(line) for line in aggregator.log().splitlines() if '"Certificate"' in line]
    assert [line["reason"] for line in lines] == [words for _, words in UNFIT.values()]
    assert "Token+Certificate" in aggregator.log(), "the access log says by what"
    assert "PRIVATE" not in aggregator.log()


def test_a_url_opens_nothing_on_a_connection_of_somebody_else(tmp_path):
    job = job_in(tmp_path, rounds=1)
    with Aggregator(job).ready():
        a, b = (certified(job, client, site_files(KEYS, UID, client, NOW)) for client in ("a", "b"))
        for site in (a, b):
            site.post("next", question()).raise_for_status()
        model = a.next().train.model
        for thief in (b, certified(job, "a", None)):
            answer = thief.http.get(model.url)
            assert (answer.status_code, answer.json()["code"]) == (401, "Unauthorized")
        assert len(a.download(model)) > LARGE["layer.weight"].nbytes


def test_it_is_required_from_the_next_message_on(tmp_path):
    job = job_in(tmp_path, required="Optional")
    with Aggregator(job).ready():
        bare, wrong = certified(job, "a", None), certified(job, "a", site_files(KEYS, UID, "b", NOW))
        assert bare.post("next", question()).status_code == 200
        assert wrong.post("next", question()).status_code == 401, "what is shown must be true"
        job.write_config(job.config.model_copy(update={"certificates": "Required"}))
        until(lambda: bare.post("next", question()).status_code == 401)


def test_both_sides_take_new_certificates_without_a_restart(tmp_path):
    """First neither is good any longer, as after a day without an operator; then both are renewed under the same processes."""
    job = job_in(tmp_path, made=PAST)
    job.model = None
    (job.init_dir / names.INIT_MODEL_FILE).unlink()  # the init step would meet the ended certificate, too
    site = written(tmp_path / "site", site_files(KEYS, UID, "a", PAST))
    link = Link(job.url, HubContext(site, shows=True))
    headers = {"Authorization": f"Bearer {site_token(JOB_KEY, 'a')}", "Content-Type": "application/json"}

    def ask() -> int:
        return link.post("/v1/sites/a/next", headers, question().model_dump_json().encode(), PATIENCE_S)[0]

    def told(words: str) -> bool:
        try:
            return ask() == 0
        except RetryError as error:
            return re.search(words, str(error)) is not None

    with Aggregator(job).ready() as aggregator:
        assert told("CERTIFICATE_VERIFY_FAILED.*expired"), "the aggregator's has ended"
        written(tmp_path / "credentials", hub_files(NOW))
        until(lambda: told("(?i)alert|reset|closed|eof"), why=aggregator.log)  # now the site's own is what is refused
        written(site, site_files(KEYS, UID, "a", NOW))
        assert ask() == 200
        before = len(link._idle)
        written(site, site_files(KEYS, UID, "a", NOW))  # and while a connection is kept
        assert ask() == 200
        assert len(link._idle) == before == 1, "the one with the older certificate was not used again"
    link.close()


def test_without_the_ca_it_does_not_start(tmp_path):
    job = job_in(tmp_path)
    (tmp_path / "credentials" / names.FILE_CA).unlink()
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.BAD_SETTINGS
        assert "ca.crt is missing" in aggregator.log()
