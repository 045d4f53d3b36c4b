"""Parameters, peak memory and seconds a slice of a bundle's network, as it is and under each overlay.

``python benchmarks/networks.py bundles/abulnaga --overlays unet2d.json unet3d.json`` prints one line each: the network
in evaluation mode on one slice (a volume for 3D networks), and with ``--train-batch`` one training step too. Memory is
the peak of the process, or of what torch holds on a GPU, above what was there before the network was built; every line
comes from a process of its own. The input is random: nothing here depends on data.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bench

BUNDLE = Path(__file__).parents[1] / "bundles" / "clerigues"


def main(words: Sequence[str] | None = None) -> int:
    """Measure the bundle as it is, then under each overlay."""
    parser = bench.arguments(__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=BUNDLE, help="default: bundles/clerigues")
    parser.add_argument("--overlays", nargs="*", default=[], metavar="NAME", help="measured one by one")
    parser.add_argument("--size", type=int, default=256, help="side of the slices (default: 256)")
    parser.add_argument("--slices", type=int, default=4, help="slices of a volume, for 3D networks (default: 4)")
    parser.add_argument("--train-batch", type=int, default=0, help="items of a training step (default: no step)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = bench.begin(parser, words)
    if args.only is not None:
        print(json.dumps(measure(args, args.only)), flush=True)
        return 0
    given = list(sys.argv[1:] if words is None else words)
    for overlay in ["", *args.overlays]:
        command = [sys.executable, __file__, *given, f"--only={overlay}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        said = (
            f"{found['parameters_m']} M parameters, {found['seconds_per_slice']} s a slice of {found['shape'][2]} x "
            f"{found['shape'][3]}, {found['peak_memory_mb']} MB"
        )
        name = Path(overlay).stem or found["network"]
        bench.keep({"subject": "networks", "row": f"{args.bundle.name}, {name}", "said": said, **found}, args)
    return 0


def measure(args: argparse.Namespace, overlay: str) -> dict[str, object]:
    """Return what one network needs; units are in the names."""
    import torch
    from monai.bundle import ConfigParser

    files = [str(args.bundle / name) for name in ("inference.json", *([overlay] if overlay else []))]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    flat = "spatial_dims" not in parser or parser.get_parsed_content("spatial_dims") == 2
    before = _peak_mb(args.device)
    network = parser.get_parsed_content("network_def").to(args.device).eval()
    known = parser["channels"] if "channels" in parser else parser["modalities"]
    channels = getattr(network, "in_channels", len(known))
    side = 64 if args.quick else args.size
    shape = (channels, side, side, *(() if flat else (args.slices,)))
    image, slices = torch.randn(1, *shape, device=args.device), 1 if flat else args.slices
    with torch.inference_mode():
        seconds = _median(lambda: network(image), args.device, args.rounds)
    found = {
        "overlay": overlay or None,
        "network": type(network).__name__,
        "parameters_m": round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else f"cpu, threads {args.threads}",
        "shape": [1, *shape],
        "seconds_per_slice": round(seconds / slices, 3),
        "peak_memory_mb": round(_peak_mb(args.device) - before),
    }
    if args.train_batch:
        batch = torch.randn(args.train_batch, *shape, device=args.device)
        network.train()
        step = _median(lambda: network(batch).square().mean().backward(), args.device, args.rounds)
        found["training_seconds_per_slice"] = round(step / slices / args.train_batch, 3)
        found["training_memory_mb"] = round(_peak_mb(args.device) - before)
    return found


def _median(run: Callable[[], object], device: str, rounds: int) -> float:
    import torch

    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _peak_mb(device: str) -> float:
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    raise SystemExit(main())
