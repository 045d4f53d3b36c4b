"""``monai-isles predict --from-series``: from the scanner's series to maps, core, lesion, page and DICOM."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.cli.predict_options import chosen_changes, records_text
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, IslesError, find_isles_error

if TYPE_CHECKING:
    from monai_isles.evaluation.scanner import MeasuredStudy

_FAULTS = (IslesError, RuntimeError, ValueError, OSError, MemoryError)
_GIVEN = ("ct", "cbf", "cbv", "mtt", "tmax", "ttp", "ctp")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that belong to a series."""
    group = parser.add_argument_group("from the scanner", "instead of CASE_DIR: the series itself, one study each")
    group.add_argument(
        "--from-series",
        nargs="+",
        default=[],
        metavar="SERIES",
        help="DICOM folders, 4D NIfTI files, or folders with one (and ct.nii.gz); makes maps, core and lesion of each",
    )
    group.add_argument("--dt", type=float, metavar="S", help="seconds between frames, instead of the file's (NIfTI)")
    group.add_argument("--dicom-maps", action="store_true", help="also write the maps as DICOM parametric maps")
    group.add_argument("--no-dicom", action="store_true", help="leave out <case>/lesion_seg.dcm")
    group.add_argument(
        "--show-patient", action="store_true", help="print name, number and dates of the DICOM header on the page"
    )


def require_one_way(args: argparse.Namespace) -> None:
    """Refuse neither or both of CASE_DIR and --from-series.

    Raises:
        IslesError: ``E-USE-40``.
    """
    if bool(args.inputs) == bool(args.from_series):
        raise IslesError(
            "E-USE-40",
            "inputs are not clear",
            where="monai-isles predict",
            found="both case folders and --from-series" if args.inputs else "neither case folders nor --from-series",
            fix="give CASE_DIR ... or --from-series SERIES ...",
        )


def run(args: argparse.Namespace) -> int:
    """Measure and predict each study alone; 3 when some failed."""
    from monai_isles.inference.threads import use_threads
    from monai_isles.io import RunFolder

    use_threads(args.threads)
    from monai_isles.evaluation.seen_range import read_metadata
    from monai_isles.export.bids_results import publish_bids
    from monai_isles.export.scanner_results import Wanted
    from monai_isles.inference import load_predictor

    changes, modalities = chosen_changes(args)
    _require_given(modalities, args.bundle)
    out, weights = Path(args.out), [Path(w) for w in args.weights]
    predictor = load_predictor(Path(args.bundle), out, weights=weights, device=args.device, changes=changes)
    wanted = Wanted(
        report=not args.no_report,
        dicom=not args.no_dicom,
        dicom_maps=args.dicom_maps,
        show_patient=args.show_patient,
        metadata=read_metadata(Path(args.bundle)),
    )
    with RunFolder(out) as held:
        measured, records = _measured(args, out, series="ctp" in modalities, device=str(predictor.device))
        records |= _predicted(predictor, measured, out, wanted, entropy=args.entropy)
        if args.bids:
            publish_bids(out, [one.entry for name, one in measured.items() if records[name]["outcome"] != "failed"])
        record = {
            "kind": "prediction from series",
            "bundle": predictor.bundle,
            "weights": predictor.weights,
            "cases": records,
            "settings": predictor.settings,
        }
        held.finish(record)
    print(json.dumps(record, indent=2) if args.json else records_text(records, out))
    return EXIT_SOME_FAILED if any(r["outcome"] == "failed" for r in records.values()) else EXIT_DONE


def _measured(
    args: argparse.Namespace, out: Path, *, series: bool, device: str
) -> tuple[dict[str, MeasuredStudy], dict[str, dict[str, object]]]:
    """Return the studies whose maps are there, and a record of those that failed; one takes no other along."""
    from monai_isles.data.study import find_study, name_studies
    from monai_isles.evaluation.scanner import measure_study
    from monai_isles.progress import progress

    found, records, measured = [], {}, {}
    for n, path in enumerate(args.from_series, start=1):
        try:
            found.append(find_study(path))
        except _FAULTS as error:
            records[f"study {n}"] = _failed(error)
    for study, name in progress(list(zip(found, name_studies(found), strict=True)), "maps", total=len(found)):
        try:
            measured[name] = measure_study(study, name, out, dt_s=args.dt, series=series, device=device)
        except _FAULTS as error:
            records[name] = _failed(error)
    return measured, records


def _predicted(
    predictor: object, measured: Mapping[str, MeasuredStudy], out: Path, wanted: object, *, entropy: bool
) -> dict[str, dict[str, object]]:
    from monai_isles.export.scanner_results import publish_results
    from monai_isles.inference import predict_cases, publish_entropy

    for name, one in measured.items():
        _forget_unfinished(out / name, wanted.files(one), wanted.show_patient)

    def after(entry: Mapping[str, object], maps: Mapping[str, object], result: dict[str, object]) -> None:
        name = str(entry["case"])
        publish_results(measured[name], maps, result, out / name, wanted)

    records = predict_cases(predictor, [one.entry for one in measured.values()], out, after=after)
    for name in (name for name, one in records.items() if entropy and one["outcome"] != "failed"):
        publish_entropy(out / name)
    return records


def _forget_unfinished(folder: Path, files: Sequence[str], patient: bool) -> None:
    """Take the mark of being done from a case that lacks a result now wanted."""
    mark = folder / "result.json"
    try:
        shown = json.loads(mark.read_bytes()).get("patient_shown") == patient
    except (OSError, ValueError, AttributeError):
        shown = True
    if not shown or not all((folder / name).is_file() for name in files):
        mark.unlink(missing_ok=True)


def _failed(error: BaseException) -> dict[str, object]:
    return {"outcome": "failed", "error": str(find_isles_error(error) or f"{type(error).__name__}: {error}")}


def _require_given(modalities: Sequence[str], bundle: str) -> None:
    missing = [key for key in modalities if key not in _GIVEN]
    if missing:
        raise IslesError(
            "E-SCAN-04",
            "the bundle reads images that a CT perfusion series does not give",
            where=str(bundle),
            found=", ".join(missing),
            fix="choose a bundle for CT perfusion, for example bundles/clerigues or bundles/threshold",
        )
