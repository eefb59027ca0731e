"""A web server of regulated pictures: POST /generate, GET /health, GET /metrics.

pip install '.[metrics]' fastapi uvicorn
UVR_BUNDLE=policy.uvr UVR_KEYS=keys.json uvicorn --app-dir examples server:app

UVR_BUNDLE is a file, a folder or a URL; a newer release there is taken up between two pictures.
"""

import io
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import torch
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from uvr import DecisionLog, Metrics, Regulator, named_request
from uvr.delivery.source import BundleSource
from uvr.pipelines import load_pipeline

BUNDLE = os.environ.get("UVR_BUNDLE") or sys.exit(
    "UVR_BUNDLE is not set: name a bundle's file, folder or URL, such as UVR_BUNDLE=policy.uvr."
)


class Wish(BaseModel):
    """What is to be drawn."""

    prompt: Annotated[str, Field(min_length=1, max_length=2000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the pipeline, follow the bundle and stay attached for as long as the server runs."""
    state = Path(os.environ.get("UVR_STATE", "state"))  # must outlive the process
    keys = os.environ.get("UVR_KEYS")  # without: only for a place that nobody else can write
    pipe, profile = load_pipeline(os.environ.get("UVR_MODEL", "testbed"), "t2i")
    source = BundleSource(BUNDLE, keys=Path(keys) if keys else None, state=state)
    counted = CollectorRegistry()
    metrics = Metrics(counted)
    with source, DecisionLog(state / "decisions.jsonl") as log:
        regulator = Regulator(source, profile=profile, on_decision=[log, metrics])
        metrics.watch(regulator, log)
        with regulator.attach(pipe) as regulated:
            app.state.regulated, app.state.usual = regulated, dict(profile.call)
            app.state.regulator, app.state.counted = regulator, counted
            app.state.turn = threading.Lock()  # `last` is this call's while it is held
            yield


app = FastAPI(lifespan=lifespan)


@app.post("/generate")
def generate(
    wish: Wish, request: Request, x_request_id: str = Header(default="", max_length=100)
) -> Response:
    """Draw a picture; headers tell the request's name, the verdict and why."""
    state, generator = request.app.state, torch.Generator().manual_seed(wish.seed)
    with named_request(x_request_id), state.turn:
        images = state.regulated(prompt=wish.prompt, generator=generator, **state.usual).images
        report = state.regulated.last
    png, verdict = io.BytesIO(), report.verdicts[0]
    images[0].save(png, "PNG")
    why = quote(verdict.reason)  # names are of any script, headers are not
    told = {"x-request-id": report.request, "x-outcome": verdict.outcome, "x-why": why}
    return Response(png.getvalue(), media_type="image/png", headers=told)


@app.get("/health")
def health(request: Request) -> JSONResponse:
    """Say which release is in use; 503 where nothing can be drawn."""
    status = request.app.state.regulator.status()
    return JSONResponse(status.to_dict(), status_code=200 if status.healthy else 503)


@app.get("/metrics")
def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    return Response(generate_latest(request.app.state.counted), media_type="text/plain")
