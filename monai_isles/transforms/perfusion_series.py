"""Derive images from a CT perfusion series: perfusion stage in a few frames, arterial-time curves, maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, ensure_tuple
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from monai_isles.errors import IslesError, refused
from monai_isles.io.clock import nifti_clock
from monai_isles.io.findings import WARNING, as_finding, finding, tell
from monai_isles.modalities import PERFUSION_MAPS
from monai_isles.perfusion.frames import BAD_FRAME, repair_frames
from monai_isles.perfusion.maps import SMOOTHING_MM, measured_maps
from monai_isles.perfusion.masks import smooth_in_plane
from monai_isles.perfusion.prepared import prepare_series
from monai_isles.perfusion.quality import Flag
from monai_isles.perfusion.timing import arterial_curves, frames_at
from monai_isles.transforms.grid import OWN_FILE
from monai_isles.transforms.intensity import spacing_of


class TemporalMIPd(MapTransform):
    """Project a series along time by its maximum, over all frames, before any cropping; torn ones are repaired first.

    Shapes: ``(T, H, W, D)`` in, ``(1, H, W, D)`` float32 out; affine unchanged. Units: those of the series.
    Raises: ``E-TPW-04`` for a single volume.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equation (1); ``tests/transforms/test_temporal_mip.py``.

    >>> TemporalMIPd("ctp")({"ctp": torch.arange(3.0).reshape(3, 1, 1, 1)})["mip"].flatten().tolist()
    [2.0]
    """

    def __init__(self, keys: KeysCollection, *, name: str = "mip", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.name = name

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        out = dict(data)
        for key in self.key_iterator(out):
            series = out[key]
            if series.ndim != 4 or series.shape[0] < 2:
                where = f"{data.get('case', 'this entry')}: {key}"
                raise refused("E-TPW-04", where=where, found=f"shape {tuple(series.shape)}")
            highest = _repaired(series, str(data.get("case", "")))[0].amax(0, keepdim=True).float()
            out[self.name] = convert_to_dst_type(highest, series, dtype=torch.float32)[0]
        return out


def times_of(series: Tensor) -> np.ndarray:
    """Return the time (T,) of every frame, s: of its file, or steps of the ``dt_s`` of the meta data without a file."""
    meta = getattr(series, "meta", {})
    if file := meta.get(OWN_FILE) or meta.get("filename_or_obj"):
        return nifti_clock(Path(file), len(series)).times_s[0]
    if not meta.get("dt_s"):
        raise refused("E-TIME-01", where="perfusion series", found="no file and no dt_s in the meta data")
    return np.arange(len(series)) * float(meta["dt_s"])


def _repaired(series: Tensor, case: str) -> tuple[Tensor, np.ndarray]:
    """Return the series without empty, torn and misplaced frames, and the times of its frames; even ones without any.

    A torn frame of bright lines would be the maximum along time.
    """
    plain = torch.as_tensor(series).as_subclass(Tensor)
    times = np.arange(len(plain), dtype=float)
    with suppress(IslesError):  # without a clock the frames are taken as even
        times = times_of(series)
    plain, times, lost = repair_frames(plain, times)
    _tell_lost(lost, case)
    return plain, times


def _tell_lost(flags: Sequence[Flag], case: str) -> None:
    """Remark the frames of a series that were repaired."""
    text = "; ".join(flag.text for flag in flags if flag.code == BAD_FRAME)
    if text:
        fix = "no action is needed; check the series if it has more of them"
        fault = "frames are empty, torn or misplaced"
        tell(finding("E-PERF-11", WARNING, where=f"{case}: ctp", found=text, fault=fault, fix=fix))


@dataclass(frozen=True)
class Window:
    """Hold the first and the last frame of the perfusion stage (both included) and the fallbacks used.

    ``no_rise``: no time begins ``k`` rises, so the first frame is taken; ``no_fall``: no time ends ``k`` falls, so the
    last frame is taken; ``crossed``: the last fall ends before the first rise begins, so the whole series is taken.
    Units: frames, counted from 0.
    """

    t_s: int
    t_e: int
    fallbacks: tuple[str, ...] = ()


def perfusion_window(curve: np.ndarray, k: int = 5, *, where: str = "") -> Window:
    """Find the first frame of ``k`` rises in a row of the summed intensity, and the end of the last ``k`` falls.

    The derivative is one-sided: forward for the start, backward for the end. With these the ranges of ``t`` that the
    paper writes are exactly those where all ``k`` derivatives exist. A frame without change counts as neither rise nor
    fall (the paper leaves H(0) open and says "keeps positive" and "keeps negative").

    Shapes: ``curve`` (T,), ``q(t)`` of the paper. Units: any; frames out.
    Raises: ``E-TPW-01`` below ``k + 1`` frames or ``k`` below 1, ``E-TPW-02`` for values that are not finite.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), equations (2) and (3), k = 5; fallbacks ours.

    >>> import numpy as np
    >>> curve = np.r_[np.zeros(5), np.arange(1, 11), np.arange(9, -1, -1), np.zeros(5)].astype(float)
    >>> found = perfusion_window(curve)
    >>> found.t_s, found.t_e
    (4, 24)
    """
    q = np.asarray(curve, dtype=np.float64).ravel()
    if k < 1 or q.size < k + 1:
        raise refused("E-TPW-01", where=where or "series", found=f"{q.size} frames, runs of {k} changes wanted")
    if not np.isfinite(q).all():
        raise refused("E-TPW-02", where=where or "series", found=f"{int((~np.isfinite(q)).sum())} of {q.size} frames")
    change = np.diff(q)
    # runs of k changes are contrast; single ones are noise
    rises, falls = (np.flatnonzero(sliding_window_view(run, k).all(1)) for run in (change > 0, change < 0))
    fallbacks = ([] if rises.size else ["no_rise"]) + ([] if falls.size else ["no_fall"])
    t_s = int(rises[0]) if rises.size else 0
    t_e = int(falls[-1]) + k if falls.size else q.size - 1  # the stage ends with the last run of falls
    if t_s >= t_e:
        return Window(0, q.size - 1, (*fallbacks, "crossed"))
    return Window(t_s, t_e, tuple(fallbacks))


class PerfusionWindowd(MapTransform):
    """Crop a contrast series to its perfusion stage and resample it to a few frames, ``I*`` of the paper.

    The frames are even in time (``times_of``), also where those of the series are not. The curve is the sum over all
    voxels, skull and air included, as in the paper: tissue without contrast adds a constant. The window is stored under
    ``<key>_window``: ``t_s``, ``t_e``, ``fallbacks``, ``curve`` (q of t), of the frames that ``repair_frames`` leaves.

    Shapes: ``(T, H, W, D)`` in, ``(frames, H, W, D)`` float32 out; affine unchanged.
    Units: intensities in the scanner's own units.
    Args:
        k: length of the runs of rises and falls.
        names: entries for the results; None replaces the series.
    Raises: ``E-TPW-01``, ``E-TPW-02`` from ``perfusion_window``, ``E-TPW-03`` fewer than 2 frames requested.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 3.1, equations (2) and (3), C_e = 6.

    >>> curve = torch.tensor([0.0, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0])
    >>> case = PerfusionWindowd("ctp", frames=3)({"ctp": curve.reshape(-1, 1, 1, 1)})
    >>> case["ctp"].flatten().tolist(), case["ctp_window"]["t_s"], case["ctp_window"]["t_e"]
    ([0.0, 5.0, 0.0], 1, 11)
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        frames: int = 6,
        k: int = 5,
        names: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frames, self.k = frames, k
        self.names: tuple[Hashable, ...] = self.keys if names is None else ensure_tuple(names)
        if frames < 2 or len(self.names) != len(self.keys):
            result = f"frames {frames}, {len(self.names)} names for {len(self.keys)} keys"
            raise refused("E-TPW-03", where="PerfusionWindowd", found=result)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key, name in self.key_iterator(out, self.names):
            series, times = _repaired(out[key], str(data.get("case", "")))
            curve = series.flatten(1).sum(1, dtype=torch.float64).cpu().numpy()
            window = perfusion_window(curve, self.k, where=f"{data.get('case', 'this entry')}: {key}")
            frames = frames_at(series, times, np.linspace(times[window.t_s], times[window.t_e], self.frames))
            out[f"{key}_window"] = asdict(window) | {"curve": curve.tolist()}
            out[name] = convert_to_dst_type(frames, out[key], dtype=torch.float32)[0]
        return out


GIVEN, MEASURED, ABSENT = "given", "measured from the series", "absent"


class SeriesMeasuredd(MapTransform):
    """Measure maps and arterial-time curves of a contrast series, and a CT if none is given.

    The maps are those of ``monai_isles.perfusion.measured_maps``, under ``<map>_measured``: given maps stay. The CT is
    the mean of the frames before the bolus. A case without a series passes unchanged where it has all maps; so does,
    with a remark, one whose series cannot be measured. ``groups`` says of ``ct``, ``maps`` and ``series`` whether each
    was given, measured from the series, or is absent.

    Shapes: a series ``(T, H, W, D)`` becomes ``name`` ``(times, H, W, D)``, maps and CT ``(1, H, W, D)``, all float32;
    the series itself is left out, and so are given maps where one is missing. Units: HU, times by ``times_of``; curves
    as ``arterial_curves``, smoothed in plane over 5 mm in the brain, zero outside.
    Args:
        times, step_s: number of arterial times, from 0, and seconds between them.
        method, smoothing_mm: of ``perfusion_maps``: those of the maps on which the network was trained.
    Raises: ``E-TPW-07`` neither all maps nor a series, and those of ``monai_isles.perfusion``.

    >>> image = torch.ones(1, 4, 4, 1)
    >>> SeriesMeasuredd()({key: image for key in ("cbf", "cbv", "mtt", "tmax")})["groups"]
    {'ct': 'absent', 'maps': 'given', 'series': 'absent'}
    """

    def __init__(
        self, keys: str = "ctp", *, name: str = "curves", times: int = 16, step_s: float = 2.5,
        method: str | None = None, smoothing_mm: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(keys, allow_missing_keys=True)
        self.name, self.times_s = name, tuple(step_s * n for n in range(times))
        self.method, self.smoothing_mm = method, smoothing_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        series = out.pop(self.keys[0], None)
        lacking = [key for key in PERFUSION_MAPS if key not in out]
        if lacking and series is None:
            raise refused("E-TPW-07", where=str(data.get("case", "this entry")), found=f"no {', '.join(lacking)}")
        groups = {"ct": GIVEN if "ct" in out else ABSENT, "maps": MEASURED if lacking else GIVEN, "series": ABSENT}
        if series is not None:
            try:
                made = self._measure(series, str(data.get("case", "")))
            except IslesError as error:
                if lacking:
                    raise
                fix = "no action is needed: the maps are used without the series"
                if error.code.startswith("E-TIME"):
                    fix = f"state RepetitionTime (s) in the JSON file of the same name, else {fix}"
                tell(replace(as_finding(error), severity=WARNING, fix=fix))
                return out | {"groups": groups}
            for key in PERFUSION_MAPS if lacking else ():
                out.pop(key, None)
            out = {key: convert_to_dst_type(value, series, dtype=torch.float32)[0] for key, value in made.items()} | out
            groups |= {"series": GIVEN} | ({"ct": MEASURED} if groups["ct"] == ABSENT else {})
        return out | {"groups": groups}

    def _measure(self, series: Tensor, case: str) -> dict[str, Tensor]:
        plain, spacing = torch.as_tensor(series).as_subclass(Tensor).float(), spacing_of(series)
        prepared = prepare_series(plain, times_s=times_of(series), spacing_mm=spacing)
        _tell_lost(prepared.flags, case)
        maps = measured_maps(prepared, method=self.method, smoothing_mm=self.smoothing_mm)
        images = {f"{key}_measured": torch.from_numpy(getattr(maps, key))[None] for key in PERFUSION_MAPS}
        # Time from arterial arrival: delay and step of the scan drop out.
        curves = arterial_curves(prepared.rise_hu.float(), maps.aif, prepared.dt_s, self.times_s)
        tissue, baseline = torch.from_numpy(prepared.tissue), torch.from_numpy(prepared.baseline_hu)[None]
        curves = smooth_in_plane(curves, tissue, fwhm_mm=SMOOTHING_MM, spacing_mm=spacing[:2])
        return images | {"ct": baseline, self.name: curves}
