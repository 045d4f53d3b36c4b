"""``monai-isles check``: list every finding of a data set, a data list or a bundle, without running anything."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_isles.errors import EXIT_DONE, EXIT_REFUSED, EXIT_SOME_FAILED, EXIT_UNSAFE, refused

if TYPE_CHECKING:
    from monai_isles.data.scans import Scan
    from monai_isles.io.findings import Finding


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder or list, ``--data``, ``--bundle`` and ``--unpack``."""
    add, target = parser.add_argument, "data folder of any layout, folder of DICOM series or studies, or data list"
    add("target", nargs="?", type=Path, metavar="DIR|LIST", help=target)
    add("--data", type=Path, metavar="DIR", help="data folder of the list: its images are checked too")
    add("--bundle", type=Path, metavar="BUNDLE", help="name or folder of a bundle, one config file, or a zip")
    add("--strict", action="store_true", help="exit with 4 when any case has an error")
    add("--unpack", type=Path, metavar="DIR", help="new folder for the content of a zip without errors")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 clean, 3 when some cases of a folder have errors, 4 with others, 5 an unsafe bundle."""
    if args.target is None and args.bundle is None:
        raise refused("E-USE-01", where="monai-isles check", found="neither DIR nor --bundle")
    result, scans = _findings(args)
    from monai_isles.data.checks import cases_left_out

    words = {"predict": "predict and predict-series", "training": "prepare, crossval and training"}
    left_out = {words[verb]: bad for verb, bad in cases_left_out(result, scans).items() if bad}
    errors = [finding for finding in result if finding.severity == "error"]
    counts = {"error": len(errors), "warning": len(result) - len(errors)}
    if args.json:
        record = {f"{word}s": number for word, number in counts.items()} | {"left_out": left_out}
        print(json.dumps(record | {"findings": [vars(f) for f in result]}))
    else:
        for finding in result:
            print(f"{finding.severity:7} {finding.code}: {finding.fault}")
            print(f"  where {finding.where}\n  found {finding.found}\n  fix   {finding.fix}")
        print(", ".join(f"{number} {word}{'s' * (number != 1)}" for word, number in counts.items()))
        for verbs, bad in left_out.items():
            print(f"{verbs} will leave out {len(bad)} case{'s' * (len(bad) > 1)}: {', '.join(bad)}")
    if any(finding.code.startswith("E-SAFE-") for finding in errors):
        return EXIT_UNSAFE
    if not errors:
        return EXIT_DONE
    others = len({f"{scan.section} {scan.name}" for scan in scans} - {error.case for error in errors})
    go_on = not args.strict and others > 0 and all(error.case for error in errors)
    return EXIT_SOME_FAILED if go_on else EXIT_REFUSED


def _findings(args: argparse.Namespace) -> tuple[list[Finding], list[Scan]]:
    """Return the findings about bundle, folder or list, and the cases that were checked."""
    from monai_isles.bundle.bundle import check_bundle
    from monai_isles.data.checks import check_folder, check_list
    from monai_isles.data.scans import no_case

    findings = check_bundle(args.bundle, unpack=args.unpack) if args.bundle is not None else []
    if args.target is None:
        return findings, []
    if not args.target.exists() and args.target.suffix.lower() != ".json":
        raise no_case(args.target)  # a data list would be asked for
    needs, head = ({}, None) if args.bundle is None or findings else _needs_of(args.bundle)
    about, scans = check_folder(args.target, **needs) if args.target.is_dir() else check_list(args.target, args.data)
    bad = {item.case for item in about if item.severity == "error"}
    return [*findings, *about, *_mirror_findings(scans, bad, head)], scans


def _needs_of(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the modalities that a bundle needs (``keys``) and may read, and the image whose mirror it registers."""
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.bundle.configs import case_keys

    bundle = Bundle.open(path)
    if not bundle.root.is_dir():  # one config file: an overlay of the bundle in whose folder it lies
        home = path.parent.parent if path.parent.name == "configs" else path.parent
        bundle = Bundle.open(home, overlays=[path.name])
        if path.name == "inference.json" or bundle.find("inference.json") is None:
            return {}, None
    config = bundle.config("inference")
    return case_keys(config), config["mirror_head"] if "mirror_head" in config else None


def _mirror_findings(scans: Sequence[Scan], bad: set[str], head: str | None) -> list[Finding]:
    """Return a warning for every head that a bundle with mirrored channels would remark on or refuse."""
    from monai_isles.errors import IslesError
    from monai_isles.io.findings import WARNING, as_finding, finding
    from monai_isles.io.read import read_image
    from monai_isles.progress import progress
    from monai_isles.transforms.registration import CT_WINDOW, mirror_or_midline

    # the image whose mirror is registered: the plain CT in plane, one of the MR images in space
    heads, findings = [head] if head else ["ct", "flair", "t1c", "t1", "dwi"], []
    for scan in progress(scans, "registering mirrors"):
        case, key = f"{scan.section} {scan.name}", next((key for key in heads if key in scan.files), None)
        if key is None or case in bad:
            continue
        axes, window = (2, CT_WINDOW) if key == "ct" else (3, None)
        try:
            image = read_image(scan.files[key], kind=key, where=case)
            remark = mirror_or_midline(image.data, image.spacing_mm[:axes], window=window, where=case).remark
        except IslesError as error:
            findings.append(replace(as_finding(error), severity=WARNING, case=case))
            continue
        if remark:
            code, _, text = remark.partition(": ")
            fix = "check the image; predict continues as stated above"
            item = finding(code, WARNING, where=f"{case}: {key}", found="", fix=fix)
            findings.append(replace(item, found=text.removeprefix(item.fault).strip(), case=case))
    return findings
