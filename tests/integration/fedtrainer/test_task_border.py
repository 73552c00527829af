"""Whatever a task's code does ends as an error of the task with the task's own words: the trainer's programs run it."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from fedapi.outcome import Exit
from tests.integration.fedtrainer.programs import HERE, ROOT, Site

IMPORT, INVALID, FAILED = Exit.TASK_IMPORT, Exit.TASK_INVALID, Exit.TASK_FAILED


@pytest.fixture
def entrypoint(tmp_path, monkeypatch):
    """Makes a module with these lines after the usual imports; its task is `Own`, if it has one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def make(source: str) -> str:
        head = "import os, sys, signal, threading\nimport numpy as np\nimport torch\nfrom fedtrainer import *\n"
        (tmp_path / "own_task.py").write_text(
            f"{head}from tiny_task import Tiny\n{textwrap.dedent(source)}\n"
            "def task():\n    return Own() if 'Own' in globals() else Tiny()\n"
        )
        return "own_task:task"

    yield make
    for name in set(sys.modules) & {"own_task", "tiny_task"} - before:
        del sys.modules[name]


def path_of(folder: Path) -> dict[str, str]:
    """For a process that finds the module in a folder."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "operator", ROOT / "trainer", HERE, folder)))}


def method(name: str, *lines: str) -> str:
    """A task with one method of its own."""
    body = "\n".join(f"        {line}" for line in lines)
    return f"class Own(Tiny):\n    def {name}(self, *args):\n{body}\n"


# Of `init`: what the module does at import, and what model() returns.
INIT = [
    ("sys.exit(0)", IMPORT, "own_task does not import: SystemExit: 0"),
    ("sys.exit('no licence')", IMPORT, "SystemExit: no licence"),
    ("raise KeyboardInterrupt", IMPORT, "KeyboardInterrupt"),
    ("os._exit(0)", IMPORT, "SystemExit: os._exit(0)"),
    ("class Odd(BaseException): pass\nraise Odd('words')", IMPORT, "Odd: words"),
    (
        "class Odd(Exception):\n  def __str__(self): raise ValueError\nraise Odd",
        IMPORT,
        "Odd: (its text cannot be had)",
    ),
    (
        "import argparse\nsys.argv = ['x', 'init']\nargparse.ArgumentParser().parse_args()",
        IMPORT,
        "unrecognized arguments: init: a task has no command line, use task.args",
    ),
    ("def __getattr__(name): raise RuntimeError('lazily no')\ndel globals()['Tiny']", IMPORT, "factory fails"),
    ("def recur(): recur()\nrecur()", IMPORT, "RecursionError"),
    ("raise ValueError('\\ud800 \\x1b[31m')", IMPORT, "ValueError: ? ?[31m"),
    (method("model", "sys.exit(3)"), FAILED, "model() raised SystemExit: 3"),
    (
        method("model", "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')"),
        FAILED,
        "model(): the device has too little memory: lower training.batchSize, raise training.gradientAccumulationSteps, or",
    ),
    (method("model", "return [torch.nn.Linear(1, 1)]"), INVALID, "returned a list: return a torch.nn.Module"),
    (method("model", "return torch.nn.LazyLinear(2)"), INVALID, "'weight' has no shape yet"),
    (method("model", "return torch.nn.Linear(2, 2, device='meta')"), INVALID, "'weight' is on the device meta"),
    (method("model", "return torch.nn.Linear(2, 2, dtype=torch.complex64)"), INVALID, "'weight' is torch.complex64"),
    (
        method("model", "m = torch.nn.Linear(2, 2)", "m.weight.data.fill_(float('inf'))", "return m"),
        INVALID,
        "'weight' is not finite at initialization: initialize it, or, when it is a constant, use register_buffer",
    ),
    (
        method("model", "m = torch.nn.Linear(2, 2)", "m.register_buffer('s', torch.eye(2).to_sparse())", "return m"),
        INVALID,
        "'s' has the layout torch.sparse_coo",
    ),
    (
        method("model", "m = torch.nn.Linear(2, 2)", "m.register_buffer('f', torch.ones(2).to(torch.float8_e5m2))")
        + "        return m",
        INVALID,
        "'f' is torch.float8_e5m2: use",
    ),
    (
        method("model", "m = torch.nn.Linear(2, 2)")
        + "        m.weight = torch.nn.Parameter(torch.zeros(1).expand(4))\n        return m",
        INVALID,
        "'weight' is an expanded view",
    ),
    (
        method(
            "model",
            "class M(torch.nn.Linear):",
            "  def state_dict(self, **k): raise OSError('no state')",
            "return M(1, 1)",
        ),
        INVALID,
        "what model() returned cannot be read: OSError: no state",
    ),
    (
        method("model", "m = torch.nn.Linear(2, 2)", "m._buffers['__metadata__'] = torch.ones(1)", "return m"),
        INVALID,
        "'__metadata__' has a name that cannot be sent",
    ),
    (
        method("model", "m = torch.nn.Linear(2, 2)", "m._buffers['\\ud800'] = torch.ones(1)", "return m"),
        INVALID,
        "has a name that cannot be sent",
    ),
    (
        method(
            "model",
            "class M(torch.nn.Linear):",
            "  def state_dict(self, **k): return {3: self.weight}",
            "return M(1, 1)",
        ),
        INVALID,
        "state 3 has a name that cannot be sent",
    ),
    (
        method(
            "model",
            "class M(torch.nn.Linear):",
            "  def state_dict(self, **k): return {'of.' + n: t for n, t in super().state_dict().items()}",
            "return M(1, 1)",
        ),
        INVALID,
        "load_state_dict() does not take what state_dict() gives: RuntimeError: Error(s) in loading",
    ),
    (
        "raise ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('no such table')])",
        IMPORT,
        "(1 sub-exception): ValueError: no such table",
    ),
]


@pytest.mark.parametrize(("source", "code", "words"), INIT)
def test_the_init_step(tmp_path, entrypoint, source, code, words):
    site = Site(tmp_path / "site")
    ended = site.call("init", "", entrypoint(source))
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert ended.reason.count("\n") == 1
    assert not list((site.folder / "init").iterdir())


# Of `train`, with an order that evaluates and trains.
TRAIN = [
    (method("train", "sys.exit(0)"), FAILED, "the task's train() raised SystemExit: 0"),
    (method("train", "os._exit(0)"), FAILED, "train() raised SystemExit: os._exit(0)"),
    (method("train", "raise KeyboardInterrupt"), FAILED, "train() raised KeyboardInterrupt"),
    (method("train", "raise StopIteration('over')"), FAILED, "train() raised StopIteration: over"),
    (method("train", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "raise OSError('x')"), FAILED, "OSError: x"),
    (method("train", "return {'samples': 4}"), INVALID, "train() returned a dict: return TrainResult"),
    (method("train", "return TrainResult(4.0)"), INVALID, "samples is 4.0, a float: give a whole number"),
    (method("train", "return TrainResult(-1)"), INVALID, "samples is -1: it must be from 0"),
    (method("train", "return TrainResult(10**5000)"), INVALID, "it must be from 0"),
    (method("train", "raise NotImplementedError"), INVALID, "the task's train() raised NotImplementedError"),
    (
        method(
            "train",
            "m = args[0][0]",
            "m.weight = torch.nn.Parameter(m.weight.data.to_sparse())",
            "return TrainResult(4)",
        ),
        INVALID,
        "'0.weight' has the layout torch.sparse_coo",
    ),
    (method("train", "return TrainResult(4, None)"), INVALID, "metrics that are a NoneType"),
    (
        method("train", "return TrainResult(4, {'a': torch.ones(2)})"),
        INVALID,
        "metric 'a' is tensor([1., 1.]), a Tensor",
    ),
    (method("train", "return TrainResult(4, {'a\\n': 1})"), INVALID, "is no name of a metric: use visible characters"),
    (
        "class Own(Tiny):\n  @property\n  def train(self): raise LookupError('none')",
        FAILED,
        "train() raised LookupError",
    ),
    (method("evaluate", "return EvalResult('3')"), INVALID, "evaluate(): samples is '3', a str"),
    (method("evaluate", "sys.exit()"), FAILED, "evaluate() raised SystemExit"),
    (method("metrics", "return [1]"), INVALID, "metrics() returned a list"),
    (method("loss", "return torch.ones(3, requires_grad=True)"), INVALID, "loss() returned Tensor of torch.float32[3]"),
    (method("loss", "return args[0].sum() + 0j"), INVALID, "loss() returned Tensor of torch.complex64[]"),
    (method("loss", "return 0.5"), INVALID, "loss() returned float"),
    (method("data", "return [1]"), INVALID, "data() returned a list"),
    (method("data", "return Data(iter(()), None)"), INVALID, "data().train is a tuple_iterator"),
    (
        method(
            "train", "x = torch.nn.functional.max_unpool2d(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1).long(), 2)"
        ),
        INVALID,
        "max_unpooling2d_forward_out has no deterministic implementation on this device, and training.determinism",
    ),
]


@pytest.mark.parametrize(("source", "code", "words"), TRAIN)
def test_a_training(tmp_path, hub, entrypoint, source, code, words):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    hub.plan()
    ended = site.call("train", "", entrypoint(source))
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert ended.reason.count("\n") == 1
    assert [f["reason"] for f in hub.failures] == (["TaskInvalid"] if code == INVALID else []), (
        "at once, or tried again"
    )
    assert not hub.updates


@pytest.mark.parametrize("samples", ["np.int64(32)", "torch.tensor(32)", "np.uint8(32)"])
def test_numbers_of_other_libraries_are_numbers(tmp_path, hub, entrypoint, samples):
    point = entrypoint(method("train", f"return TrainResult({samples}, {{'a': np.float32(0.5), 'b': torch.ones(1)}})"))
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    ended = site.call("train", "", point)
    assert ended.code == 0, ended.log
    (manifest,) = hub.updates
    assert (manifest.samples, manifest.metrics["a"], manifest.metrics["b"]) == (32, 0.5, 1.0)


MAY = """
class Own(Tiny):
    seen = set()

    def data(self, site):
        sys.stdout.close()
        if site.round not in self.seen:  # the order's data; the evaluation that follows reads it again
            os.close(0)
        self.seen.add(site.round)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().data(site)

    def evaluate(self, *args):
        torch.set_grad_enabled(False)
        return EvalResult(np.int64(3))

    def train(self, model, *args):
        if not (pid := os.fork()):
            sys.exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if not (pid := os.fork()):
            return TrainResult(1)
        os.waitpid(pid, 0)
        if not (pid := os.fork()):
            os._exit(4)
        code += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN
        return TrainResult(32, {"code": code, "grad": torch.is_grad_enabled()})
"""


def test_what_a_task_may_do(tmp_path, hub, entrypoint):
    """It closes files, changes signals and torch, and forks: none of its children is a trainer."""
    point = entrypoint(MAY)
    site = Site(tmp_path / "site", hub, env=path_of(tmp_path))
    hub.give(site.initial_model())
    hub.plan()
    ended = site.run("train", "", point)
    assert ended.code == 0, ended.log
    (manifest,) = hub.updates
    assert (manifest.samples, manifest.metrics["code"], manifest.metrics["grad"]) == (32, 7.0, 1.0)
    assert [e["samples"] for e in hub.evaluations] == [3, 3]


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (["import ctypes", "ctypes.string_at(0)"], -signal.SIGSEGV, "train(), by a signal or by a library's exit Fatal Python error: Segmentation fault"),
        (["os.abort()"], -signal.SIGABRT, "Fatal Python error: Aborted"),
        (["os.kill(os.getpid(), signal.SIGKILL)"], -signal.SIGKILL, "was ended inside the task's train()"),
        (["import ctypes", "ctypes.CDLL(None)._exit(0)"], 0, "was ended inside the task's train()"),
        (
            ["t = threading.Thread(target=os._exit, args=(0,), name='stray')", "t.start()", "threading.Event().wait()"],
            FAILED,
            "train() raised SystemExit: os._exit(0) in the thread stray",
        ),
        (["sys.modules['fedtrainer.training.tensors'].write_delta = None", "return TrainResult(4)"], FAILED, "the trainer cannot go on after the task's "),
    ],
)  # fmt: skip
def test_a_process_that_is_ended_says_where(tmp_path, hub, entrypoint, lines, code, words):
    point = entrypoint(method("train", *lines))
    site = Site(tmp_path / "site", hub, env=path_of(tmp_path))
    hub.give(site.initial_model())
    ended = site.run("train", "", point)
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert not hub.updates
