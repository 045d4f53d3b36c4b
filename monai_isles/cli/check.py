"""``monai-isles check``: every finding of a data set, a data list or a bundle, without running anything."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from monai_isles.errors import EXIT_DONE, EXIT_REFUSED, EXIT_SOME_FAILED, EXIT_UNSAFE, refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder or list, ``--data``, ``--bundle`` and ``--unpack``."""
    parser.add_argument(
        "target",
        nargs="?",
        type=Path,
        metavar="DIR|LIST",
        help="data folder (ISLES 2018, 2015, plain), folder of DICOM series, or data list",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder of the list: its images are checked too")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle folder, one config file, or a zip")
    parser.add_argument("--strict", action="store_true", help="exit with 4 when any case has an error")
    parser.add_argument("--unpack", type=Path, metavar="DIR", help="new folder for a zip in which nothing is an error")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 0 clean, 3 when some cases of a folder have errors, 4 with others, 5 an unsafe bundle.

    Raises:
        IslesError: ``E-USE-01`` with nothing to check.
    """
    if args.target is None and args.bundle is None:
        raise refused("E-USE-01", where="monai-isles check", found="neither DIR nor --bundle")
    found = _findings(args)
    errors = [finding for finding in found if finding.severity == "error"]
    if args.json:
        print(
            json.dumps(
                {"errors": len(errors), "warnings": len(found) - len(errors), "findings": [vars(f) for f in found]}
            )
        )
    else:
        for finding in found:
            print(f"{finding.severity:7} {finding.code}: {finding.fault}")
            print(f"  where {finding.where}\n  found {finding.found}\n  fix   {finding.fix}")
        print(f"{len(errors)} errors, {len(found) - len(errors)} warnings")
        if bad := sorted({one.case for one in errors} - {""}):
            print(f"the other verbs leave out {len(bad)} cases: {', '.join(bad)}")
    if any(finding.code.startswith("E-SAFE-") for finding in errors):
        return EXIT_UNSAFE
    if not errors:
        return EXIT_DONE
    return EXIT_SOME_FAILED if not args.strict and _others_go_on(args, errors) else EXIT_REFUSED


def _others_go_on(args: argparse.Namespace, errors: list) -> bool:
    """Tell whether every error is that of one case, and other cases have none."""
    if args.target is None or not args.target.is_dir() or not all(one.case for one in errors):
        return False
    from monai_isles.data.checks import sound_cases

    return sound_cases(args.target, errors) > 0


def _findings(args: argparse.Namespace) -> list:
    from monai_isles.bundle.bundle import check_bundle
    from monai_isles.data.checks import check_folder, check_list

    found = check_bundle(args.bundle, unpack=args.unpack) if args.bundle is not None else []
    if args.target is None:
        return found
    if args.target.is_dir():
        from monai_isles.data.checks import check_series, holds_dicom_alone

        if holds_dicom_alone(args.target):
            return [*found, *check_series(args.target)]
        about = check_folder(args.target)
        return [*found, *about, *_mirror_findings(args.target, {one.case for one in about if one.severity == "error"})]
    return [*found, *check_list(args.target, args.data)]


def _mirror_findings(folder: Path, bad: set[str]) -> list:
    """Return a warning for every plain CT of a head that bundles with mirrored channels remark, or refuse (E-REG-05).

    Args:
        bad: cases with errors, which are passed over.
    """
    from monai_isles.data.layouts import scan_layout
    from monai_isles.progress import progress

    heads = {f"{scan.section} {scan.name}": scan.files["ct"] for scan in scan_layout(folder)[1] if "ct" in scan.files}
    sound = [(case, path) for case, path in heads.items() if case not in bad]
    return [one for pair in progress(sound, "registering mirrors", total=len(sound)) for one in _mirror_finding(*pair)]


def _mirror_finding(case: str, path: Path) -> list:
    from monai_isles.errors import IslesError
    from monai_isles.io.findings import WARNING, as_finding, finding
    from monai_isles.io.read import read_image
    from monai_isles.transforms.registration import mirror_or_midline

    try:
        head = read_image(path, kind="ct", where=case)
        remark = mirror_or_midline(head.data, head.spacing_mm[:2], where=case).remark
    except IslesError as error:
        return [replace(as_finding(error), severity=WARNING, case=case)]
    if not remark:
        return []
    code, _, told = remark.partition(": ")
    one = finding(code, WARNING, where=f"{case}: ct", found="", fix="look at the image; predict goes on, as found says")
    return [replace(one, found=told.removeprefix(one.fault).strip(), case=case)]
