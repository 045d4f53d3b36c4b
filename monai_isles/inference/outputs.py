"""Name the channels of the inferer's output, measure the lesion, and write maps on the input's grid."""

from __future__ import annotations

import math
import shutil
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from scipy.special import entr
from torch import Tensor

from monai_isles.case import Case
from monai_isles.cohort.task import require_own_names as require_one_of_each
from monai_isles.data.bids import BIDS_DESCRIPTION, BIDS_IGNORE, BIDS_README, derivative_name, sidecar
from monai_isles.errors import refused
from monai_isles.inference.calibrated import UNCALIBRATED, Calibration
from monai_isles.io.publish import planned_image, publish, publish_image, publish_json, publish_text, publish_together
from monai_isles.io.read import read_header, read_image
from monai_isles.modalities import LABEL, MEASURED_MAPS, MODALITIES
from monai_isles.perfusion.thresholds import connected_parts


def entropy_bits(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of lesion against no lesion at each voxel: 0 for certain voxels, 1 for a probability of 0.5.

    Shapes: any, kept; float32 out. Units: bits.
    Source: Shannon 1948; ``tests/inference/test_confidence.py``.
    """
    p = np.clip(np.asarray(probability, dtype=np.float64), 0.0, 1.0)
    return ((entr(p) + entr(1.0 - p)) / np.log(2.0)).astype(np.float32)


def publish_entropy(folder: Path) -> None:
    """Write ``entropy.nii.gz`` from the ``probability.nii.gz`` of a case, into the same folder."""
    source = read_image(folder / "probability.nii.gz", kind="probability", where=folder.name)
    publish_image(folder / "entropy.nii.gz", entropy_bits(source.data), source, dtype=np.float32)


def lesion_confidence(
    lesion: np.ndarray,
    probability: np.ndarray,
    uncertainty: np.ndarray | None,
    voxel_ml: float,
    calibration: Calibration = UNCALIBRATED,
) -> list[dict[str, float | None]]:
    """Return volume, mean probability and mean uncertainty of every 6-connected component, the largest first.

    ``confidence`` is the probability that the component touches a true lesion, None without a calibration.

    Shapes: all ``(H, W, D)``. Units: ml; ``voxel_ml`` is the volume of one voxel.
    """
    labels, sizes = connected_parts(np.asarray(lesion) > 0)
    sums = [
        np.bincount(labels.ravel(), weights=np.asarray(values).ravel().astype(np.float64))
        for values in (probability, uncertainty)
        if values is not None
    ]
    order = np.argsort(-sizes[1:], kind="stable") + 1
    results = []
    for k in order:
        volume_ml, mean = float(sizes[k]) * voxel_ml, float(sums[0][k] / sizes[k])
        chance = calibration.confidence(mean, volume_ml)
        spread = round(float(sums[1][k] / sizes[k]), 4) if len(sums) > 1 else None
        numbers: dict[str, float | None] = {"volume_ml": round(volume_ml, 3), "mean_probability": round(mean, 4)}
        confidence = None if chance is None else round(chance, 3)
        results.append(numbers | {"mean_uncertainty": spread, "confidence": confidence})
    return results


def lesion_numbers(maps: Mapping[str, Any], calibration: Calibration = UNCALIBRATED) -> dict[str, object]:
    """Return the numbers of the lesion for ``result.json``: volume, its interval, every component. Units: ml, mm."""
    lesion = maps["lesion"]
    spacing = [round(float(s), 6) for s in lesion.pixdim]
    voxel_ml = float(spacing[0] * spacing[1] * spacing[2]) / 1000
    mask, probability = (maps[key][0].cpu().numpy() for key in ("lesion", "probability"))
    uncertainty = maps["uncertainty"][0].cpu().numpy() if "uncertainty" in maps else None
    result: dict[str, object] = {"lesion_ml": round(int(lesion.sum()) * voxel_ml, 3), "spacing_mm": spacing}
    interval = calibration.interval(cast(float, result["lesion_ml"]))
    if interval is not None:
        result["lesion_ml_interval"] = list(interval)
    return result | {"lesions": lesion_confidence(mask, probability, uncertainty, voxel_ml, calibration)}


def registration_numbers(data: Mapping[str, Any]) -> dict[str, object]:
    """Return how the mirrored channels were made; an empty dictionary without them."""
    record = data.get("mirror")
    if record is None:
        return {}
    numbers = ("angle_deg", "roll_deg", "offset_mm", "residual_mm", "flip_residual_mm", "overlap", "similarity")
    rounded = {key: round(record[key], 3) if math.isfinite(record[key]) else None for key in numbers}
    maps = {key: np.round(record[key], 6).tolist() for key in ("matrix", "shift_mm")}
    return {"registration": {"method": record["method"], **rounded, **maps}}


def stage_numbers(data: Mapping[str, Any]) -> dict[str, object]:
    """Return the facts of a preprocessing: the groups of inputs (``GroupedImaged``), as ``inputs``, and
    the perfusion stage that ``PerfusionWindowd`` found; nothing without either. Units: frames, from 0.
    """
    text: dict[str, object] = {"inputs": dict(data["groups"])} if "groups" in data else {}
    result = data.get("ctp_window")
    if result is None:
        return text
    kept = {"t_s": int(result["t_s"]), "t_e": int(result["t_e"]), "fallbacks": list(result["fallbacks"])}
    return text | {"perfusion_stage": kept | {"curve": [float(f"{value:.6g}") for value in result["curve"]]}}


SAID = {"pseudo_dwi": "synthetic pseudo-DWI, not an acquisition"}


class LesionMapsd(MapTransform):
    """Split an inferer's output into ``probability``, ``uncertainty`` (if present) and ``lesion``, not yet binarised.

    Shapes: ``(2, H, W, D)`` class probabilities, then one channel per name of ``extras``, then the uncertainty if
    any, in; ``(1, H, W, D)`` each out.
    Args:
        extras: names of further maps, as the inferer's ``extras``.
        calibration: file with temperature and shift of the probabilities (``Calibration``); None does not calibrate.
    Raises: ``E-INF-16``.

    >>> maps = torch.tensor([0.2, 0.8, 0.1]).reshape(3, 1, 1, 1)  # background, lesion, uncertainty
    >>> case = LesionMapsd()({"pred": maps})
    >>> round(float(case["probability"]), 3), round(float(case["uncertainty"]), 3)
    (0.8, 0.1)
    """

    def __init__(
        self, keys: KeysCollection = "pred", extras: Sequence[str] = (), calibration: str | None = None
    ) -> None:
        super().__init__(keys)
        self.extras = tuple(extras)
        self.calibration = UNCALIBRATED if calibration is None else Calibration.read(calibration)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            channels = out[key]
            out["probability"] = channels[1:2]
            if self.calibration != UNCALIBRATED:
                values = self.calibration.probability(channels[1:2].detach().cpu().numpy())
                out["probability"] = convert_to_dst_type(values, channels[1:2])[0]
            out["lesion"] = out["probability"].clone()
            out |= {name: channels[2 + n : 3 + n] for n, name in enumerate(self.extras)}
            if len(channels) > 2 + len(self.extras):
                out["uncertainty"] = channels[-1:]
        return out


class PublishMapsd(MapTransform):
    """Write the maps of one case on the grid of its input file: ``<folder>/<case>/<key>.nii.gz``, all or none.

    Shapes: each key ``(1, H, W, D)``. Masks are written as uint8, the others as float32; the header's ``descrip`` marks
    a synthetic image.
    Raises: what ``monai_isles.io.publish.publish_image`` raises; then no map of the case is written.

    >>> from monai_isles.io import LoadVerifiedd
    >>> image = LoadVerifiedd(["flair"])(case.entry())["flair"]
    >>> _ = PublishMapsd("results", keys="probability")({"case": "case_1", "probability": image * 0})
    >>> Path("results/case_1/probability.nii.gz").is_file()
    True
    """

    def __init__(
        self,
        folder: str,
        keys: KeysCollection = ("lesion", "probability", "uncertainty"),
        masks: Sequence[str] = ("lesion",),
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        self.folder, self.masks = Path(folder), tuple(masks)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out: dict[Hashable, Any] = dict(data)
        planned: list[Any] = []
        sources: dict[str, Any] = {}
        for key in self.key_iterator(out):
            name = str(out[key].meta["filename_or_obj"])
            source = sources[name] = sources.get(name) or read_header(name)
            dtype = np.uint8 if key in self.masks else np.float32
            path = self.folder / str(out["case"]) / f"{key}.nii.gz"
            values = out[key][0].cpu().numpy()
            planned.append(planned_image(path, values, source, dtype=dtype, description=SAID.get(str(key), "")))
        if planned:
            publish_together(planned, inputs=sources)
        return out


def require_own_names(postprocessing: object, entry: Mapping[Any, object], folder: Path) -> None:
    """Refuse results that would overwrite an image or mask of the case, before any work."""
    writers = [writer for writer in getattr(postprocessing, "transforms", ()) if isinstance(writer, PublishMapsd)]
    wanted = {(folder / f"{key}.nii.gz").resolve() for writer in writers for key in writer.keys}
    inputs = [Path(str(value)) for key, value in entry.items() if key in (LABEL, *MODALITIES)]
    taken = [path for path in inputs if path.resolve() in wanted]
    if taken:
        raise refused("E-USE-50", where=f"{entry['case']}: {taken[0]}", found=f"results of the case go into {folder}")


DERIVATIVES = Path("derivatives/monai_isles")
_BIDS_FILES = {
    "lesion": "lesion.nii.gz", "probability": "probability.nii.gz", "uncertainty": "uncertainty.nii.gz",
    "result": "result.json", "report": "report.html",
    **{key: f"maps/{key}.nii.gz" for key in MEASURED_MAPS},
}  # fmt: skip


def require_bids_names(entries: Sequence[Mapping[str, object]], where: str) -> None:
    """Refuse two cases of one name in BIDS, which has no separators: ``p_1`` and ``p1``; before any work."""
    names = [str(derivative_name(Case.from_entry(entry), "result")) for entry in entries]
    require_one_of_each(names, "E-LIST-20", where=where)


def publish_bids(out: Path, entries: Sequence[Mapping[str, object]], root: Path | None = None) -> Path:
    """Copy the results in ``out/<case>`` to a BIDS derivative data set with description and sidecars; return it.

    Its root is ``out / DERIVATIVES`` unless another is given.

    Raises: ``E-LIST-20`` as ``require_bids_names``.
    """
    root, cases = root or out / DERIVATIVES, [Case.from_entry(entry) for entry in entries]
    require_bids_names(entries, str(root))
    publish_json(root / "dataset_description.json", BIDS_DESCRIPTION)
    publish_text(root / ".bidsignore", BIDS_IGNORE)
    publish_text(root / "README.md", BIDS_README)
    for case in cases:
        for kind, name in _BIDS_FILES.items():
            source, target = out / case.name / name, root / derivative_name(case, kind)
            if not source.is_file():
                target.unlink(missing_ok=True)  # of a former result
                continue
            publish(target, partial(shutil.copyfile, source))
            if beside := sidecar(case, kind):
                publish_json(target.with_name(target.name.replace(".nii.gz", ".json")), beside)
    return root
