"""What one hospital would get that had all rows: the same model and optimizer on the pooled data.

Plain torch, so that it does not depend on what it is compared with. As many passes over the rows as the job's
rounds times epochs; settings are read from job.yaml. Prints accuracy and loss on the pooled test rows.

    python pooled.py [--seed N]
"""

import argparse
from pathlib import Path

import torch
import yaml
from heart_disease import HeartDisease, rows

HERE = Path(__file__).parent
SITES = ("cleveland", "hungary", "switzerland", "long-beach")


def pooled(file: str, folder: Path = HERE) -> tuple[torch.Tensor, torch.Tensor]:
    """All hospitals' rows of train.csv or test.csv."""
    parts = [rows(folder / "volumes" / f"{site}-patients" / file) for site in SITES]
    return torch.cat([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])


def train(seed: int, folder: Path = HERE) -> torch.nn.Module:
    """The model after rounds times epochs passes."""
    spec = yaml.safe_load((HERE / "job.yaml").read_text())["spec"]
    training = spec["training"]
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    model = HeartDisease().model()
    optimizer = torch.optim.SGD(model.parameters(), lr=float(training["optimizer"]["learningRate"]))
    inputs, targets = pooled("train.csv", folder)
    for _ in range(spec["rounds"] * training["epochs"]):
        for index in torch.randperm(len(inputs), generator=order).split(training["batchSize"]):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[index]), targets[index]).backward()
            optimizer.step()
    return model


def accuracy(seed: int, folder: Path = HERE) -> float:
    """Share of the pooled test rows that the pooled model gets right."""
    model = train(seed, folder)
    inputs, targets = pooled("test.csv", folder)
    with torch.no_grad():
        return float((model(inputs).argmax(dim=1) == targets).double().mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Trains on the pooled data.")
    parser.add_argument("--seed", type=int, default=7)
    torch.set_num_threads(1)
    print(f"pooled accuracy {accuracy(parser.parse_args().seed):.4f}")


if __name__ == "__main__":
    main()
