"""The ASGI application: site routes, blobs, probes, metrics. Built once by __main__."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fedaggregator.engine.engine import Engine
from fedaggregator.http import refusals
from fedaggregator.http.blobs import Blobs
from fedaggregator.http.signedurls import BLOBS
from fedaggregator.http.sites import SiteRoutes
from fedaggregator.metrics import REGISTRY


def application(engine: Engine, sites: SiteRoutes, blobs: Blobs) -> Starlette:
    """All routes."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        if engine.stopping:
            return PlainTextResponse("stopping", 503)
        return PlainTextResponse(engine.unready or "ready", 503 if engine.unready else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            *sites.routes(),
            Route(f"{BLOBS}/{{key:path}}", blobs, methods=["GET", "PUT"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ],
        exception_handlers=refusals.HANDLERS,
    )
