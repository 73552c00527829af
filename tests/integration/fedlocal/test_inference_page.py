"""The page on inference: its program, run as it is there on a model that `fedloom model pull` fetched."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.integration.fedlocal.runs import Lab, site

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "heart-disease"
COLUMNS = "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,disease"
SICK, WELL = "67,1,4,160,286,0,2,108,1,4.5,2,3,7,1", "37,0,1,110,180,0,0,187,0,0,1,0,3,0"


def test_the_program_on_the_page_predicts_with_the_model_of_a_round(tmp_path):
    (page,) = re.findall(r"## Inference.*?```python\n(.*?)```", (ROOT / "docs/evaluation.md").read_text(), re.DOTALL)
    manifest = yaml.safe_load((EXAMPLE / "job.yaml").read_text())
    manifest["spec"] |= {"rounds": 2, "clients": {}}
    volumes = [{"name": "patients", "configMap": {"name": "patients"}}]
    hospital = site("clinic")
    hospital["spec"]["data"] = {"volumes": volumes}
    lab = Lab.of(tmp_path, manifest, hospital)
    shutil.copy(EXAMPLE / "heart_disease.py", tmp_path)
    data = tmp_path / "volumes" / "patients"
    data.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (data / name).write_text("\n".join((COLUMNS, *[SICK, WELL] * 40)) + "\n")
    code, output = lab.run()
    assert code == 0, output
    lab.fedloom("model", "pull", "heart-disease", "--round", "2", "--output", tmp_path / "model.safetensors")
    (tmp_path / "patients.csv").write_text(f"{COLUMNS}\n{SICK}\n{WELL}\n")
    (tmp_path / "predict.py").write_text(page)
    done = subprocess.run([sys.executable, "predict.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sick, well = map(float, re.findall(r"[\d.e-]+", done.stdout))
    assert 0 <= well < 0.5 < sick <= 1
