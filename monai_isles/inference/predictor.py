"""Build a predictor from a bundle's inference config and its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from monai_isles.bundle.bundle import TRAINED, Bundle, verbatim
from monai_isles.cohort.task import FAULTS
from monai_isles.errors import IslesError, refused
from monai_isles.inference.calibrated import UNCALIBRATED, Calibration
from monai_isles.inference.ischaemia import Trained
from monai_isles.inference.windows import CaseInferer
from monai_isles.io.findings import say_once
from monai_isles.io.payload import sha256_of
from monai_isles.io.runs import read_record
from monai_isles.io.weights import load_state
from monai_isles.modalities import LABEL


def require_fit(network: nn.Module, state: object, path: Path | None, config: str = "the bundle's config") -> None:
    """Refuse a state dictionary whose names or shapes are not those of the network."""
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    named = state.items() if isinstance(state, Mapping) else ()
    other = {name: tuple(getattr(value, "shape", ())) for name, value in named}
    wrong = [name for name in {**own, **other} if own.get(name) != other.get(name)]
    if wrong:
        made, first = _weights_network(path), wrong[0]
        found = f"{len(wrong)} tensors differ, first {first}: {other.get(first, 'missing')} for "
        found += f"{own.get(first, 'nothing')}{f'; trained as {made}' if made else ''}"
        name = type(network).__name__
        raise refused("E-INF-12", where=f"{path} against {config}", found=found, name=name, config=config)


def _weights_network(path: Path | None) -> str:
    """Return the network's name in the run or bundle of the weights; empty if unknown."""
    if path is None:
        return ""
    run, bundle = path.parent / "run.json", Bundle(path.absolute().parent.parent)
    settings = read_record(run).get("settings")
    if isinstance(settings, dict) and "network" in settings:
        return f"{str(settings['network']).split('(')[0]} ({run})"
    with suppress(IslesError, KeyError):
        return f"{bundle.metadata['name']} ({bundle.root / 'metadata.json'})"
    return ""


def read_postprocessing(path: Path) -> dict[str, float]:
    """Return ``threshold`` and ``min_size_vox`` of a ``postprocessing.json``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("threshold", "min_size_vox")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refused("E-INF-13", where=str(path), found=f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Choices:
    """Hold the user's changes to a bundle's prediction; None and empty keep the bundle's setting.

    Args:
        weights: state dicts to average instead of the bundle's own.
        step: one number for all axes, or one per axis.
        fast: take ``fast_step`` of the bundle; one without keeps its own, with a remark.
        precision, compiled: ``fp32`` or ``bf16``, and whether to compile the networks first.
        postprocessing: file of a search, with threshold and smallest component.
    """

    weights: tuple[Path, ...] = ()
    device: str = "auto"
    step: tuple[int, ...] | None = None
    fast: bool = False
    whole_slices: bool = False
    precision: str | None = None
    compiled: bool = False
    mc_passes: int | None = None
    threshold: float | None = None
    min_size_vox: int | None = None
    postprocessing: Path | None = None
    cache_dir: Path | None = None
    cache_gb: float | None = None

    def chosen_step(self, config: Mapping[str, Any]) -> list[int] | None:
        """Return the step in voxels per window axis, None for the bundle's own."""
        if self.step is None and not self.fast:
            return None
        given, option = list(self.step or ()), "--fast" if self.fast else "--step"
        if self.whole_slices:
            words = [option] if self.fast else [option, *map(str, given)]
            raise refused("E-INF-43", where="--whole-slices", found=f"beside {' '.join(words)}")
        own = config["step"] if "step" in config else None
        if self.fast and self.step is None and "fast_step" not in config:
            # A remark, no refusal: without a larger step the prediction is the same.
            say_once("--fast changes nothing: this bundle has no larger step between windows")
            return None
        if own is None:
            text = {"found": "no step in its inference.json", "fault": "this bundle does not predict by windows"}
            raise refused("E-INF-13", where=option, **text, fix="leave the option out")
        if self.fast and self.step is None:
            return list(config["fast_step"])
        if self.fast or len(given) not in (1, len(own)):
            where, more = ("--step beside --fast", ", without --fast") if self.fast else ("--step", "")
            found = f"{given}; the bundle's own is {list(own)}"
            raise refused("E-INF-14", where=where, found=found, fix=f"give one number, or {len(own)}{more}")
        return given * (len(own) if len(given) == 1 else 1)

    def changes(self, config: Mapping[str, object], bundle: Bundle) -> dict[str, object]:
        """Return the values that replace those of the bundle's inference config; refuse those that it does not have."""
        searched: dict[str, Any] = read_postprocessing(self.postprocessing) if self.postprocessing else {}
        chosen = {
            "mc_passes": self.mc_passes,
            "threshold": self.threshold,
            "min_size_vox": self.min_size_vox,
            "step": self.chosen_step(config),
            "whole_slices": self.whole_slices or None,
            "precision": self.precision,
            "compiled": self.compiled or None,
        }
        changes = searched | {key: value for key, value in chosen.items() if value is not None}
        if absent := [key for key in chosen if key in changes and key not in config]:
            raise refused("E-INF-15", where=str(bundle.root), found=f"its inference.json has no {', '.join(absent)}")
        return changes


UNCHANGED = Choices()
PAIR = ("threshold", "min_size_vox", "min_cluster_ml")
SETTINGS = ("step", "mc_passes", "mc_rate", *PAIR, "precision", "compiled", "whole_slices")


@dataclass(frozen=True)
class Predictor:
    """Predict cases with the networks of one bundle.

    Args:
        weights: SHA-256 by path, one per network; empty for a rule without weights.
        settings: current values of those of ``SETTINGS`` and of the bundle's own ``settings`` that it has.
        calibration: of the bundle's own weights.
        trained: what the images were like that the weights were trained on (``unseen_intensities``); empty if unknown.

    >>> predictor = load_predictor("threshold", Path("results"))
    >>> predictor.modalities, predictor.settings["core_rcbf"]
    (['ct', 'cbf', 'cbv', 'mtt', 'tmax'], 0.3)
    """

    bundle: str
    networks: Sequence[nn.Module]
    preprocessing: Callable[[Mapping[Any, Any]], Mapping[Any, Any]]
    inferer: CaseInferer
    postprocessing: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    modalities: Sequence[str]
    device: torch.device
    weights: dict[str, str]
    settings: dict[str, object] = field(default_factory=dict)
    calibration: Calibration = UNCALIBRATED
    trained: Trained = field(default_factory=dict)

    def predict(self, entry: Mapping[str, object]) -> Mapping[str, Any]:
        """Predict one case: return the maps on the input's grid, and write them as the bundle's config says."""
        data = self.prepare(entry)
        return self.finish(entry, data, self.run_networks(data))

    def prepare(self, entry: Mapping[str, object]) -> Mapping[str, Any]:
        """Read and preprocess one case: the first step of ``predict``; safe in any thread.

        A mask is no input. It is read only if preparations are cached, for a later training; an unusable mask is
        ignored.
        """
        unmasked = {key: value for key, value in entry.items() if key != LABEL}
        if unmasked.keys() == entry.keys() or getattr(self.preprocessing, "cache", None) is None:
            return self.preprocessing(unmasked)
        try:
            return self.preprocessing(entry)
        except FAULTS:
            return self.preprocessing(unmasked)

    def run_networks(self, data: Mapping[str, Any]) -> Tensor:
        """Run the networks on a prepared case: the second step of ``predict``, one case at a time.

        Shapes: channels x the padded grid of ``data["image"]``: class probabilities, extra maps, uncertainty if any.
        """
        image = data["image"][None].to(self.device)
        foreground = data["foreground"][None].to(self.device) if "foreground" in data else None
        result = self.inferer.infer(image, self.networks, foreground)
        spread = [result.uncertainty] if self.inferer.spreads or len(self.networks) > 1 else []
        return torch.cat([result.probability, *result.extra.values(), *spread], 1)[0].cpu()

    def finish(self, entry: Mapping[str, object], data: Mapping[str, Any], maps: Tensor) -> Mapping[str, Any]:
        """Postprocess and write the result of ``run_networks``: the last step of ``predict``; safe in any thread."""
        like = convert_to_dst_type(maps, data["image"], dtype=maps.dtype)[0]
        return self.postprocessing({"pred": MetaTensor(like, meta=data["image"].meta), "case": entry["case"]})


def load_predictor(
    bundle: Bundle | Path | str, out: Path, *, weights: Sequence[Path] = (), device: str = "auto",
    changes: Mapping[str, object] = {},
) -> Predictor:  # fmt: skip
    """Build the networks of a bundle and load their weights.

    Args:
        bundle: a bundle with its overlays, its path, or its name; one whose network has no parameters needs no weights.
        weights: state dicts to average instead of the bundle's own, for which ``Bundle.shipped`` holds.
        out, changes: folder of the results, and settings that replace the config's.
    Raises: those of ``Bundle.config`` and ``load_state``, ``E-INF-11`` weights missing, ``E-INF-12`` weights of another
    network, ``E-SAFE-03`` a bundle's own weights that are not those its ``metadata.json`` states.

    >>> from monai_isles.phantom import make_dataset
    >>> from monai_isles.data import find_entries
    >>> folder = make_dataset("ct", cases=1, seed=7, series=False, max_slices=2)
    >>> predictor = load_predictor("threshold", Path("results"))
    >>> maps = predictor.predict(find_entries(folder, keys=predictor.modalities)[0])
    >>> maps["lesion"].shape == maps["probability"].shape
    True
    """
    bundle = Bundle.open(bundle)
    parser = (bundle if weights else bundle.with_shipped_settings).config("inference")
    paths_of_config = {"bundle_root": verbatim(bundle.root), "output_dir": verbatim(out), "dataset_dir": None}
    # Interval and confidence were fitted on masks of the bundle's own rule.
    moved = any(parser.get(name) != value for name, value in changes.items() if name in PAIR)
    parser.update(paths_of_config | dict(changes))
    if device != "auto":
        parser["device"]["name"] = device
    paths = list(weights)
    if paths and "calibration" in parser:
        parser["calibration"] = None  # fitted on predictions of the bundle's own weights
    parser.parse(reset=True)
    if not paths and (bundle.weights.is_file() or parser.get_parsed_content("network_def").state_dict()):
        paths = [bundle.weights]
    stated, config = None if weights else bundle.weights_sha256, str(bundle.file("inference.json"))
    several: Sequence[Path | None] = paths or [None]
    fitted = parser.get_parsed_content("calibration") if "calibration" in parser else None
    own = parser["settings"] if "settings" in parser else []  # ids of this bundle that affect a result
    # A size in voxels, as of ``--min-size``, replaces the one in ml.
    used = [name for name in SETTINGS if name != "min_cluster_ml" or parser.get("min_size_vox") is None]
    networks = [_network(parser, path, stated, config) for path in several]
    calibration = UNCALIBRATED if fitted is None else Calibration.read(fitted)
    sums = {str(path.absolute()): sha256_of(path) for path in paths}
    return Predictor(
        bundle=bundle.name,
        networks=networks,
        preprocessing=parser.get_parsed_content("preprocessing"),
        inferer=parser.get_parsed_content("inferer"),
        postprocessing=parser.get_parsed_content("postprocessing"),
        modalities=parser["modalities"],
        device=parser.get_parsed_content("device"),
        weights=sums,
        settings={name: parser[name] for name in (*used, *own) if name in parser}
        | ({} if fitted is None else {"calibration_sha256": sha256_of(Path(fitted))}),
        calibration=replace(calibration, volume=(), lesions=()) if moved else calibration,
        trained=bundle.metadata_of(list(sums.values())).get(TRAINED) or {},
    )


def _network(parser: ConfigParser, path: Path | None, sha256: str | None, config: str) -> nn.Module:
    if path is not None and not path.is_file():
        raise refused("E-INF-11", where=str(path), found="a folder, no file" if path.is_dir() else "no such file")
    state = {} if path is None else load_state(path, sha256=sha256)
    parser.parse(reset=True)
    network = parser.get_parsed_content("network").float()  # images are float32, whatever torch's default type is
    require_fit(network, state, path, config)
    network.load_state_dict(state)
    return network.eval()
