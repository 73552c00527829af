"""The local cluster's own tools, on a machine that is slow, or that was left in the middle of something."""

import http.server
import socket
import subprocess
import sys
import threading

import pytest

from tests import certificates, ports
from tests.cluster import builder, client, processes, shell
from tests.cluster.client import Client
from tests.cluster.errors import CannotRunError, ClusterError, NoAnswerError


def test_no_test_is_given_the_port_that_images_are_pushed_to():
    fixed = int(builder.PUSH_TO.rpartition(":")[2])
    assert not ports.LOWEST <= fixed <= ports.HIGHEST


@pytest.mark.parametrize("record", ["", "12", "x y"])
def test_half_a_record_of_a_process_is_none(tmp_path, record):
    (tmp_path / "etcd").write_text(record)
    assert not processes.alive(tmp_path, "etcd")
    processes.stop(tmp_path, ["etcd"], grace_s=0)
    assert processes.names(tmp_path) == []


def test_a_process_listens_where_it_is_the_one_that_holds_the_port(tmp_path):
    program = "import socket, sys; s = socket.create_server(('127.0.0.1', 0))"
    program += "; print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with (
        socket.create_server(("127.0.0.1", 0)) as own,
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server,
    ):
        port = int(server.stdout.readline())
        started = processes._stat(server.pid)[1]
        (tmp_path / "registry").write_text(f"{server.pid} {started}")
        assert processes.listens(tmp_path, "registry", port)
        assert not processes.listens(tmp_path, "registry", own.getsockname()[1])
        server.communicate()
    assert not processes.listens(tmp_path, "registry", port)


@pytest.fixture
def server(tmp_path):
    """An API server that gives these answers, and then the last of them."""
    answers = [500]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    certificates.write(tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.socket = certificates.server_context(tmp_path).wrap_socket(serving.socket, server_side=True)
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield Client(f"https://127.0.0.1:{serving.server_port}", tmp_path, "tls"), answers
        serving.shutdown()
        thread.join()


def test_an_api_server_that_waits_for_its_disk_is_asked_again(server, monkeypatch):
    asked, answers = server
    monkeypatch.setattr(client, "_PAUSE_S", 0)
    answers[:] = [500, 504, 429, 200]
    assert asked.get("/api") == {}
    assert answers == [200]


def test_what_it_refuses_is_not(server):
    asked, answers = server
    answers[:] = [404, 200]
    with pytest.raises(ClusterError, match="404"):
        asked.get("/api")


def test_patience_ends(server):
    asked, answers = server
    answers[:] = [500]
    with pytest.raises(NoAnswerError):
        asked.request("GET", "/api", patience_s=0)
    assert not asked.answers("/readyz")


def test_what_downloads_is_done_again_when_a_server_has_cut_it_short(tmp_path, monkeypatch):
    monkeypatch.setattr(shell, "_PAUSE_S", 0)
    script = tmp_path / "cut"
    script.write_text(f"#!/bin/sh\necho try >>{tmp_path}/tries\n[ $(wc -l <{tmp_path}/tries) -ge $1 ]\n")
    script.chmod(0o755)
    shell.downloaded(lambda: shell.run(script, "3"))
    with pytest.raises(ClusterError):
        shell.downloaded(lambda: shell.run(script, "9"))
    assert len((tmp_path / "tries").read_text().split()) == 6


def test_a_program_that_is_not_there_is_looked_for_once(monkeypatch):
    monkeypatch.setattr(shell, "_PAUSE_S", float("nan"))
    with pytest.raises(CannotRunError):
        shell.downloaded(lambda: shell.run("no-such-program"))
