"""The CustomResourceDefinition objects: names, columns, subresources and schema of each kind. Pure.

`python -m fedapi.crd` writes them (see __main__.py); tests check that the files in crds/ and the chart are fresh.
"""

from pydantic import BaseModel

from fedapi import names
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.fields import VALIDATIONS, rule
from fedapi.crd.flclient import FLClientSpec, FLClientStatus
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.crd.schema import structural
from fedapi.jsonvalue import Json


def _column(name: str, path: str, description: str, *, type_: str = "string", wide: bool = False) -> Json:
    return {
        "name": name, "type": type_, "jsonPath": path, "description": description, **({"priority": 1} if wide else {})
    }  # fmt: skip


_AGE = _column("Age", ".metadata.creationTimestamp", "Time since creation.", type_="date")
_JOB_COLUMNS = [
    _column("Phase", ".status.phase", "One word for the eye."),
    _column("Round", ".status.round.progress", "Committed and total rounds."),
    _column("Clients", ".status.participants", "Updates accepted of sites selected."),
    _column("Metric", ".status.headlineMetric", "`stop.metric`, else accuracy, else the first metric by name."),
    _column("Epsilon", ".status.privacy.epsilon", "Of one site, at spec.privacy's delta: what all rounds have spent."),
    _column(
        "Record-Epsilon",
        ".status.recordPrivacy.epsilon",
        "Of one record, at spec.privacy.dpSGD's delta: the largest that a site has spent.",
        wide=True,
    ),
    _column("Strategy", ".spec.strategy.name", "How updates become the next model.", wide=True),
    _column("Model", ".status.model.uri", "Last committed model.", wide=True),
    _column("Aggregator", ".status.children.aggregator", "Deployment of the aggregator.", wide=True),
    _column(
        "Backup", ".status.backup.verifiedTime", "Age of the last verification of a backup.", type_="date", wide=True
    ),
    _AGE,
]
_CLIENT_COLUMNS = [
    _column("Provider", ".spec.provider", "Where the site's machines are."),
    _column("Region", ".spec.region", "Region of the provider."),
    _column("Accelerator", ".status.accelerators", "What the site trains on: pods x devices, or a TPU topology."),
    _column("Ready", ".status.conditions[?(@.type=='Ready')].status", "Whether the site can take part."),
    _column("Active", ".status.active", "Heard from within 5 minutes.", type_="boolean"),
    _column(
        "Last-Round",
        ".status.participation.lastRound",
        "Last round with an accepted update, of the job that was counted last.",
        type_="integer",
    ),
    _column("Accepted", ".status.participation.accepted", "Rounds of all jobs that have its update.", type_="integer"),
    _AGE,
]


def _crd(
    kind: str,
    plural: str,
    short: str,
    spec: type[BaseModel],
    status: type[BaseModel],
    columns: list[Json],
    description: str,
    selectable: list[str],
) -> Json:
    schema = {
        "description": description,
        "type": "object",
        "required": ["spec"],
        VALIDATIONS: [
            rule(
                "size(self.metadata.name) <= 52 && !self.metadata.name.contains('.')"
                if kind == names.JOB_KIND
                else "size(self.metadata.name) <= 63",
                "metadata.name is too long or has a dot: use at most 52 characters, letters, digits and hyphens"
                if kind == names.JOB_KIND
                else "metadata.name is too long: use at most 63 characters",
            )
        ],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the API, fedloom.dev/v1alpha1."},
            "kind": {"type": "string", "description": f"Always {kind}."},
            "metadata": {"type": "object"},
            "spec": structural(spec) | {"description": (spec.__doc__ or "").strip()},
            "status": structural(status, defaults=False) | {"description": (status.__doc__ or "").strip()},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "selectableFields": [{"jsonPath": path} for path in selectable],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def definitions() -> dict[str, Json]:
    """File name -> CustomResourceDefinition, for every kind."""
    return {
        f"{names.GROUP}_{names.JOB_PLURAL}.yaml": _crd(
            names.JOB_KIND, names.JOB_PLURAL, "fj", FederatedJobSpec, FederatedJobStatus, _JOB_COLUMNS,
            "FederatedJob trains one model over many sites without moving their data.",
            [".spec.managedBy", ".status.phase"],
        ),
        f"{names.GROUP}_{names.CLIENT_PLURAL}.yaml": _crd(
            names.CLIENT_KIND, names.CLIENT_PLURAL, "flc", FLClientSpec, FLClientStatus, _CLIENT_COLUMNS,
            "FLClient is one site: where it is, the machines it trains on, and its own data.",
            [".spec.provider"],
        ),
    }  # fmt: skip
