"""``monai-isles export``: write a bundle in the bundle specification's layout, with a zip to share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.errors import EXIT_DONE

if TYPE_CHECKING:
    from monai_isles.export import Exported


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle, e.g. bundles/clerigues")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for <name>/ and <name>.zip")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="state dict instead of BUNDLE/models/model.pt")
    parser.add_argument("--no-graphs", action="store_true", help="leave out TorchScript and ONNX")
    parser.add_argument("--force", action="store_true", help="DIR may be in use; an earlier export there is replaced")


def run(args: argparse.Namespace) -> int:
    """Export and say what was written."""
    from monai_isles.export import export_bundle

    done = export_bundle(args.bundle, args.out, weights=args.weights, graphs=not args.no_graphs, force=args.force)
    print(json.dumps(vars(done), default=str) if args.json else _text(done))
    return EXIT_DONE


def _text(done: Exported) -> str:
    lines = [f"{checksum}  {done.folder / name}" for name, checksum in done.checksums.items()]
    lines += [f"{name}: logits within {worst:.1g} of the network's" for name, worst in done.differences.items()]
    lines += [f"{name}: left out of the metadata, measured with other weights" for name in done.dropped]
    return "\n".join([*lines, f"{done.archive_sha256}  {done.archive}", "Research only, not a medical device."])
