"""`fedloom model card`: what a job's model is made of, from its records. Beside commands.py.

The same card as the aggregator keeps beside the history of a finished job. Exit codes: 0, 1 it cannot be made, 2 bad input.
"""

from typing import Annotated, Literal

import typer

from fedapi.wire.message import NewerRecordError
from fedcli import jobrecords
from fedcli.errors import CommandError
from fedcli.jobrecords import (
    ContextOption,
    CredentialsOption,
    JobArgument,
    KubeconfigOption,
    NamespaceOption,
    StoreOption,
    WorkdirOption,
)
from fedstore import cardpage, modelcard
from fedstore.errors import HistoryDamagedError, MissingError


def card(
    job: JobArgument = None,
    output: Annotated[
        Literal["markdown", "json"], typer.Option("--output", "-o", help="markdown: for people; json: for programs.")
    ] = "markdown",
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Shows a job's model card: sites and samples, rounds, settings, metrics, digests."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    try:
        with jobrecords.opened(modelcard.RECORDS, job, store, workdir, credentials, where) as (readable, layout):
            made = modelcard.card(readable, layout)
    except (HistoryDamagedError, MissingError, NewerRecordError) as error:
        raise CommandError(f"the card cannot be made: {error}") from error
    typer.echo(made.text() if output == "json" else cardpage.page(made), nl=False)
