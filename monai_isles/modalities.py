"""Unit, plausible range and channel order of every modality."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Modality:
    """Describe one kind of image.

    Units: ``lowest`` and ``highest`` bound single voxels, ``typical_max`` bounds the 99th percentile inside
    the brain; all in ``unit``.
    Source: ours, from the field's usual ranges (ISLES 2018 maps as distributed, in the units of their vendor). MR
        intensities have no unit, nor have MR maps of CBF and CBV (``as_in_case``).
    """

    key: str
    name: str
    unit: str
    lowest: float
    highest: float
    typical_max: float
    time_series: bool = False
    perfusion_map: bool = False


_TABLE = (
    Modality("ct", "non-contrast CT", "HU", -2048.0, 32767.0, 3000.0),
    Modality("cbf", "cerebral blood flow", "ml/100 g/min", 0.0, 10000.0, 3000.0, perfusion_map=True),
    Modality("cbv", "cerebral blood volume", "ml/100 g", 0.0, 2000.0, 300.0, perfusion_map=True),
    Modality("mtt", "mean transit time", "s", 0.0, 1000.0, 120.0, perfusion_map=True),
    Modality("tmax", "time to maximum of the residue function", "s", 0.0, 500.0, 120.0, perfusion_map=True),
    Modality("ctp", "CT perfusion series", "HU", -4096.0, 32767.0, 4000.0, time_series=True),
    Modality("dwi", "diffusion-weighted MRI", "a.u.", -1e6, 1e6, 1e6),
    Modality("adc", "apparent diffusion coefficient", "1e-3 or 1e-6 mm2/s", -1e4, 1e5, 2e4),
    Modality("t1", "T1-weighted MRI", "a.u.", -1e6, 1e6, 1e6),
    Modality("t1c", "T1-weighted MRI with contrast", "a.u.", -1e6, 1e6, 1e6),
    Modality("t2", "T2-weighted MRI", "a.u.", -1e6, 1e6, 1e6),
    Modality("flair", "FLAIR MRI", "a.u.", -1e6, 1e6, 1e6),
    Modality("ttp", "time to peak", "s", 0.0, 1000.0, 240.0, perfusion_map=True),
)

MODALITIES: dict[str, Modality] = {m.key: m for m in _TABLE}
CT_CHANNELS = ("ct", "cbf", "cbv", "mtt", "tmax")
SISS_CHANNELS = ("flair", "t1", "t2", "dwi")
SPES_CHANNELS = ("dwi", "cbf", "cbv", "t1c", "t2", "tmax", "ttp")
ISLES2017_CHANNELS = ("adc", "cbf", "cbv", "mtt", "tmax", "ttp")
PERFUSION_MAPS = CT_CHANNELS[1:]
MEASURED_MAPS = (*PERFUSION_MAPS, "ttp")
LABEL = "label"
LABEL_VALUES = "label_values"
