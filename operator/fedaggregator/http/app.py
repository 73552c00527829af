"""The ASGI application of the sites' port: site routes, those of the init Job, blobs. Built once by __main__; probes are in monitoring.py."""

from starlette.applications import Starlette
from starlette.routing import Route

from fedaggregator.http import refusals
from fedaggregator.http.blobs import Blobs
from fedaggregator.http.initial import InitialRoutes
from fedaggregator.http.signedurls import BLOBS
from fedaggregator.http.sites import SiteRoutes


def application(sites: SiteRoutes, initial: InitialRoutes, blobs: Blobs | None) -> Starlette:
    """All routes; without blobs where an object store serves them."""
    served = [Route(f"{BLOBS}/{{key:path}}", blobs, methods=["GET", "PUT"])] if blobs else []
    return Starlette(routes=[*sites.routes(), *initial.routes(), *served], exception_handlers=refusals.HANDLERS)
