"""llama.cpp's own server on this machine, on one thread as everything else in the tests."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any


def serve(path: Path, **more: Any) -> Any:
    """Start a server with a GGUF file; its ``listening_address`` answers while the object is held."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.warmup, parameters.verbosity = 2048, False, -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    for name, value in more.items():
        setattr(parameters, name, value)
    return xllamacpp.Server(parameters)


def ask(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what a server answers to a JSON body."""
    request = urllib.request.Request(
        f"{address}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return dict(json.load(answer))
