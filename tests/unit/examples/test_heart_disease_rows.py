"""Preprocessing of the heart-disease rows: which rows stay, what becomes of them, where they go."""

import pytest

from tests.unit.examples.test_example_manifests import EXAMPLES, module

HEADER = "id,age,sex,dataset,cp,trestbps,chol,fbs,restecg,thalch,exang,oldpeak,slope,ca,thal,num\n"


@pytest.fixture(scope="module")
def prepare():
    return module(EXAMPLES / "heart-disease" / "prepare.py")


@pytest.mark.parametrize(
    ("line", "site"),
    [
        ("1,63,Male,Cleveland,typical angina,145,233,TRUE,lv hypertrophy,150,FALSE,2.3,flat,0,normal,0", "cleveland"),
        ("304,28,Male,Cleveland,atypical angina,130,132,FALSE,lv hypertrophy,185,FALSE,0,,,,0", "hungary"),
        ("800,60,Male,VA Long Beach,asymptomatic,140,0,FALSE,normal,120,TRUE,1.5,,,,2", "long-beach"),
        ("801,60,Male,VA Long Beach,asymptomatic,,0,FALSE,normal,120,TRUE,1.5,,,,2", None),
    ],
)
def test_which_rows_stay_and_where(prepare, line, site):
    found = {name: len(rows) for name, rows in prepare.centres(HEADER + line + "\n").items() if rows}
    assert found == ({site: 1} if site else {})


def test_features(prepare):
    line = "1,63,Male,Cleveland,asymptomatic,145,233,TRUE,st-t abnormality,150,FALSE,2.3,flat,0,normal,3\n"
    (row,) = prepare.centres(HEADER + line)["cleveland"]
    assert len(row) == 14
    assert row == {
        "age": "63", "trestbps": "145", "chol": "233", "thalach": "150", "oldpeak": "2.3",
        "sex": "1", "fbs": "1", "exang": "0",
        "cp_atypical": "0", "cp_non_anginal": "0", "cp_asymptomatic": "1",
        "restecg_st_t": "1", "restecg_lv_hypertrophy": "0", "disease": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("healthy", "ill", "train", "train_ill"),
    [(164, 139, 199, 91), (163, 98, 172, 65), (1, 45, 30, None), (29, 101, 85, 66)],
)
def test_split_sizes(prepare, healthy, ill, train, train_ill):
    """Sizes and shares of scikit-learn's stratified split for the four centres."""
    rows = [{"n": str(n), "disease": str(int(n >= healthy))} for n in range(healthy + ill)]
    first, second = prepare.split(rows)
    assert len(first) == train
    assert sorted(int(row["n"]) for row in first + second) == list(range(healthy + ill))
    if train_ill is not None:
        assert sum(row["disease"] == "1" for row in first) == train_ill


def test_fashion_split_is_a_partition():
    import numpy as np

    fashion = module(EXAMPLES / "fashion-mnist" / "prepare.py")
    labels = np.repeat(np.arange(10), 50).astype(np.uint8)
    parts = fashion.dirichlet(labels, 0.5, np.random.default_rng(7))
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    again = fashion.dirichlet(labels, 0.5, np.random.default_rng(7))
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
