from .calibration import Reliability, brier_score, reliability, uncertainty_auroc, uncertainty_errors
from .image import image_quality, lesion_region, psnr_db, ssim_map
from .lesionwise import count_lesions, lesion_f1, matched_lesion_f1
from .monai_metrics import L1ErrorRate, LesionDice, LesionHausdorff, VoxelAccuracy
from .overlap import RULES, diagonal, dsc, emptiness, paired_masks, ppv, sensitivity
from .surface import SurfaceDistances, assd_half_sum_mm, assd_mm, hd95_mm, hd_mm, hd_vox, surface_distances
from .volume import STRATA, avd_ml, bland_altman, r2_identity, r2_pearson, rve, size_stratum, volume_ml

__all__ = [
    "L1ErrorRate",
    "LesionDice",
    "LesionHausdorff",
    "RULES",
    "Reliability",
    "STRATA",
    "SurfaceDistances",
    "VoxelAccuracy",
    "assd_half_sum_mm",
    "assd_mm",
    "avd_ml",
    "bland_altman",
    "brier_score",
    "count_lesions",
    "diagonal",
    "dsc",
    "emptiness",
    "hd95_mm",
    "hd_mm",
    "hd_vox",
    "image_quality",
    "lesion_f1",
    "lesion_region",
    "matched_lesion_f1",
    "paired_masks",
    "ppv",
    "psnr_db",
    "r2_identity",
    "r2_pearson",
    "reliability",
    "rve",
    "sensitivity",
    "size_stratum",
    "ssim_map",
    "surface_distances",
    "uncertainty_auroc",
    "uncertainty_errors",
    "volume_ml",
]
