"""``healthfm embed``."""

from __future__ import annotations

import hashlib
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healthfm.cli.console import emit_json, emit_table, kept_here, progress_bar
from healthfm.cli.options import (
    AllowRemote,
    Columns,
    Device,
    JsonFlag,
    ModelName,
    Root,
    Split,
    Weights,
    Window,
    column_map,
    row_names,
)

if TYPE_CHECKING:
    from healthfm.embed.run import Embeddings

SHOWN = 5


def register(app: typer.Typer) -> None:
    @app.command()
    def embed(
        model: ModelName,
        items: Annotated[
            list[str],
            typer.Argument(
                help="Files, folders, globs, slides, manifests (CSV, Parquet), or datasets by name.",
                autocompletion=row_names("dataset"),
            ),
        ],
        output: Annotated[
            Path | None, typer.Option(help="Folder for the vectors (default: runs/embed--MODEL--DIGEST).")
        ] = None,
        weights: Weights = None,
        root: Root = None,
        split: Split = None,
        precision: Annotated[
            str,
            typer.Option(
                help="auto (float32 on CPU), float32, bfloat16, or int8 (CPU); checked on the first pictures."
            ),
        ] = "auto",
        calibration: Annotated[
            list[str] | None, typer.Option(help="Pictures for int8's ranges (repeatable; default: some of the items).")
        ] = None,
        mpp: Annotated[
            float | None, typer.Option(help="Tiles of slides at this many micrometres per pixel (default: the card's).")
        ] = None,
        coords: Annotated[
            Path | None,
            typer.Option(
                help="Slides: take the tiles that TRIDENT, CLAM or slide2vec chose from this folder "
                "(NAME_patches.h5, NAME.h5, NAME.coordinates.npz)."
            ),
        ] = None,
        features: Annotated[
            Path | None,
            typer.Option(
                help="Slides: also write vectors and places as NAME.h5 to this folder, as TRIDENT and CLAM do."
            ),
        ] = None,
        window: Window = None,
        device: Device = "auto",
        engine: Annotated[str, typer.Option(help="auto (OpenVINO on CPU where installed), or torch.")] = "auto",
        compile: Annotated[bool, typer.Option("--compile", help="torch.compile, on a GPU.")] = False,
        allow_remote: AllowRemote = None,
        columns: Columns = None,
        map: Annotated[
            bool,
            typer.Option(
                "--map",
                help="Also draw the vectors on two axes (PCA, and UMAP where installed) by class, site and split: map.html.",
            ),
        ] = False,
        json: JsonFlag = False,
    ) -> None:
        """Embed pictures, slides or texts: a folder of vectors that a kill does not harm and other commands find again.

        The same command goes on where it stopped and tries again what could not be read; exit code 1 says that something could
        not. How each stage did is shown at the end: the slowest is what to look at.

        Example: healthfm embed uni slides/*.svs photos/ --output uni-vectors

        Example: healthfm embed uni ./skin --map
        """
        began = time.perf_counter()
        from healthfm.embed import engines
        from healthfm.embed.items import gather
        from healthfm.embed.plan import items_digest
        from healthfm.embed.run import embed as run_embed
        from healthfm.errors import CapabilityError, RunError
        from healthfm.models.load import load_model
        from healthfm.records import Visual, Volume
        from healthfm.report import embedding

        if engine not in ("auto", "torch"):
            raise RunError(f"--engine is '{engine}'; use auto or torch")
        served = kept_here(model, allow_remote)
        loaded = load_model(model, weights, device=device, endpoint=served)
        again = engines.loaded_for(loaded, precision)
        if again is not None:
            loaded = load_model(model, weights, device=device, dtype=again, endpoint=served)
        if "embed" not in loaded.capabilities:
            raise CapabilityError(f"{loaded.name} cannot embed; it can {', '.join(sorted(loaded.capabilities))}")
        texts = not any(issubclass(kind, Visual) for kind in loaded.takes)
        if window is not None:
            loaded.show_between(*window)
        loading = time.perf_counter() - began
        found = gather(items, texts, root, split, column_map(columns))
        if window is not None and not any(isinstance(item.content, Volume) for item in found.found):
            print("notice: --window changes nothing here: no item is a volume", file=sys.stderr)
        held_out = gather(calibration, texts) if calibration else None
        if output is None:
            asked = (
                f"{items_digest(found.found)} {precision} {mpp} {window}{f' {coords}' if coords is not None else ''}"
            )
            asked = hashlib.sha256(asked.encode()).hexdigest()[:8]
            output = Path("runs") / f"embed--{loaded.name.replace(':', '-')}--{asked}"
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with progress_bar(f"{loaded.name}", quiet=json) as advance:
                made = run_embed(
                    loaded, found, output, precision=precision, calibration=held_out, mpp=mpp, coords=coords, features=features,
                    engine=engine, compiled=compile, progress=advance,
                )  # fmt: skip
        except KeyboardInterrupt:
            print("healthfm: stopped; finished parts are kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None
        for notice in [*made.manifest["notices"], *made.manifest["model_notices"]]:
            print(f"notice: {notice}", file=sys.stderr)
        drawn = embedding.write(made, found.found) if map else None
        if json:
            passed = [{"file": file, "reason": reason} for file, reason in found.passed]
            emit_json(
                {
                    "path": str(made.path),
                    **made.manifest,
                    "failures": made.failures,
                    "passed_over": passed,
                    **({"map": str(drawn)} if drawn else {}),
                }
            )
        else:
            show(made, "texts" if texts else "pictures", loading)
            if drawn is not None:
                print(f"map  {drawn}")
        if made.failures:
            raise typer.Exit(1)


def show(made: Embeddings, what: str, loading: float) -> None:
    """Print how the stages did, on what (pictures or texts), after ``loading`` seconds; what the vectors are, what could not be read."""
    from healthfm.embed.run import slowest

    stages = made.manifest.get("stages")
    if stages is not None:
        rows = [
            ("load", "", f"{loading:.1f}", "", ""),
            ("compile, check", "", f"{stages.get('start_seconds', 0.0):.1f}", "", ""),
        ]
        rows += [
            (name, one["units"], f"{one['seconds']:.1f}", f"{one['share']:.0%}", _rate(one["alone_per_second"]))
            for name, one in stages["stages"].items()
        ]
        emit_table(("stage", what, "busy s", "share", f"{what}/s alone"), rows)
        found = slowest(stages)
        if found is not None:
            name, alone, whole = found
            print(f"slowest stage: {name}; it alone would do {_rate(alone)} {what}/s, the run did {_rate(whole)}")
    check, key = made.manifest.get("check") or {}, made.manifest.get("key") or {}
    print(f"arithmetic: {key.get('engine', 'the caller')}, {key.get('precision', 'unknown')}{_told(check)}")
    if key.get("random"):
        print(f"notice: {made.manifest['weights']}: the vectors mean nothing")
    for one in made.failures[:SHOWN]:
        print(f"failed: {one['id']}: {one['problem']}")
    if len(made.failures) > SHOWN:
        print(f"... and {len(made.failures) - SHOWN} more")
    if made.failures:
        print(
            f"{len(made.failures)} without a vector: {made.path / 'failures.jsonl'}; the same command tries them again (a file that is changed is another request)"
        )
    if passed := made.manifest["passed_over"]["told"]:
        print(f"{passed}: {made.path / 'passed_over.jsonl'}")
    counts = f"{len(made.failures)} failed, {made.manifest['passed_over']['count']} passed over"
    print(f"{made.manifest['vectors']} vectors in {made.path}; {counts}")


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _told(check: dict[str, object]) -> str:
    if "openvino" in check:
        why = check["openvino"]
        return f" (not OpenVINO: {why['refused']})"  # type: ignore[index]
    if not check:
        return ""
    centred = check["centred_cosine"]
    told = f"{centred:.5f}" if isinstance(centred, float) else "not defined"
    return (
        f"; beside torch's float32 on the first {check['units']}: relative difference {check['relative_difference']:.1e}, "
        f"cosine {check['cosine']:.6f}, batch-centred {told}"
    )
