"""Model the occlusion: territories, its place, and how deep each voxel lies in the ischaemia."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_isles.perfusion.thresholds import connected_parts
from monai_isles.phantom.atlas import TABLES, SmoothField

OCCLUSIONS = TABLES["occlusion"]


def territories(atlas_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Return the soft membership (n,) of each point in the three arterial territories of its side.

    Units: MNI mm in, 0..1 out; the three sum to one.
    Source: ours, planes fitted by eye to Tatu et al., Neurology 1998, doi:10.1212/WNL.50.6.1699.
    """
    x, y, z = np.abs(atlas_mm[:, 0]), atlas_mm[:, 1], atlas_mm[:, 2]
    anterior = soft_step((15 + 0.15 * np.clip(y, 0, 60) + 0.08 * np.clip(z, 0, 70) - x) / 3) * soft_step((y + 46) / 4)
    deep = soft_step((z - 4) / 4) * soft_step((26 - z) / 4) * soft_step((y + 30) / 4) * soft_step((28 - y) / 4)
    occipital = soft_step((-46 - 0.3 * x + 0.15 * np.clip(z, 0, 70) * -1 - y) / 4)
    thalamus = soft_step((19 - x) / 2) * soft_step((y + 34) / 3) * soft_step((-1 - y) / 3) * soft_step((18 - z) / 3)
    temporal = soft_step((-2 - z) / 3) * soft_step((34 - x) / 3) * soft_step((-12 - y) / 4)
    pca = np.clip(occipital + thalamus + temporal, 0, 1)
    aca = anterior * (1 - pca) * (1 - 0.9 * deep * soft_step((x - 8) / 2))
    return {"aca": aca, "pca": pca, "mca": np.clip(1 - aca - pca, 0, 1)}


def soft_step(value: np.ndarray) -> np.ndarray:
    """Return the logistic function of ``value``."""
    return 1.0 / (1.0 + np.exp(-np.clip(value, -30, 30)))


def avoid_sulci(depth: np.ndarray, matter: np.ndarray) -> np.ndarray:
    """Return ``depth`` (n,) plus 12 as an expert's outline sees it: voxels of little tissue count as shallower."""
    return np.where(matter > 0.3, np.maximum(depth + 1.2 * np.minimum(matter - 0.75, 0), -12), -12) + 12


@dataclass(frozen=True)
class Stroke:
    """Hold one occlusion: its kind, side and the parameters of the ischaemia.

    Units: ``centre_mm`` MNI; ``lesion_ml`` and ``core_ml`` summed over the slabs; ``delay_s`` at the core's edge.
    """

    occlusion: str
    side: float
    centre_mm: np.ndarray
    lesion_ml: float
    core_ml: float
    penumbra_ratio: float
    penumbra_share: float
    core_flow_drop: float
    delay_s: float
    core_cbv: float
    reopened: float
    onset_h: float

    @property
    def side_name(self) -> str:
        """Return the patient's side."""
        return "left" if self.side < 0 else "right"


def fed_by(stroke: Stroke, atlas_mm: np.ndarray) -> np.ndarray:
    """Return which points (n,) lie in the main territory of the occluded vessel, on its side."""
    name = "mca" if stroke.occlusion[0] in "im" else stroke.occlusion
    return (territories(atlas_mm)[name] > 0.5) & (stroke.side * atlas_mm[:, 0] > 0)


def draw_stroke(rng: np.random.Generator, *, lesion_ml: float, level_mm: float, height_mm: float) -> Stroke:
    """Draw an occlusion for the lesion volume, within the slab."""
    shares, usual_ml = (np.array([usual[key] for usual in OCCLUSIONS.values()]) for key in ("share", "lesion_ml"))
    fit = shares * np.exp(-0.5 * (np.log(lesion_ml / usual_ml) / 0.9) ** 2)
    kind = list(OCCLUSIONS)[int(rng.choice(len(OCCLUSIONS), p=fit / fit.sum()))]
    usual = OCCLUSIONS[kind]
    side = float(rng.choice([-1.0, 1.0]))
    centre = np.array(usual["centre_mm"]) + rng.normal(0, usual["spread_mm"], 3)
    # The lesion must lie in the scanned slab, or the scan would have none.
    centre[2] = np.clip(centre[2], level_mm - 0.6 * height_mm, level_mm + 0.6 * height_mm)
    growth = float(np.exp(rng.normal(0.2, 0.35)))
    return Stroke(
        occlusion=kind,
        side=side,
        centre_mm=np.array([side * abs(centre[0]), centre[1], centre[2]]),
        lesion_ml=lesion_ml,
        core_ml=lesion_ml / growth,
        penumbra_ratio=float(np.exp(rng.normal(1.1, 0.4))),
        penumbra_share=float(rng.uniform(0.0, 0.2)),
        core_flow_drop=float(rng.uniform(0.48, 0.70)),
        delay_s=float(rng.uniform(5.2, 8.5)),
        core_cbv=float(rng.uniform(0.6, 0.95)),
        reopened=float(rng.uniform(0.6, 0.95) if rng.random() < 0.07 else 0.0),
        onset_h=float(rng.uniform(1.5, 7.0)),
    )


class Ischaemia:
    """Compute fields over the head from the occlusion: ``depth`` orders voxels from spared to worst."""

    def __init__(self, rng: np.random.Generator, stroke: Stroke) -> None:
        self.stroke = stroke
        self._collaterals, self._growth, self._texture = (SmoothField(rng, scale) for scale in (11.0, 9.0, 5.0))
        self._rescued_mm = stroke.centre_mm + rng.normal(0, 18, 3)
        self._rescue = float(rng.uniform(0.3, 0.9) if rng.random() < 0.35 else 0.0)
        self._embolus_mm = stroke.centre_mm + np.array([0.0, rng.normal(0, 28), rng.normal(0, 8)])
        self._embolus = float(rng.uniform(0.0, 0.8) if rng.random() < 0.3 else -9.0)

    def depth(self, head_mm: np.ndarray, atlas_mm: np.ndarray) -> np.ndarray:
        """Return how deep each point (n,) lies in the ischaemia, without unit; larger is worse."""
        stroke = self.stroke
        member = self.membership(atlas_mm)
        own_side = soft_step(stroke.side * atlas_mm[:, 0] / 1.5)
        width = np.array([1.0, 1.5, 1.3], np.float32) * 26.0
        near = -np.linalg.norm((atlas_mm - stroke.centre_mm.astype(np.float32)) / width, axis=1)
        embolus = self._embolus - np.linalg.norm((atlas_mm - self._embolus_mm.astype(np.float32)) / 9.0, axis=1)
        # Distance from the occlusion, or from a second embolus, bent by the collaterals.
        base = np.maximum(near, embolus) + 0.28 * self._collaterals.at(head_mm)
        return (base + 0.7 * np.log(np.maximum(member * own_side, 1e-5))).astype(np.float32)

    def membership(self, atlas_mm: np.ndarray) -> np.ndarray:
        """Return the share (n,) of each point supplied by the occluded vessel, on either side."""
        parts = territories(atlas_mm)
        return np.sum([parts[name] for name in OCCLUSIONS[self.stroke.occlusion]["territories"]], axis=0)

    def later_depth(self, head_mm: np.ndarray, atlas_mm: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return the depth after growth and partial reperfusion, from which the lesion on DWI is drawn."""
        # Part of the tissue is reperfused before the DWI: the label is not the core of the first scan.
        rescued = np.exp(-0.5 * (np.linalg.norm(atlas_mm - self._rescued_mm.astype(np.float32), axis=1) / 14) ** 2)
        return depth + 0.17 * self._growth.at(head_mm) + 0.05 * self._texture.at(head_mm) - self._rescue * rescued


def without_specks(mask: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Return a mask (H, W, D), not an empty one, without parts below 0.12 ml but the largest: nobody draws them."""
    labels, sizes = connected_parts(mask)
    keep = sizes * voxel_ml >= 0.12
    keep[sizes.argmax()] = True
    return keep[labels]


def level_of_largest(values: np.ndarray, voxels: float) -> float:
    """Return the level that the largest ``voxels`` of ``values`` (any shape) reach."""
    kept = int(np.clip(round(voxels), 1, values.size - 1))
    return float(np.partition(values.ravel(), values.size - kept)[values.size - kept])
