"""``monai-isles predict --from-series``: from the scanner's series to maps, core, lesion, page and DICOM."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_isles.cli.options import chosen_bundle, records_text
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED, refused

if TYPE_CHECKING:
    from monai_isles.cohort.task import Place
    from monai_isles.workflows.series_results import Wanted

_GIVEN = ("ct", "cbf", "cbv", "mtt", "tmax", "ttp", "ctp")
_OF_CASES = {"data_list": None, "section": "training", "folds": None}
_OF_SERIES = {"dt": None, "dicom_maps": False, "no_dicom": False, "show_patient": False}


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
    """Refuse neither or both of CASE_DIR and --from-series, and options of the one with the other.

    Raises:
        IslesError: ``E-USE-40``; ``E-USE-62`` an option of data lists with a series, ``E-USE-63`` one of series
            without.
    """
    if bool(args.inputs) == bool(args.from_series):
        raise refused(
            "E-USE-40",
            where="monai-isles predict",
            found="both case folders and --from-series" if args.inputs else "neither case folders nor --from-series",
        )
    if args.from_series and (given := _given(args, _OF_CASES)):
        raise refused("E-USE-62", where="--from-series", found=given)
    if not args.from_series and (given := _given(args, _OF_SERIES)):
        raise refused("E-USE-63", where="monai-isles predict", found=given)


def _given(args: argparse.Namespace, defaults: Mapping[str, object]) -> str:
    names = [name for name, default in defaults.items() if getattr(args, name) != default]
    return ", ".join("--" + name.replace("_", "-") for name in names)


def run(args: argparse.Namespace, place: Place) -> int:
    """Measure and predict each study alone; 3 when some failed."""
    from monai_isles.inference.malloc import use_threads
    from monai_isles.io.runs import RunFolder

    use_threads(args.threads)
    from monai_isles.cohort.task import stands_elsewhere
    from monai_isles.data.study import find_studies
    from monai_isles.perfusion.trained import TRAINING_MAPS, require_settings
    from monai_isles.workflows.bids_results import publish_bids
    from monai_isles.workflows.measure_study import maps_of
    from monai_isles.workflows.predict import recipe_of
    from monai_isles.workflows.predict_series import SeriesWay, predict_studies

    bundle, changes, modalities = chosen_bundle(args)
    require_given(modalities, args.bundle)
    out, weights = Path(args.out), [Path(w) for w in args.weights]
    chosen = {"weights": weights, "device": args.device, "changes": changes}
    kept = {"cache_dir": args.cache, "cache_gb": args.cache_gb}
    recipe = recipe_of(bundle, out, **chosen, **kept, elsewhere=stands_elsewhere(place))
    predictor = recipe.load()
    metadata = bundle.metadata_of(list(predictor.weights.values()))
    if TRAINING_MAPS in metadata:
        require_settings(metadata[TRAINING_MAPS])
    how = {"dt_s": args.dt, "resample": args.resample, "series": "ctp" in modalities, "entropy": args.entropy}
    way = SeriesWay(recipe, _wanted(args, metadata), **how)
    found = find_studies(args.from_series)
    with RunFolder(out) as held:
        needs = {"gpus": args.case_gpus, "memory_gb": args.case_memory}
        records = predict_studies(way, found, place=place, predictor=predictor, **needs)
        if args.bids:
            done = [name for name, one in records.items() if one["outcome"] != "failed"]
            publish_bids(out, [maps_of(name, out, series=way.series) for name in done])
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


def _wanted(args: argparse.Namespace, metadata: Mapping[str, object]) -> Wanted:
    from monai_isles.workflows.series_results import Wanted

    return Wanted(
        report=not args.no_report,
        dicom=not args.no_dicom,
        dicom_maps=args.dicom_maps,
        show_patient=args.show_patient,
        metadata=metadata,
    )


def require_given(modalities: Sequence[str], bundle: str) -> None:
    """Refuse a bundle that reads what a series does not give.

    Raises:
        IslesError: ``E-SCAN-04``.
    """
    missing = [key for key in modalities if key not in _GIVEN]
    if missing:
        raise refused("E-SCAN-04", where=str(bundle), found=", ".join(missing))
