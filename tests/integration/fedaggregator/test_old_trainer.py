"""A trainer of version 0.1, by its own released messages, at today's aggregator: it takes part, or is told why not."""

import hashlib
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
from safetensors.numpy import load, save

from fedapi.wire.training import TrainingSettings
from fedcore.rounds import admission
from tests.golden.fedapi import released01
from tests.integration.fedaggregator.harness import (
    Aggregator,
    JobFolder,
    Site,
    config,
    https,
    monitored,
    run_sites,
    scripted_update,
)
from tests.integration.fedaggregator.raw import connected
from tests.waiting import until


class OldSite:
    """What a trainer of 0.1 did, strict about every answer. As it did, it ends when it is refused at `next`."""

    def __init__(self, job: JobFolder, client: str, samples: int) -> None:
        self.job, self.client, self.samples = job, client, samples
        self.http = https(job, client)
        self.refused = ""

    def run(self) -> None:
        answer = self.ask()
        while answer is not None and answer.kind != "Done":
            if answer.train:
                self.train(answer.train)
            if answer.evaluate:
                self.evaluate(answer.evaluate.round, answer.evaluate.model.sha256)
            answer = self.ask()

    def ask(self) -> released01.Assignment | None:
        response = self.post("next", released01.NextRequest(wait_s=5.0))
        if response.status_code == 200:
            return released01.Assignment.model_validate_json(response.content)
        assert released01.action(response.status_code, response.content) == "Rejected"
        self.refused = released01.Refusal.model_validate_json(response.content).message
        return None

    def train(self, order: released01.TrainOrder) -> None:
        model = self.http.get(order.model.url).raise_for_status().content
        assert hashlib.sha256(model).hexdigest() == order.model.sha256
        if order.evaluate:
            self.evaluate(order.round - 1, order.model.sha256)
        data = save(scripted_update(load(model), self.client, order))
        sha256 = hashlib.sha256(data).hexdigest()
        asked = released01.UploadRequest(round=order.round, attempt=order.attempt, sha256=sha256, size=len(data))
        grant = released01.UploadGrant.model_validate_json(self.post("uploads", asked).raise_for_status().content)
        self.http.put(grant.url, content=data, headers=grant.headers).raise_for_status()
        manifest = released01.UpdateManifest(
            job_uid=self.job.config.uid, round=order.round, attempt=order.attempt, client=self.client,
            base_sha256=order.model.sha256, payload=grant.object, samples=self.samples, metrics={"loss": 0.5},
            training_s=0.0, nonce=f"{self.client}-{order.round}-{order.attempt}-{'0' * 16}",
        )  # fmt: skip
        taken, again = (self.post("updates", manifest) for _ in range(2))  # as when the answer is lost
        assert not released01.Receipt.model_validate_json(taken.raise_for_status().content).duplicate
        action = released01.action(again.status_code, again.content)
        assert action == "Dropped" or released01.Receipt.model_validate_json(again.content).duplicate

    def evaluate(self, round_: int, sha256: str) -> None:
        report = released01.EvaluationReport(
            job_uid=self.job.config.uid, round=round_, client=self.client, model_sha256=sha256, samples=self.samples,
            metrics={"accuracy": min(0.99, 0.5 + round_ / 10), "loss": 1.0 / (1 + round_)},
        )  # fmt: skip
        released01.Receipt.model_validate_json(self.post("evaluations", report).raise_for_status().content)

    def post(self, what: str, message: released01.Message) -> httpx.Response:
        return self.http.post(f"/v1/sites/{self.client}/{what}", content=message.model_dump_json())


def test_an_old_and_a_new_trainer_train_one_model(tmp_path):
    """The same bits as two new ones."""
    models = []
    for old in (True, False):
        job = JobFolder(tmp_path / f"old-{old}", config(("a", "b")))
        with Aggregator(job).ready():
            if old:
                site = Site(job, "b", samples=15)
                thread = site.start()
                OldSite(job, "a", 10).run()
                thread.join()
                assert site.error is None
            else:
                run_sites(job)
            until(lambda job=job: "outcome" in job.status())
        assert job.status()["outcome"]["result"] == "Succeeded"
        models.append([commit.model.sha256 for commit in job.commits()])
    assert models[0] == models[1]


def test_what_an_old_trainer_cannot_do_it_is_told(tmp_path):
    training = TrainingSettings(determinism="Warn")
    job = JobFolder(tmp_path, config(("a", "b"), training=training, quorum=1, min_available=1, deadline_s=600.0))
    with Aggregator(job).ready():
        old = OldSite(job, "a", 10)
        old.run()
        assert old.refused == (
            "site 'a': its trainer (protocol 1) cannot do training.determinism Warn: "
            "build its task image with a trainer of this hub's version, or set it to Strict"
        )
        until(lambda: job.status().get("clients", [{}])[0].get("state") == "Incompatible")
        assert job.status()["clients"][0]["message"] in old.refused
        site = Site(job, "b")
        assert site.next().train.training == training
        metrics = monitored(job, "/metrics").text
        assert 'fedloom_aggregator_refusals_total{code="Incompatible"} 1.0' in metrics
        until(lambda: "fedloom_aggregator_sites_incompatible 1.0" in monitored(job, "/metrics").text)
        site.run()
    assert [p.client for p in job.commits()[1].participants] == ["b"]


def put(grant: released01.UploadGrant, sent: bytes, size: int) -> bytes:
    """An upload of which a part is sent."""
    url = urlsplit(grant.url)
    return f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + sent


def test_an_old_trainer_is_refused_in_its_words_at_its_urls_too(tmp_path):
    """Those that it does not have and can meet there: too many at once, too slow."""
    limits = {"FEDLOOM_HTTP_STALL_S": "1.0"}
    job = JobFolder(tmp_path, config(("a",), deadline_s=600.0), extra_env=limits)
    with Aggregator(job).ready(), ExitStack() as stack:
        old = OldSite(job, "a", 10)
        order = old.ask().train
        asked = released01.UploadRequest(round=order.round, attempt=order.attempt, sha256="a" * 64, size=99)
        grant = released01.UploadGrant.model_validate_json(old.post("uploads", asked).raise_for_status().content)
        raws = [stack.enter_context(connected(job)) for _ in range(admission.UPLOADS + 1)]
        for raw in raws:
            raw.send(put(grant, b"x", 99))
        answers = sorted(raw.rest() for raw in raws)
        metrics = monitored(job, "/metrics").text
    assert 'fedloom_aggregator_refusals_total{code="Busy"} 1.0' in metrics
    assert f'fedloom_aggregator_refusals_total{{code="TooSlow"}} {float(admission.UPLOADS)}' in metrics
    for answer, status in zip(answers, [408] * admission.UPLOADS + [503], strict=True):
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert released01.Refusal.model_validate_json(body).code == "Stopping"
        assert released01.action(status, body) == "Retry"


def test_a_site_hears_which_of_its_updates_was_committed(tmp_path):
    job = JobFolder(tmp_path, config(("a",), rounds=2))
    with Aggregator(job).ready():
        site = Site(job, "a")
        heard = []
        while (answer := site.next()).kind != "Done":
            heard.append((answer.kind, answer.committed))
            if answer.train:
                site.take_part(answer.train).raise_for_status()
            if answer.evaluate:
                site.evaluate(answer.evaluate.round, answer.evaluate.model)
        assert [entry for entry in heard if entry[0] == "Train"] == [("Train", None), ("Train", (1, 1))]
        assert answer.committed == (2, 1)
        assert answer.committed_sha256 == job.commits()[-1].participants[0].payloads["update"]
