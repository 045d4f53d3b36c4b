"""Deconvolution against curves of known flow, transit time and delay: bias by residue function, noise and method."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from monai_isles.perfusion.deconvolution import METHODS
from monai_isles.perfusion.maps import DENSITY_G_ML, HEMATOCRIT_FACTOR, voxel_maps
from monai_isles.phantom.ct.kinetics import RESIDUES, Bolus, TissueCurves

BOLUS = Bolus(arrival_s=6.0, alpha=3.0, beta_s=1.5, peak_hu=250.0, recirculation=0.2)
FRAMES, DT_S, COPIES = 50, 1.0, 300
WAYS = {
    "learned": ("learned", METHODS["learned"]),
    "bayes": ("bayes", METHODS["bayes"]),
    "bcsvd 0.05": ("bcsvd", 0.05),
    "bcsvd 0.10": ("bcsvd", 0.10),
    "bcsvd 0.15": ("bcsvd", 0.15),
    "bcsvd 0.20": ("bcsvd", 0.20),
    "osvd 0.035": ("osvd", 0.035),
    "osvd 0.065": ("osvd", 0.065),
    "osvd 0.095": ("osvd", 0.095),
    "tikhonov 0.05": ("tikhonov", 0.05),
    "tikhonov 0.10": ("tikhonov", 0.10),
    "tikhonov gcv": ("tikhonov", "gcv"),
}
MTT_S, DELAYS_S, NOISE_HU = (2.0, 3.0, 4.5, 6.0, 9.0, 14.0), (0.0, 1.0, 2.0, 3.0), (0.0, 0.3, 1.0)
CBV = 4.0


def curve_rows() -> list[dict[str, object]]:
    """Return one row a method, residue function, noise level and transit time; true CBV 4 ml/100 g, delays 0 to 3 s.

    Curves of all transit times are measured together, as those of a scan are.
    """
    time_s, rng = np.arange(FRAMES) * DT_S, np.random.default_rng(0)
    aif = torch.tensor(BOLUS.curve(time_s), dtype=torch.float32)
    rows = []
    for kind in RESIDUES:
        table = TissueCurves(BOLUS, kind, time_s, dispersion=0.0)
        for noise in NOISE_HU:
            mtt, delays = (grid.ravel() for grid in np.meshgrid(MTT_S, np.repeat(DELAYS_S, COPIES), indexing="ij"))
            clean = table.tissue(60.0 * CBV / mtt, mtt, delays)
            curves = torch.tensor(clean + rng.normal(0, noise, clean.shape), dtype=torch.float32)
            for name, (method, level) in WAYS.items():
                found = [v.numpy() for v in voxel_maps(curves, aif, DT_S, method=method, level=level)]
                for one in MTT_S:
                    here, cbf = mtt == one, 60.0 * CBV / one
                    rows.append(
                        {"method": name, "residue": kind, "noise_hu": noise, "mtt_s": one, "cbf": round(cbf, 1)}
                        | _scores([v[here] for v in found], delays[here], cbf, one)
                    )
    return rows


def _scores(found: list[np.ndarray], delays: np.ndarray, cbf: float, mtt: float) -> dict[str, float]:
    slope, offset = np.polyfit(delays, found[3], 1)
    flow = [float(found[0][delays == delay].mean()) for delay in DELAYS_S]
    return {
        "cbf_ratio": round(float(found[0].mean()) / cbf, 3),
        "cbf_cv": round(float(found[0].std() / found[0].mean()), 3),
        "cbf_change_over_3s_delay": round(flow[-1] / flow[0] - 1, 3),
        "cbv_ratio": round(float(found[1].mean()) / CBV, 3),
        "mtt_ratio": round(float(found[2].mean()) / mtt, 3),
        "tmax_slope": round(float(slope), 3),
        "tmax_at_0s": round(float(offset), 2),
        "tmax_sd_s": round(float((found[3] - slope * delays - offset).std()), 2),
    }


def tile_rows(*, side_vox: int = 16, noise_hu: float = 4.0, smoothing_mm: float = 5.0) -> list[dict[str, object]]:
    """Return one row a method on a digital phantom of tiles: CBV 1 to 5, MTT 3 to 24 s, delay 0 to 3 s.

    Source: the design of Kudo et al., Radiology 2013, doi:10.1148/radiol.12112618 (digital phantom of tiles); curves
    and numbers ours.
    """
    from monai_isles.perfusion.masks import smooth_in_plane

    volumes, transits = (1.0, 2.0, 3.0, 4.0, 5.0), (24.0, 12.0, 8.0, 6.0, 4.8, 4.0, 3.4)
    time_s, rng = np.arange(FRAMES) * DT_S, np.random.default_rng(1)
    aif = torch.tensor(BOLUS.curve(time_s), dtype=torch.float32)
    table, grid = (
        TissueCurves(BOLUS, "exponential", time_s, dispersion=0.0),
        np.meshgrid(volumes, transits, DELAYS_S, indexing="ij"),
    )
    cbv, mtt, delay = (g.ravel() for g in grid)
    cbf = 60.0 * cbv / mtt
    tiles = table.tissue(cbf, mtt, delay).T.reshape(FRAMES, 5, -1).astype(np.float32)
    image = np.kron(tiles, np.ones((1, side_vox, side_vox), np.float32))
    image = torch.tensor(image + rng.normal(0, noise_hu, image.shape), dtype=torch.float32)[..., None]
    inside = torch.ones(image.shape[1:])
    smooth = smooth_in_plane(image, inside, fwhm_mm=smoothing_mm, spacing_mm=(1.0, 1.0))[..., 0]
    middle = slice(side_vox // 2 - 3, side_vox // 2 + 3)
    blocks = smooth.reshape(FRAMES, 5, side_vox, -1, side_vox)[:, :, middle, :, middle]
    curves = blocks.permute(1, 3, 2, 4, 0).reshape(-1, FRAMES)
    rows = []
    for name, (method, level) in WAYS.items():
        values = voxel_maps(curves, aif, DT_S, method=method, level=level)
        found = [v.numpy().reshape(len(cbf), -1).mean(1) for v in values]
        row: dict[str, object] = {"method": name}
        for key, map_, true in (("cbf", found[0], cbf), ("cbv", found[1], cbv), ("mtt", found[2], mtt)):
            row |= {f"{key}_r": round(_r(map_, true), 3), f"{key}_ratio": round(float(np.median(map_ / true)), 3)}
        healthy = mtt <= 6.0
        slope, offset = np.polyfit(delay[healthy], found[3][healthy], 1)
        row |= {"tmax_slope": round(float(slope), 3), "tmax_at_0s": round(float(offset), 2)}
        rows.append(row)
    return rows


def osipi_rows(path: Path) -> list[dict[str, object]]:
    """Return one row a method and set of the OSIPI curves: blood volume 4 and 2 ml/100 ml, no delay, CNR 200.

    Their flow holds neither density nor hematocrit.
    """
    with path.open(newline="", encoding="utf-8") as file:
        curves = list(csv.DictReader(file))
    rows = []
    for name, (method, level) in WAYS.items():
        # of single curves nothing is learned: "learned" is "bayes"
        for volume in () if method == "learned" else ("4", "2"):
            chosen = [row for row in curves if row["cbv"] == volume]
            ratios, volumes, correlation = [], [], []
            for row in chosen:
                tissue, artery = (torch.tensor([float(x) for x in row[k].split()]) for k in ("C_tis", "C_aif"))
                dt_s = float(row["tr"])
                found = voxel_maps(tissue[None], artery, dt_s, method=method, level=level)
                cbf, cbv = (float(value) * DENSITY_G_ML / HEMATOCRIT_FACTOR for value in found[:2])
                ratios.append(cbf / float(row["cbf"]))
                correlation.append((cbf, float(row["cbf"])))
                volumes.append(cbv / float(row["cbv"]))
            rows.append(
                {
                    "method": name,
                    "cbv": volume,
                    "curves": len(chosen),
                    "cbf_ratio_lowest_flow": round(ratios[0], 3),
                    "cbf_ratio_highest_flow": round(ratios[-1], 3),
                    "cbf_r": round(_r(*np.array(correlation).T), 3),
                    "cbv_ratio": round(float(np.mean(volumes)), 3),
                }
            )
    return rows


def _r(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])
