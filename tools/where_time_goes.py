"""Where the time of one prediction and of one training epoch goes, as a table; run by ``tools/profile.py``.

The package's own steps are timed from outside: transforms, networks, losses, loaders and handlers are wrapped for the
run, nothing is copied and nothing is changed in what they do. A second is counted for the innermost step alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stopwatch import Stopwatch

BUNDLE = Path(__file__).parents[1] / "bundles" / "clerigues"
READERS, WRITERS = ("LoadVerifiedd",), ("PublishMapsd",)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, what in (("predict", "one prediction"), ("train", "one training epoch")):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("--bundle", type=Path, default=BUNDLE, help="default: bundles/clerigues")
        verb.add_argument("--threads", type=int, help="processor threads (default: what this process may use)")
        verb.add_argument("--set", nargs="+", default=[], metavar="ID=VALUE", help="settings of the bundle, as JSON")
        if name == "predict":
            verb.add_argument("case", type=Path, nargs="?", help="case folder (default: a simulated one of 4 slices)")
        else:
            verb.add_argument("data", type=Path, nargs="?", help="data folder (default: six simulated scans)")
            verb.add_argument("--epochs", type=int, default=2, help="the last one is shown (default: 2)")
    args = parser.parse_args(words)
    watch = Stopwatch()
    try:
        wall_s = (_predict if args.verb == "predict" else _train)(args, watch)
    finally:
        watch.unwrap()
    print(watch.table(wall_s, "the rest: engine, checks, checksums"))
    return 0


def _predict(args: argparse.Namespace, watch: Stopwatch) -> float:
    begun = time.perf_counter()
    with watch("imports"):
        import monai_isles.transforms.symmetry as symmetry
        from monai_isles import reports
        from monai_isles.data import find_inputs
        from monai_isles.inference import load_predictor, predict_cases
        from monai_isles.inference.malloc import use_threads
        from monai_isles.inference.predictor import Predictor
    use_threads(args.threads)
    made = 0.0
    with tempfile.TemporaryDirectory() as folder:
        if args.case is None:
            made = time.perf_counter()
            args.case = next((_simulated(Path(folder) / "data", 1, 4) / "TRAINING").iterdir())
            made = time.perf_counter() - made
        out = Path(folder) / "out"
        with watch("bundle: config, networks, weights"):
            predictor = load_predictor(args.bundle, out, changes=_settings(args.set))
        _wrap_transforms(watch, predictor.preprocessing, "preprocessing")
        _wrap_transforms(watch, predictor.postprocessing, "postprocessing")
        watch.wrap(symmetry, "register_mirror", "registration of the mirrored head")
        watch.wrap(symmetry, "register_volume_mirror", "registration of the mirrored head")
        watch.wrap(Predictor, "inferred", "windows: cutting, masks, accumulation")
        watch.wrap(reports, "publish_case_page", "report")
        entries = [case.entry() for case in find_inputs([args.case], keys=predictor.modalities)]

        def page(entry: Any, maps: Any, result: Any) -> None:
            reports.publish_case_page(entry, maps, result, out / str(entry["case"]) / "report.html")

        with _hooked(watch):
            records = predict_cases(predictor, entries, out, after=page)
        wall_s = time.perf_counter() - begun - made
    _require_done(records)
    return wall_s


def _train(args: argparse.Namespace, watch: Stopwatch) -> float:
    from ignite.engine import Events
    from monai.bundle import ConfigParser

    from monai_isles import training
    from monai_isles.data import make_datalist
    from monai_isles.inference.malloc import use_threads
    from monai_isles.io import publish_json

    use_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or _simulated(Path(folder) / "data", 6, 2)
        parser = ConfigParser()
        parser.read_config(str(args.bundle / "train.json"))
        given = {"bundle_root": str(args.bundle), "output_dir": str(Path(folder) / "run"), "dataset_dir": str(data)}
        publish_json(Path(folder) / "list.json", make_datalist(data, folds=2))
        given |= {"data_list": str(Path(folder) / "list.json"), "max_epochs": args.epochs} | _settings(args.set)
        parser.update(given)
        for name in ("EarlyStop", "EpochOrder", "FiniteGuard", "Curves", "Checkpoints"):
            kind = getattr(training, name)
            step = "checkpoint" if name == "Checkpoints" else f"handler: {name}"
            for method in [m for m, found in vars(kind).items() if callable(found) and m not in ("__init__", "attach")]:
                watch.wrap(kind, method, step)
        trainer = parser.get_parsed_content("train#trainer")
        _wrap_training(watch, trainer, parser)
        begun = [time.perf_counter()]

        def restart() -> None:
            watch.clear()
            begun[0] = time.perf_counter()

        trainer.add_event_handler(Events.EPOCH_STARTED(once=args.epochs), restart)
        with _hooked(watch):
            trainer.run()
        return time.perf_counter() - begun[0]


def _wrap_training(watch: Stopwatch, trainer: Any, parser: Any) -> None:
    import torch

    loader = trainer.data_loader
    names = {id(loader): "loader: patches of the training"}
    for section in ("validate", "validate_volumes"):
        if f"{section}#evaluator" in parser:
            evaluator = parser.get_parsed_content(f"{section}#evaluator")
            watch.wrap(evaluator, "run", f"validation: {section}, metrics")
            names[id(evaluator.data_loader)] = f"validation: {section}, loader"
            _watch_loader(watch, type(evaluator.data_loader), names)
    _watch_loader(watch, type(loader), names)
    watch.wrap(torch.Tensor, "backward", "backward")
    watch.wrap(type(trainer.optimizer), "step", "optimiser")


def _watch_loader(watch: Stopwatch, kind: type, names: dict[int, str]) -> None:
    plain = kind.__iter__
    if getattr(plain, "stopwatch", None) is watch:
        return

    def batches(loader: Any) -> Iterator[Any]:
        step, source = names.get(id(loader), "loader: another one"), plain(loader)
        while True:
            with watch(step):
                batch = next(source, watch)
            if batch is watch:
                return
            yield batch

    watch.wrap(kind, "__iter__", "loader: another one")
    batches.stopwatch = watch
    kind.__iter__ = batches


def _wrap_transforms(watch: Stopwatch, chain: Any, part: str) -> None:
    for transform in getattr(chain, "transforms", ()):
        name = type(transform).__name__
        step = "reading" if name in READERS else "writing" if name in WRITERS else f"{part}: {name}"
        watch.wrap(type(transform), "__call__", step)


class _hooked:
    """Measure the outermost network and loss while inside."""

    STEPS = {"monai_isles.networks": "network: forward", "monai_isles.losses": "loss"}

    def __init__(self, watch: Stopwatch) -> None:
        self.watch, self.depth = watch, 0

    def __enter__(self) -> None:
        from torch.nn.modules import module

        self.handles = [
            module.register_module_forward_pre_hook(self._before),
            module.register_module_forward_hook(self._after, always_call=True),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _step(self, module: Any) -> str | None:
        return next((step for room, step in self.STEPS.items() if type(module).__module__.startswith(room)), None)

    def _before(self, module: Any, _: object) -> None:
        step = self._step(module)
        if step and not self.depth:
            self.watch.push(f"validation: {step}" if self.watch.inside("validation") else step)
        self.depth += step is not None

    def _after(self, module: Any, *_: object) -> None:
        if self._step(module):
            self.depth -= 1
            if not self.depth:
                self.watch.pop()


def _simulated(folder: Path, cases: int, slices: int) -> Path:
    from monai_isles.phantom import make_dataset

    return make_dataset(folder, cases=cases, seed=2018, series=False, max_slices=slices)


def _settings(words: Sequence[str]) -> dict[str, object]:
    import json

    pairs = [word.partition("=") for word in words]
    if any(not sign for _, sign, _ in pairs):
        raise SystemExit(f"--set wants ID=VALUE, not {' '.join(words)}")
    return {name: json.loads(value) for name, _, value in pairs}


def _require_done(records: dict[str, dict[str, object]]) -> None:
    failed = [str(one["error"]) for one in records.values() if one["outcome"] == "failed"]
    if failed:
        raise SystemExit("\n".join(failed))
