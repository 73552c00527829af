"""The order in which the operator begins."""

from fedoperator import lifecycle
from fedoperator.settings import OperatorSettings


def test_who_finds_it_ready_finds_its_metrics_too(monkeypatch):
    served = []
    monkeypatch.setattr(lifecycle, "serve", lambda _, routes: served.append([*routes]))
    monkeypatch.setattr(lifecycle.Connection, "open", lambda *_, **__: None)
    lifecycle.Operator(OperatorSettings())._serve()
    assert served == [["/metrics"], ["/healthz", "/readyz"]]
