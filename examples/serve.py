"""Regulated pictures from Ray Serve: replicas that follow a bundle and are replaced when they die.

pip install '.[serve]'
UVR_BUNDLE=policy.uvr UVR_KEYS=keys.json serve run --app-dir examples serve:app

Each replica polls UVR_BUNDLE, a file, a folder or a URL, and takes up a newer release between two
pictures, without a restart. One that dies is started again by Ray with the release of then; one
without a bundle to serve fails its health check, gets no requests, and is started again.
"""

import asyncio
import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch
from ray import serve
from starlette.requests import Request

from uvr import DecisionLog, Regulator, named_request
from uvr.delivery.source import BundleSource
from uvr.engine.regulator import fits
from uvr.pipelines import load_pipeline

BUNDLE = os.environ.get("UVR_BUNDLE") or sys.exit(
    "UVR_BUNDLE is not set: name a bundle's file, folder or URL, such as UVR_BUNDLE=policy.uvr."
)
REPLICAS = int(os.environ.get("UVR_REPLICAS", "2"))
POLL_SECONDS = float(os.environ.get("UVR_POLL_SECONDS", "60"))


@serve.deployment(
    num_replicas=REPLICAS,
    max_ongoing_requests=1,  # a pipeline draws one call at a time; Ray sends it to whoever is free
    health_check_period_s=10,
    ray_actor_options={"num_cpus": 1, "num_gpus": int(torch.cuda.is_available())},
)
class Drawing:
    """One replica: a pipeline under a regulator for as long as it lives."""

    def __init__(self, bundle: str, keys: Path | None, state: Path) -> None:
        pipe, profile = load_pipeline(os.environ.get("UVR_MODEL", "testbed"), "t2i")
        source = BundleSource(bundle, keys=keys, state=state, poll_seconds=POLL_SECONDS,
                              accept=fits(pipe, profile))  # fmt: skip
        log = DecisionLog(state / f"decisions-{os.getpid()}.jsonl")
        self.regulator = Regulator(source.start(), profile=profile, on_decision=log)
        self.usual, self.attached = dict(profile.call), self.regulator.attach(pipe)
        self.regulated = self.attached.__enter__()

    async def __call__(self, request: Request) -> dict[str, Any]:
        """POST {"prompt": …, "seed": …}: the picture as PNG in base64, and what became of it."""
        wish, name = await request.json(), request.headers.get("x-request-id", "")
        # In a thread, so that the replica answers health checks while it draws.
        return await asyncio.to_thread(self._draw, str(wish["prompt"]), int(wish["seed"]), name)

    def _draw(self, prompt: str, seed: int, request: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        with named_request(request):
            images = self.regulated(prompt=prompt, generator=generator, **self.usual).images
        report, png = self.regulated.last, io.BytesIO()
        images[0].save(png, "PNG")
        verdict = report.verdicts[0]
        return {
            "request": report.request, "release": report.sequence, "outcome": verdict.outcome,
            "why": verdict.reason, "replica": os.getpid(),
            "png": base64.b64encode(png.getvalue()).decode(),
        }  # fmt: skip

    def check_health(self) -> None:
        """Ray asks this; what it raises makes the replica unhealthy."""
        status = self.regulator.status()
        if not status.healthy:
            raise RuntimeError(status.why)


keys_file = os.environ.get("UVR_KEYS")  # without: only for a place that nobody else can write
app = Drawing.bind(
    BUNDLE,
    Path(keys_file).absolute() if keys_file else None,
    Path(os.environ.get("UVR_STATE", "state")).absolute(),  # must outlive the replicas
)
