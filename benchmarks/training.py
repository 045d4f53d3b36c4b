"""An epoch of the CT bundle against the same loop written plainly in torch, and against MONAI's own chain.

Three ways train the paper's network on as many patches of the same phantom cases, batch 64: MONAI's SupervisedTrainer
with RandCropByPosNegLabeld in a DataLoader; a plain loop over the sampler's batches; SupervisedTrainer with the
bundle's sampler and handlers. The last two must end with equal weights. Then the bundle itself is run, and the share of
its wall time in steps, validation, data, handlers and checkpoints is kept. Simulated data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import bench
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, EnsureTyped, RandCropByPosNegLabeld, RandFlipd, SqueezeDimd
from patches import BATCH, ELASTIC, PATCH, cases
from torch import Tensor, nn

from monai_isles.data import make_datalist
from monai_isles.io import publish_json
from monai_isles.losses import GeneralizedDiceCELoss
from monai_isles.networks import AsymmetricResUNet
from monai_isles.phantom import make_dataset
from monai_isles.sampling import PatchLoader
from monai_isles.training import AutocastInferer, Curves, EpochOrder, FiniteGuard
from monai_isles.training.speed import TrainingSpeed

SUBJECT = "training"
ROOT = Path(__file__).parents[1]
SEED = 0


def parts() -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    """Return the paper's network, optimiser and loss, from one seed."""
    torch.manual_seed(SEED)
    network = AsymmetricResUNet(2, 10)
    return network, torch.optim.Adadelta(network.parameters(), lr=1.0, rho=0.95), GeneralizedDiceCELoss()


def weights(network: nn.Module) -> Tensor:
    """Return all weights and statistics as one vector."""
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


def plainly(loader: PatchLoader) -> Tensor:
    """Train one epoch by a bare loop."""
    network, optimizer, loss = parts()
    loader.set_epoch(1)
    network.train()
    for batch in loader:
        optimizer.zero_grad(set_to_none=True)
        loss(network(batch["image"]), batch["label"]).backward()
        optimizer.step()
    return weights(network)


def by_bundle(loader: PatchLoader, folder: Path) -> Tensor:
    """Train one epoch by MONAI's engine with the bundle's sampler and handlers."""
    network, optimizer, loss = parts()
    handlers = [EpochOrder(loader), FiniteGuard(loader), Curves(str(folder / "curves.csv"), [])]
    trainer(loader, network, optimizer, loss, handlers).run()
    return weights(network)


def by_monai(data: list[dict[str, object]], per_case: int) -> Tensor:
    """Train on as many patches by MONAI's engine and chain, one patch a call, without elastic deformation."""
    network, optimizer, loss = parts()
    crop = RandCropByPosNegLabeld(
        keys=["image", "label"], label_key="label", spatial_size=(PATCH, PATCH, 1), pos=1, neg=1, num_samples=1,
        image_key="foreground",
    )  # fmt: skip
    chain = [EnsureTyped(["image", "label", "foreground"]), crop, SqueezeDimd(["image", "label"], dim=-1),
             RandFlipd(["image", "label"], prob=0.05, spatial_axis=0)]  # fmt: skip
    dataset = CacheDataset(data * per_case, Compose(chain), cache_rate=0.0, progress=False)
    trainer(DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=0), network, optimizer, loss, []).run()
    return weights(network)


def trainer(
    loader: object, network: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, handlers: list
) -> SupervisedTrainer:
    """Return MONAI's trainer for one epoch."""
    return SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=1, train_data_loader=loader, network=network, optimizer=optimizer,
        loss_function=loss, train_handlers=handlers, decollate=False, optim_set_to_none=True,
    )  # fmt: skip


class Fast:
    """Train in bf16, compiled once for all rounds, channels last: what ``training_speed`` chooses where it pays."""

    def __init__(self) -> None:
        self.network, self.optimizer, self.loss = parts()
        self.begin = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.inferer = AutocastInferer(speed=TrainingSpeed("bf16", compiled=True, channels_last=True))

    def __call__(self, loader: PatchLoader) -> list[float]:
        """Return the losses of one epoch from the same first weights."""
        self.network.load_state_dict(self.begin)
        self.optimizer.state.clear()
        return losses(loader, self.network, self.optimizer, self.loss, self.inferer)


def losses(
    loader: PatchLoader, network: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, infer: Callable
) -> list[float]:
    """Train one epoch by a bare loop; return the loss of each step."""
    found = []
    loader.set_epoch(1)
    network.train()
    for batch in loader:
        optimizer.zero_grad(set_to_none=True)
        cost = loss(infer(batch["image"], network), batch["label"])
        cost.backward()
        optimizer.step()
        found.append(cost.item())
    return found


def fast(data: list[dict[str, object]], per_case: int, args: argparse.Namespace) -> bool:
    """Report bf16, compiled, channels last against the plain eager loop; the mean loss of the epoch's end agrees."""
    loader = PatchLoader(data, patch=(PATCH, PATCH), per_case=per_case, batch_size=BATCH, elastic=ELASTIC)
    quick = Fast()
    methods = {
        "plain loop": lambda: losses(loader, *parts(), infer=lambda image, network: network(image)),
        "bf16, compiled, channels last": lambda: quick(loader),
    }
    times = bench.alternate(methods, args.rounds)
    ends = [sum(found[-8:]) / len(found[-8:]) for found in times.answers.values()]
    count = per_case * len(data)
    rates = {name: round(count / seconds, 1) for name, seconds in times.medians.items()}
    return bench.report(
        SUBJECT, f"bf16, compiled, channels last, {count} patches", times, args, wanted=1.8, patches_a_second=rates,
        difference=abs(ends[1] - ends[0]) / ends[0], tolerance=0.25, patches=count,
    )  # fmt: skip


class Phases:
    """Where the wall time of an engine goes: waiting for batches, steps, and what comes after them.

    ``attach`` it to an engine whose other handlers are there already; evaluators run inside the trainer's epoch.
    """

    def __init__(self) -> None:
        self.spent = {"data": 0.0, "steps": 0.0, "all": 0.0}
        self._since: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        for phase, begin, end in (
            ("data", Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED),
            ("steps", Events.ITERATION_STARTED, Events.ITERATION_COMPLETED),
            ("all", Events.STARTED, Events.COMPLETED),
        ):
            engine.add_event_handler(begin, self._begin, phase)
            engine.add_event_handler(end, self._end, phase)
        first = engine._event_handlers[Events.ITERATION_COMPLETED]
        first.insert(0, first.pop())  # before the curves and the bar

    def _begin(self, phase: str) -> None:
        self._since[phase] = time.perf_counter()

    def _end(self, phase: str) -> None:
        self.spent[phase] += time.perf_counter() - self._since[phase]


def shares(config: ConfigParser) -> dict[str, float]:
    """Train as the bundle does; return the shares of the wall time of its epochs."""
    engines = {
        "train": config.get_parsed_content("train#trainer"),
        "patches": config.get_parsed_content("validate#evaluator"),
        "volumes": config.get_parsed_content("validate_volumes#evaluator"),
    }
    checkpoints = config.get_parsed_content("train#checkpoints")
    phases = {name: Phases() for name in engines}
    for name, engine in engines.items():
        phases[name].attach(engine)
    saving = timed(checkpoints, "_save", engines["train"])
    checkpoints.resume(engines["train"])
    engines["train"].run()
    train, validation = phases["train"].spent, [phases[name].spent for name in ("patches", "volumes")]
    whole = train["all"]
    found = {
        "steps": train["steps"], "data": train["data"], "validation": sum(spent["all"] for spent in validation),
        "validation_network": sum(spent["steps"] for spent in validation), "checkpoints": saving[0],
    }  # fmt: skip
    found["rest"] = whole - found["steps"] - found["data"] - found["validation"] - found["checkpoints"]
    return {name: seconds / whole for name, seconds in found.items()} | {"seconds": whole}


def timed(owner: object, name: str, engine: Engine) -> list[float]:
    """Replace a handler by one that adds its seconds to the list returned."""
    spent, original = [0.0], getattr(owner, name)

    def call(engine: Engine) -> None:
        begun = time.perf_counter()
        original(engine)
        spent[0] += time.perf_counter() - begun

    engine.remove_event_handler(original, Events.EPOCH_COMPLETED)
    engine.add_event_handler(Events.EPOCH_COMPLETED, call)
    return spent


def bundle(folder: Path, args: argparse.Namespace, **settings: object) -> ConfigParser:
    """Return the CT bundle's training on a small phantom."""
    count, slices = (3, 2) if args.quick else (args.cases, 22)
    data = make_dataset(folder / "data", cases=count, seed=2018, series=False, max_slices=slices)
    publish_json(folder / "list.json", make_datalist(data, folds=2 if args.quick else 5))
    config = ConfigParser()
    config.read_config(str(ROOT / "bundles/clerigues/train.json"))
    settings |= {"output_dir": str(folder / "run"), "dataset_dir": str(data), "data_list": str(folder / "list.json")}
    for name, value in settings.items():
        config[name] = value
    torch.manual_seed(SEED)
    return config


def epochs(data: list[dict[str, object]], per_case: int, folder: Path, args: argparse.Namespace) -> list[bool]:
    """Report an epoch against MONAI's chain and against the plain loop."""
    loader = PatchLoader(data, patch=(PATCH, PATCH), per_case=per_case, batch_size=BATCH, elastic=ELASTIC)
    methods: dict[str, Callable[[], Tensor]] = {
        "MONAI's chain": lambda: by_monai(data, per_case),
        "plain loop": lambda: plainly(loader),
        "bundle": lambda: by_bundle(loader, folder),
    }
    times = bench.alternate(methods, args.rounds)
    apart = bench.largest_difference(times.answers["plain loop"], times.answers["bundle"])
    count = per_case * len(data)
    judged = {"difference": apart, "tolerance": 0.0, "patches": count}
    rates = {name: round(count / seconds, 1) for name, seconds in times.medians.items()}
    flop = 3.0 * count * bench.flops(lambda: parts()[0](torch.zeros(1, 10, PATCH, PATCH)))
    return [
        bench.report(SUBJECT, f"epoch of {count} patches", times, args, flop=flop, patches_a_second=rates, **judged),
        bench.report(SUBJECT, f"the same against a plain loop, {count} patches", times, args, reference="plain loop",
                     **judged),
    ]  # fmt: skip


def told(share: Mapping[str, float]) -> str:
    """Return where the wall time of an epoch went, in words."""
    busy = share["steps"] + share["validation_network"]
    return (
        f"steps {share['steps']:.1%} (90 % wanted), with the validation network {busy:.1%}; data {share['data']:.1%}, "
        f"checkpoints {share['checkpoints']:.2%}, rest {share['rest']:.2%} of {share['seconds']:.0f} s"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Report epochs, then where the bundle's time goes."""
    parser = bench.arguments(__doc__, rounds=2)
    parser.add_argument("--cases", type=int, default=10, help="phantom cases of the bundle's epoch (default: 10)")
    parser.add_argument("--patches", type=int, default=4000, help="patches a case of it (default: the paper's 4000)")
    parser.add_argument("--only", choices=["fast"], help="fast: bf16, compiled, channels last against a plain loop")
    args = bench.begin(parser, words)
    with tempfile.TemporaryDirectory() as name:
        data, per_case = cases(1 if args.quick else 2), 64 if args.quick else 1024
        if args.only == "fast":
            return bench.outcome(fast(data, per_case, args))
        agreed = [*epochs(data, per_case, Path(name), args), fast(data, per_case, args)]
        patches, limit = (64, 1) if args.quick else (args.patches, 1)
        found = shares(bundle(Path(name), args, patches_per_case=patches, max_epochs=limit))
    record = {name: round(share, 4) for name, share in found.items()}
    row = {"subject": SUBJECT, "row": "shares of the bundle's epoch", "said": told(record), "patches_a_case": patches}
    bench.keep(row | record, args)
    return bench.outcome(*agreed)


if __name__ == "__main__":
    raise SystemExit(main())
