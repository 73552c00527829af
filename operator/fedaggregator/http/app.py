"""The ASGI application of the sites' port: site routes and blobs. Built once by __main__; probes are in monitoring.py."""

from starlette.applications import Starlette
from starlette.routing import Route

from fedaggregator.http import refusals
from fedaggregator.http.blobs import Blobs
from fedaggregator.http.signedurls import BLOBS
from fedaggregator.http.sites import SiteRoutes


def application(sites: SiteRoutes, blobs: Blobs) -> Starlette:
    """All routes."""
    return Starlette(
        routes=[*sites.routes(), Route(f"{BLOBS}/{{key:path}}", blobs, methods=["GET", "PUT"])],
        exception_handlers=refusals.HANDLERS,
    )
