"""Predict the scored scans of one fold with the fold's own model, as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from monai_isles.errors import EXIT_DONE, EXIT_SOME_FAILED
from monai_isles.bundle.overlays import inference_changes
from monai_isles.crossval.plan import DATA_LIST, read_plan
from monai_isles.io.publish import publish_json

PREDICTIONS, PREDICTED = "predictions", "predicted.json"


def predict_fold(out: Path, fold: int, *kept: str) -> dict[str, dict[str, object]]:
    """Predict every case of ``fold`` into ``out/predictions/<case>`` and return one record a case.

    A case that was predicted with the same weights and settings is not predicted again.

    Args:
        out: folder of the cross-validation, its fold trained.
        kept: folder of preprocessed cases and its bound in GB, where they are to be kept.
    Raises:
        IslesError: ``E-INF-*`` when the fold's weights do not fit.
    Source: ours; ``tests/cli/test_crossval.py``.
    """
    from monai_isles.data.entries import load_entries
    from monai_isles.inference.predict import predict_cases
    from monai_isles.workflows.predict import recipe_of

    plan = read_plan(out)
    bundle, weights = Path(plan.bundle), out / f"fold_{fold}" / "model.pt"
    changes = inference_changes(bundle, plan.overlays, plan.settings)
    changes["dataset_dir"] = plan.dataset_dir
    predictions = out / PREDICTIONS
    cache = {"cache_dir": kept[0], "cache_gb": float(kept[1])} if kept else {}
    predictor = recipe_of(bundle, predictions, weights=[weights], changes=changes, **cache).load()
    entries = load_entries(out / DATA_LIST, plan.dataset_dir, folds=[fold], keys=plan.modalities, need_label=True)
    cases = predict_cases(predictor, entries, predictions)
    (digest,) = predictor.weights.values()
    publish_json(out / f"fold_{fold}" / PREDICTED, {"weights_sha256": digest, "cases": cases})
    return cases


def _main() -> int:
    from monai_isles.inference.threads import use_threads
    from monai_isles.training.exits import plain_exits

    plain_exits()
    use_threads()
    cases = predict_fold(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    failed = [name for name, record in cases.items() if record["outcome"] == "failed"]
    return EXIT_SOME_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(_main())
