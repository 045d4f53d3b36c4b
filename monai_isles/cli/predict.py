"""``monai-isles predict``: segment cases the model never saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from monai_isles.cli import options as cohort_options
from monai_isles.cli import predict_dry, predict_series
from monai_isles.cli.options import chosen_bundle, records_text
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("inputs", nargs="*", metavar="CASE_DIR", help="case folders, or data folders that hold cases")
    predict_series.arguments(parser)
    parser.add_argument("--bundle", required=True, help="folder of the bundle, e.g. bundles/clerigues")
    parser.add_argument("--out", required=True, help="folder for <case>/lesion.nii.gz and the other results")
    parser.add_argument("--weights", nargs="+", default=[], metavar="FILE", help="state dicts; several are averaged")
    parser.add_argument("--data-list", help="predict the cases of this data list; its paths are relative to CASE_DIR")
    parser.add_argument("--section", default="training", help="section of the data list (default: training)")
    parser.add_argument("--folds", type=int, nargs="+", help="folds of the section (default: all)")
    parser.add_argument(
        "--resample",
        action="store_true",
        help="images on another grid than a case's first are in register: resample them onto it",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--overlay", nargs="+", default=[], metavar="NAME", help="config files inside the bundle")
    parser.add_argument(
        "--step", type=int, nargs="+", metavar="VOXELS", help="between windows, one for all axes or one each"
    )
    parser.add_argument("--fast", action="store_true", help="the bundle's coarser step; its model card states the cost")
    parser.add_argument("--whole-slices", action="store_true", help="one pass over the whole slice instead of windows")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="bf16: faster, the third digit differs")
    parser.add_argument("--compile", action="store_true", help="compile the networks first: pays from ten cases on")
    parser.add_argument("--mc-passes", type=int, help="dropout passes a window (default: the bundle's)")
    parser.add_argument("--threshold", type=float, help="lesion probability above which a voxel counts")
    parser.add_argument("--min-size", type=int, metavar="VOXELS", help="smallest lesion component kept")
    parser.add_argument(
        "--postprocessing", metavar="FILE", help="threshold and smallest component as `search` chose them"
    )
    parser.add_argument("--threads", type=int, help="processor threads (default: what this process may use)")
    parser.add_argument("--entropy", action="store_true", help="also write <case>/entropy.nii.gz, in bits")
    parser.add_argument(
        "--bids", action="store_true", help="also lay the results out as BIDS derivatives, in OUT/derivatives"
    )
    parser.add_argument("--no-report", action="store_true", help="leave out <case>/report.html")
    cohort_options.cache_arguments(parser)
    cohort_options.arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check bundle, weights, inputs and OUT, say what would be done, and stop"
    )


def run(args: argparse.Namespace) -> int:
    """Predict each case alone; 3 when some failed."""
    predict_series.require_one_way(args)
    place = cohort_options.chosen_place(args)
    if args.dry_run:
        return predict_dry.run(args, _entries)
    if args.from_series:
        return predict_series.run(args, place)
    from monai_isles.inference.malloc import use_threads
    from monai_isles.io.runs import RunFolder

    use_threads(args.threads)
    from monai_isles.inference.outputs import publish_entropy
    from monai_isles.workflows.bids_results import publish_bids
    from monai_isles.workflows.predict import predict_cohort, recipe_of

    bundle, changes, modalities = chosen_bundle(args)
    entries = _entries(args, modalities)
    out, weights = Path(args.out), [Path(w) for w in args.weights]
    after = None if args.no_report else partial(_page, out.absolute())
    kept = {"cache_dir": args.cache, "cache_gb": args.cache_gb}
    chosen = {"weights": weights, "device": args.device, "changes": changes, "after": after}
    recipe = recipe_of(bundle, out, **chosen, **kept)
    predictor = recipe.load()
    with RunFolder(out, outputs=[f"{entry['case']}/probability.nii.gz" for entry in entries]) as held:
        needs = {"gpus": args.case_gpus, "memory_gb": args.case_memory}
        records = predict_cohort(recipe, entries, place=place, predictor=predictor, **needs)
        for name in (name for name, one in records.items() if one["outcome"] != "failed"):
            if args.entropy:
                publish_entropy(out / name)
            elif records[name]["outcome"] == "ok":
                (out / name / "entropy.nii.gz").unlink(missing_ok=True)
        if args.bids:
            publish_bids(out, [entry for entry in entries if records[str(entry["case"])]["outcome"] != "failed"])
        record = {
            "kind": "prediction",
            "bundle": predictor.bundle,
            "weights": predictor.weights,
            "cases": records,
            "settings": predictor.settings,
        }
        held.finish(record)
    failed = {name: r for name, r in records.items() if r["outcome"] == "failed"}
    print(json.dumps(record, indent=2) if args.json else records_text(records, out))
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _entries(args: argparse.Namespace, modalities: Sequence[str]) -> list[dict[str, object]]:
    from monai_isles.data.entries import find_entries, find_inputs

    asked = {"resample": True} if args.resample else {}
    if args.data_list is None:
        return [case.entry() | asked for case in find_inputs(args.inputs, keys=modalities)]
    chosen = {
        "data_list": args.data_list,
        "section": args.section,
        "folds": args.folds,
        "keys": modalities,
        "fetch": args.dry_run,
    }
    return [entry | asked for folder in args.inputs for entry in find_entries(folder, **chosen)]


def _page(out: Path, entry: Mapping[str, object], maps: Mapping[str, object], result: dict[str, object]) -> None:
    from monai_isles.reports.page import publish_case_page

    publish_case_page(entry, maps, result, out / str(entry["case"]) / "report.html")
