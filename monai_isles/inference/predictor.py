"""Build everything a bundle needs to predict, from its inference config and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from monai_isles.errors import IslesError
from monai_isles.inference.ensemble import CaseInferer, ensemble_infer
from monai_isles.inference.fit import require_fit
from monai_isles.bundle.configs import judge_bundle
from monai_isles.io.weights import load_state
from monai_isles.io.findings import refuse
from monai_isles.io.checksums import sha256_of
from monai_isles.io.weights import stated_sha256

RULES = ("target", "core_rcbf", "delay_s", "min_cluster_ml")
SPEED = ("precision", "compiled", "whole_slices")
SETTINGS = ("step", "mc_passes", "mc_rate", "threshold", "min_size_vox", *SPEED, *RULES)


@dataclass(frozen=True)
class Predictor:
    """A bundle ready to predict.

    Args:
        weights: SHA-256 by path, one a network; empty for a rule that has nothing to load.
        settings: the values in force of those of ``SETTINGS`` that the bundle has.
    """

    bundle: str
    networks: Sequence[nn.Module]
    preprocessing: Callable[[Mapping[str, object]], Mapping[str, Any]]
    inferer: CaseInferer
    postprocessing: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    modalities: Sequence[str]
    device: torch.device
    weights: dict[str, str]
    settings: dict[str, object] = field(default_factory=dict)

    def predict(self, entry: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the maps of one case, on the input's grid and written where the bundle's config says."""
        data = self.prepared(entry)
        return self.finished(entry, data, self.inferred(data))

    def prepared(self, entry: Mapping[str, object]) -> Mapping[str, Any]:
        """Read and preprocess one case: the first third of ``predict``, at home in any thread."""
        return self.preprocessing(entry)

    def inferred(self, data: Mapping[str, Any]) -> Tensor:
        """Run the networks on a prepared case: the second third of ``predict``, one case at a time.

        Shapes: channels x the padded grid of ``data["image"]``: class probabilities, extra maps, uncertainty if any.
        """
        image = data["image"][None].to(self.device)
        foreground = data["foreground"][None].to(self.device) if "foreground" in data else None
        result = ensemble_infer(self.inferer, self.networks, image, foreground)
        spread = [result.uncertainty] if self.inferer.spreads or len(self.networks) > 1 else []
        return torch.cat([result.probability, *result.extra.values(), *spread], 1)[0].cpu()

    def finished(self, entry: Mapping[str, object], data: Mapping[str, Any], maps: Tensor) -> Mapping[str, Any]:
        """Postprocess and write what ``inferred`` returned: the last third of ``predict``, at home in any thread."""
        like = convert_to_dst_type(maps, data["image"], dtype=maps.dtype)[0]
        return self.postprocessing({"pred": MetaTensor(like, meta=data["image"].meta), "case": entry["case"]})


def read_inference(bundle: Path) -> ConfigParser:
    """Return ``inference.json`` of a bundle, nothing built; every config and logging.conf of the bundle is judged.

    Args:
        bundle: folder with ``inference.json`` or ``configs/inference.json``.
    Raises:
        IslesError: ``E-INF-10`` no such bundle, ``E-SAFE-*`` for a config that asks for more than a bundle may.
    """
    config = next((p for p in (bundle / "inference.json", bundle / "configs/inference.json") if p.is_file()), None)
    if config is None:
        raise IslesError(
            "E-INF-10",
            "no bundle there",
            where=str(bundle),
            found="no inference.json",
            fix="give the folder of a bundle, for example bundles/clerigues",
        )
    refuse(judge_bundle(bundle))
    parser = ConfigParser()
    parser.read_config(str(config))
    return parser


def load_predictor(
    bundle: Path, out: Path, *, weights: Sequence[Path] = (), device: str = "auto", changes: Mapping[str, object] = {}
) -> Predictor:
    """Build the networks of a bundle and load their weights.

    Args:
        bundle: folder with ``inference.json`` (or ``configs/inference.json``) and ``models/model.pt``; a bundle whose
            network has no parameters needs no weights.
        out: takes the place of ``output_dir``.
        weights: state dicts to average instead of the bundle's own.
        changes: settings to put in place of the config's.
    Raises:
        IslesError: those of ``read_inference`` and ``load_state``, ``E-INF-11`` weights missing, ``E-INF-12`` weights
            of another network, ``E-SAFE-03`` a bundle's own weights that are not those its ``metadata.json`` states.
    Source: ours; ``tests/inference/test_predict.py``.
    """
    parser = read_inference(bundle)
    parser.update({"bundle_root": str(bundle), "output_dir": str(out), "dataset_dir": None, **changes})
    if device != "auto":
        parser["device"]["name"] = device
    paths, own = list(weights), bundle / "models" / "model.pt"
    if not paths and (own.is_file() or not _has_nothing_to_load(parser)):
        paths = [own]
    stated = None if weights else stated_sha256(bundle)
    return Predictor(
        bundle=bundle.resolve().name,
        networks=[_network(parser, path, stated, str(bundle / "inference.json")) for path in paths or [None]],
        preprocessing=parser.get_parsed_content("preprocessing"),
        inferer=parser.get_parsed_content("inferer"),
        postprocessing=parser.get_parsed_content("postprocessing"),
        modalities=parser["modalities"],
        device=parser.get_parsed_content("device"),
        weights={str(path): sha256_of(path) for path in paths},
        settings={name: parser[name] for name in SETTINGS if name in parser},
    )


def _has_nothing_to_load(parser: ConfigParser) -> bool:
    parser.parse(reset=True)
    return not parser.get_parsed_content("network_def").state_dict()


def _network(parser: ConfigParser, path: Path | None, sha256: str | None, config: str) -> nn.Module:
    if path is not None and not path.is_file():
        raise IslesError(
            "E-INF-11",
            "no weights there",
            where=str(path),
            found="no such file",
            fix="train the bundle first and pass --weights, or use a bundle that carries weights",
        )
    state = {} if path is None else load_state(path, sha256=sha256)
    parser.parse(reset=True)
    network = parser.get_parsed_content("network")
    require_fit(network, state, path, config)
    network.load_state_dict(state)
    return network.eval()
