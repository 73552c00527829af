"""Data as people have it is trained, or refused with what to give."""

import numpy as np
import pytest
import torch

from fedtrainer.errors import TaskInvalidError
from tests.unit.fedtrainer.training.sessions import Given, One

INPUTS, LABELS = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1] * 4)
ROWS = INPUTS.numpy()


def linear(outputs: int = 2):
    return lambda: torch.nn.Linear(3, outputs)


def embedding():
    return torch.nn.Sequential(torch.nn.Embedding(9, 3), torch.nn.Flatten(), torch.nn.Linear(6, 2))


class Rows(torch.utils.data.Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Table:
    """As a data frame: not an array, but it makes one."""

    def __len__(self):
        return len(ROWS)

    def __array__(self, dtype=None, copy=None):
        return ROWS.astype(dtype or np.float64)


READ_ONLY = ROWS.copy()
READ_ONLY.setflags(write=False)

ALIKE = {
    "int32 labels": (INPUTS, LABELS.int()),
    "uint8 labels": (INPUTS, LABELS.to(torch.uint8)),
    "bool labels": (INPUTS, LABELS.bool()),
    "uint16 labels": (INPUTS, LABELS.to(torch.uint16)),
    "labels in a column": (INPUTS, LABELS[:, None]),
    "float64 inputs": (INPUTS.double(), LABELS),
    "numpy": (ROWS, LABELS.numpy()),
    "numpy in a list": [ROWS, LABELS.numpy().astype(np.int32)],
    "other byte order, backwards": (ROWS[::-1].astype(">f8")[::-1], LABELS.numpy().astype(">u2")),
    "read-only": (READ_ONLY, LABELS.numpy()),
    "a table": (Table(), LABELS.numpy()),
    "lists of arrays": (list(ROWS), list(LABELS.numpy())),
    "lists of tensors": (list(INPUTS), list(LABELS)),
    "lists of numbers": (ROWS.tolist(), LABELS.tolist()),
    "tensor and list": (INPUTS, LABELS.tolist()),
    "a Dataset of arrays": Rows(*((x.astype(np.float64), np.int32(y)) for x, y in zip(ROWS, LABELS, strict=True))),
    "a list of pairs": list(zip(INPUTS, LABELS, strict=True)),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    one = One(tmp_path_factory.mktemp("expected"), Given(linear(), (INPUTS, LABELS), (INPUTS, LABELS)))
    return one.evaluate().metrics, one.train(batch_size=8, epochs=3), one.update()


@pytest.mark.parametrize("form", ALIKE)
def test_what_is_trained_as_tensors_are(tmp_path, expected, form):
    one = One(tmp_path, Given(linear(), ALIKE[form], ALIKE[form]))
    assert one.evaluate().metrics == pytest.approx(expected[0], rel=1e-5)
    trained = one.train(batch_size=8, epochs=3)
    assert trained.samples == 8
    assert trained.metrics["train_loss"] == pytest.approx(expected[1].metrics["train_loss"], rel=1e-5)
    for name, tensor in one.update().items():
        assert torch.allclose(tensor, expected[2][name], atol=1e-6)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (linear(1), (INPUTS, LABELS.double())),
        (linear(1), (ROWS.tolist(), [0.5] * 8)),
        (lambda: torch.nn.Linear(3, 1).double(), (INPUTS, LABELS.float())),
        (embedding, (torch.randint(0, 9, (8, 2)).int(), LABELS)),
        (embedding, (np.ones((8, 2), np.uint16), LABELS)),
    ],
)
def test_what_else_is_trained(tmp_path, model, part):
    assert One(tmp_path, Given(model, part)).train().samples == 8


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ((np.zeros((8, 3), np.uint8), LABELS), r"inputs uint8\[8, 3\].*of pictures in bytes: values / 255"),
        ((np.array([["a"] * 3] * 8), LABELS), "inputs has the type <U1: give numbers"),
        ((INPUTS, np.array(["cat", "dog"] * 4)), "targets has the type <U3: give numbers; of text or categories"),
        ((INPUTS, np.array(["2026-01-05"] * 8, "M8[D]")), "of dates a number of seconds"),
        ((INPUTS, np.array([None] * 8)), "targets has the type object"),
        (([[1.0], [1.0, 2.0]], LABELS[:2]), "inputs: list of list, list makes no array"),
        (([INPUTS[0], INPUTS[0, :2]], LABELS[:2]), "list of tensors of unequal shape"),
        ((INPUTS, LABELS + 1), "Target 2 is out of bounds.*class numbers from 0"),
        ((INPUTS, LABELS.float()), "targets are Tensor of torch.float32.8. and outputs Tensor of torch.float32.8, 2.*classes"),
        ((INPUTS[:, :2], LABELS), r"inputs float32.8, 2., targets int64.8.+: mat1 and mat2 shapes"),
        ((INPUTS, LABELS, LABELS), "a tuple of Tensor, Tensor, Tensor: return a torch Dataset"),
        ({"x": INPUTS, "y": LABELS}, "is a dict: return a torch Dataset"),
        (({"x": INPUTS}, LABELS), "a tuple of dict, Tensor: return a torch Dataset"),
        (torch.utils.data.DataLoader(Rows((INPUTS[0], 1))), "is a DataLoader: .*of a DataLoader its dataset"),
        (INPUTS, "items must be pairs"),
        ((torch.tensor(1.0), torch.tensor(1)), "need a first dimension"),
        ((INPUTS.to_sparse(), LABELS), r"inputs is a tensor without the layout of an array: give to_dense\(\)"),
        ((np.ma.masked_greater(ROWS, 0), LABELS), "inputs has masked values: fill them in"),
        ("train.csv", "is a str: return a torch Dataset"),
        (Rows(("a", 0), ("b", 1)), r"inputs .str, str.*must be Tensor, not tuple"),
        (Rows((ROWS[0].tolist(), 0), (ROWS[1].tolist(), 1)), "must be Tensor, not list"),
        (Rows((object(), 1), (object(), 1)), "do not make a batch .*of a picture, its values as an array"),
        (Rows((INPUTS[0], 1), (INPUTS[0, :2], 1)), "do not make a batch .*of equal shape"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, part, words):
    one = One(tmp_path, Given(linear(), part))
    with pytest.raises(TaskInvalidError, match=words):
        one.train()


class Wrapped(torch.nn.Linear):
    """As models of some libraries: what it gives back is no tensor."""

    def forward(self, inputs):
        return {"logits": super().forward(inputs)}


@pytest.mark.parametrize("labels", [LABELS, LABELS.float()])
def test_outputs_that_are_no_tensor_need_a_loss_of_their_own(tmp_path, labels):
    one = One(tmp_path, Given(lambda: Wrapped(3, 2), (INPUTS, labels), (INPUTS, labels)))
    for work in (one.evaluate, one.train):
        with pytest.raises(
            TaskInvalidError, match=r"outputs are dict: .*return one, or write loss\(\) and metrics\(\)"
        ):
            work()
