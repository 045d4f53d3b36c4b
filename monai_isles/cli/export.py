"""``monai-isles export``: write a bundle in the specification's layout, an nnU-Net data set, or a submission."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from textwrap import indent

from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, refused
from monai_isles.modalities import MODALITIES


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="bundle folder, e.g. bundles/clerigues")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for <name>/ and <name>.zip")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="state dict instead of BUNDLE/models/model.pt")
    parser.add_argument("--postprocessing", type=Path, metavar="FILE", help="threshold and size from `search`")
    overlay = "overlays of the bundle for training and prediction; label.json is for MONAI Label"
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help=overlay)
    parser.add_argument("--zoo", action="store_true", help="with the model zoo's name, unit test and file list")
    parser.add_argument("--url", help="with --zoo: address of the folder for files over 25 MB")
    parser.add_argument("--no-graphs", action="store_true", help="leave out TorchScript and ONNX")
    parser.add_argument("--force", action="store_true", help="allow an existing DIR; replace an earlier export there")
    other = parser.add_argument_group("instead of a bundle, from a data list")
    other.add_argument("--nnunet", action="store_true", help="write the list as an nnU-Net v2 data set with its folds")
    other.add_argument("--challenge", metavar="DESCRIPTION", help="pack DIR/submission.zip of the list's test section")
    other.add_argument("--data-list", type=Path, metavar="FILE", help="the data list")
    other.add_argument("--dataset-dir", type=Path, metavar="DIR", help="root folder of its paths")
    other.add_argument("--pred", type=Path, metavar="DIR", help="with --challenge: output folder of predict")
    image = "with --challenge: image whose name ends in the case's id (default: ct, flair, t1c or adc, as listed)"
    other.add_argument("--id-of", choices=list(MODALITIES), metavar="MODALITY", help=image)
    other.add_argument("--number", type=int, default=501, help="with --nnunet: number of the data set (default: 501)")
    images = "with --nnunet: its channels (default: CT and its maps; of an MRI list the images that every case has)"
    other.add_argument("--modalities", nargs="+", choices=list(MODALITIES), metavar="MODALITY", help=images)
    other.add_argument("--name", help="with --nnunet: name of the data set (default: the list's)")


def run(args: argparse.Namespace) -> int:
    """Export and print the written files."""
    wanted = {"BUNDLE": args.bundle is not None, "--nnunet": args.nnunet, "--challenge": args.challenge is not None}
    needed = {"--data-list": args.data_list, "--dataset-dir": args.dataset_dir} if args.bundle is None else {}
    needed |= {"--pred": args.pred} if args.challenge is not None else {}
    missing = [option for option, value in needed.items() if value is None]
    chosen = [name for name, there in wanted.items() if there]
    if len(chosen) != 1 or missing:
        found = f"{', '.join(chosen) or 'nothing'}; missing: {', '.join(missing) or '-'}"
        raise refused("E-USE-20", where="monai-isles export", found=found)
    done, text = {"BUNDLE": _bundle, "--nnunet": _nnunet, "--challenge": _challenge}[chosen[0]](args)
    print(json.dumps(vars(done), default=str) if args.json else text)
    return EXIT_SOME_FAILED if getattr(done, "left_out", None) else EXIT_DONE


def _bundle(args: argparse.Namespace) -> tuple[object, str]:
    from monai_isles.export.bundle import export_bundle
    from monai_isles.inference.predictor import read_postprocessing

    chosen = read_postprocessing(args.postprocessing) if args.postprocessing else None
    graphs = not args.no_graphs
    options = {"weights": args.weights, "graphs": graphs, "force": args.force, "settings": chosen, "zoo": args.zoo}
    done = export_bundle(args.bundle, args.out, overlays=args.overlay, url=args.url, **options)
    lines = [f"{checksum}  {done.folder / name}" for name, checksum in done.checksums.items()]
    lines += [f"{name}: logits within {worst:.1g} of the network's" for name, worst in done.differences.items()]
    lines += [f"{name}: left out of the metadata, of other weights" for name in done.dropped]
    if args.weights and not chosen:
        lines.append("threshold and smallest lesion: the bundle's; --postprocessing FILE sets those of your weights")
    return done, "\n".join([*lines, f"{done.archive_sha256}  {done.archive}", "Research only, not a medical device."])


def _nnunet(args: argparse.Namespace) -> tuple[object, str]:
    from monai_isles.export.nnunet import export_nnunet

    named = {"number": args.number, "name": args.name, "modalities": args.modalities}
    done = export_nnunet(args.data_list, args.dataset_dir, args.out, **named)
    left_out = [f"{case}: left out\n{indent(reason, '  ')}\n" for case, reason in done.left_out.items()]
    return done, "".join(left_out) + (
        f"{done.folder}: {done.training} training and {done.test} test cases, {done.folds} folds grouped by subject\n"
        f"copy splits_final.json to nnUNet_preprocessed/{done.folder.name}/ after planning, before training"
    )


def _challenge(args: argparse.Namespace) -> tuple[object, str]:
    from monai_isles.export.challenge import export_challenge

    archive = args.out / "submission.zip"
    options = {"description": args.challenge, "id_of": args.id_of}
    done = export_challenge(args.pred, args.data_list, args.dataset_dir, archive, **options)
    listed = [f"{case}: {name}" for case, name in done.names.items()]
    return done, "\n".join(
        [*listed, f"{done.sha256}  {done.archive}", "Naming as published by the ISLES challenges, not verified here."]
    )
