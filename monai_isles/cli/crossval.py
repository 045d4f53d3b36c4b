"""``monai-isles crossval``: train and predict every fold of a bundle; finished parts are kept."""

from __future__ import annotations

import argparse
import json
from textwrap import indent

from monai_isles.bundle.configs import setting
from monai_isles.cli import options as cohort_options
from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add = parser.add_argument
    add("bundle", help="name or folder of the bundle, e.g. clerigues")
    add("--out", required=True, help="folder for fold_<k>/, predictions/ and run.json; repeat to continue")
    add("--data-list", help="data list with folds that never split a subject (default: made from the data)")
    add("--dataset-dir", help="data folder (default: the bundle's, a simulated one)")
    add("--folds", type=int, help="number of folds (default: the list's, else 5)")
    settings = "settings of the config, e.g. max_epochs=20 'step=[16,16]'"
    add("--set", nargs="+", action="extend", default=[], type=setting, metavar="KEY=VALUE", help=settings)
    stop = "scans that stop the training: the scored ones, as published (paper, default), or the next fold (nested)"
    add("--protocol", choices=("paper", "nested"), default="paper", help=stop)
    cohort_options.share(parser, "--overlay", "--strict", "--cache", "--cache-gb")
    cohort_options.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the unfinished parts; 3 when a fold or a case failed."""
    place = cohort_options.chosen_place(args)
    from monai_isles.bundle.bundle import Bundle
    from monai_isles.crossval.plan import make_plan
    from monai_isles.crossval.run import cross_validate

    chosen = {name: getattr(args, name) for name in ("data_list", "dataset_dir", "folds", "protocol", "strict")}
    bundle = Bundle.open(args.bundle, overlays=args.overlay, settings=dict(args.set))
    plan, content = make_plan(bundle, **chosen)
    cache = {"cache_dir": args.cache, "cache_gb": args.cache_gb}
    record = cross_validate(plan, content, args.out, place=place, strict=args.strict, **cache)
    print(json.dumps(record, indent=2) if args.json else _text(record, args.out))
    done = [*record["folds"].values(), *record["cases"].values()]
    failed = plan.left_out or any(item["outcome"] == "failed" for item in done)
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _text(record: dict, out: str) -> str:
    folds, cases, plan = record["folds"], record["cases"], record["plan"]
    times = {fold: f", {case['seconds']} s" if "seconds" in case else "" for fold, case in folds.items()}
    lines = [f"fold {fold}: {case['outcome']}{times[fold]}" for fold, case in folds.items()]
    faults = [f"fold {fold}, {case['step']}: {case['error']}" for fold, case in folds.items() if "error" in case]
    faults += [f"{name}: {case['error']}" for name, case in cases.items() if "error" in case]
    left_out = [f"{name}: left out\n{indent(reason, '  ')}" for name, reason in plan["left_out"].items()]
    done = sum(case["outcome"] in ("ok", "done before") for case in cases.values())
    every = len(cases) + len(left_out)
    kind = "simulated data, not patients" if plan["simulated"] else "data as given"
    total = f"{done} of {every} cases predicted out of fold in {out} ({kind}), {plan['protocol']} protocol"
    lines += [*faults, *left_out, total]
    again = any("error" in case for case in folds.values())
    lines.append("repeat the command to do what failed" if again else f"next: monai-isles search {out}")
    return "\n".join(lines)
