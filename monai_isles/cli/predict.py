"""``monai-isles predict``: segment new cases."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from monai_isles.cli import options, predict_series
from monai_isles.errors import refused

ADVANCED = options.ADVANCED
_OF_CASES = {"data_list": None, "section": "training", "folds": None}
_OF_SERIES: dict[str, object] = {"dt": None, "times": None, "of_series": None}
_OF_SERIES |= {"dicom_maps": False, "no_dicom": False, "dicom_out": None, "show_patient": False, "viewer": "small"}
_OF_SERIES |= {"age": None, "nihss": None}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb; the old option ``--from-series`` works but is not shown."""
    parser.add_argument("inputs", nargs="*", metavar="CASE_DIR", help="case folders, or data folders that hold cases")
    options.prediction_arguments(parser)
    parser.add_argument("--data-list", help="predict the cases of this data list; its paths are relative to CASE_DIR")
    parser.add_argument("--section", default="training", help="section of the data list (default: training)")
    parser.add_argument("--folds", type=int, nargs="+", help="folds of the section (default: all)")
    parser.add_argument("--from-series", nargs="+", default=[], help=argparse.SUPPRESS)
    predict_series.series_arguments(parser, shown=False)


def run(args: argparse.Namespace) -> int:
    """Predict each case alone; 3 when some failed."""
    _require_one_way(args)
    if args.from_series:
        args.series = args.from_series
        return predict_series.run(args)
    place = options.chosen_place(args)
    from monai_isles.inference.malloc import use_threads

    use_threads(args.threads)
    from monai_isles.workflows.predict import CaseInputs, predict
    from monai_isles.workflows.predict_dry import rehearse

    folds = None if args.folds is None else tuple(args.folds)
    inputs = CaseInputs(tuple(args.inputs), args.data_list, args.section, folds, args.resample)
    settings, out = options.chosen_prediction(args), Path(args.out)
    if args.dry_run:
        return options.print_rehearsal(args, rehearse(inputs, out, **settings))
    needs = {"gpus": args.case_gpus, "memory_gb": args.case_memory, "strict": args.strict}
    wanted = {"entropy": args.entropy, "bids": args.bids, "report": not args.no_report}
    return options.print_records(args, predict(inputs, out, **settings, place=place, **needs, **wanted))


def _require_one_way(args: argparse.Namespace) -> None:
    """Refuse neither or both of CASE_DIR and --from-series, and options of one with the other."""
    if bool(args.inputs) == bool(args.from_series):
        result = "both case folders and --from-series" if args.inputs else "neither case folders nor --from-series"
        raise refused("E-USE-40", where="monai-isles predict", found=result)
    if args.from_series and (given := _changed_options(args, _OF_CASES)):
        raise refused("E-USE-62", where="--from-series", found=given)
    if not args.from_series and (given := _changed_options(args, _OF_SERIES)):
        raise refused("E-USE-63", where="monai-isles predict", found=given)


def _changed_options(args: argparse.Namespace, defaults: Mapping[str, object]) -> str:
    names = [name for name, default in defaults.items() if getattr(args, name) != default]
    return ", ".join("--" + name.removeprefix("of_").replace("_", "-") for name in names)
