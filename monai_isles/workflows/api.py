"""The Python API: segment a case, measure a series, score masks; from paths, nibabel images, arrays or MetaTensors."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import SpaceKeys
from nibabel.spatialimages import HeaderDataError, SpatialImage

from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.data.entries import find_inputs
from monai_isles.errors import arguments_error, find_isles_error, first_line, refused
from monai_isles.inference.predictor import Choices
from monai_isles.io.clock import UserTimes
from monai_isles.io.payload import check_file
from monai_isles.io.publish import publish
from monai_isles.io.read import read_image
from monai_isles.modalities import LABEL, MODALITIES
from monai_isles.training.distributed import pick_device
from monai_isles.workflows.evaluate import score_folder
from monai_isles.workflows.perfusion import Measuring, measure_series
from monai_isles.workflows.predict import predict_cases, publish_page, recipe_of, remove_former

Affine = Sequence[Sequence[float]] | np.ndarray
ImageLike = str | Path | SpatialImage | torch.Tensor | tuple[np.ndarray, Affine]
_CASE, _HEAD_MM = "case", 500.0


class Aside:
    """Make a temporary folder that is deleted with the object that holds it, but not with a fork's copy of it."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="monai-isles-"))
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Result:
    """Hold the files of one case in a temporary folder until they are saved; it is deleted with this object.

    ``record`` is the content of ``result.json`` or ``perfusion.json``.

    >>> from monai_isles.workflows.api import Aside
    >>> folder = Aside()
    >>> Result({"case": "case_01"}, folder.path, folder).record["case"]
    'case_01'
    """

    record: dict[str, Any]
    folder: Path
    _aside: Aside = field(repr=False, compare=False)

    @property
    def affine(self) -> np.ndarray:
        """Return the 4 x 4 affine of the grid of all images, in mm."""
        return np.asarray(self.image(min(self.folder.glob("*.nii.gz")).name.removesuffix(".nii.gz")).affine)

    def array(self, name: str) -> np.ndarray:
        """Return an image by its file's name without ``.nii.gz``. Shapes: (H, W, D)."""
        return np.asarray(self.image(name).dataobj)

    def image(self, name: str) -> nibabel.Nifti1Image:
        """Return an image as a nibabel object, which holds its voxels and outlives this object."""
        image = nibabel.Nifti1Image.from_filename(self.folder / f"{name}.nii.gz")
        return nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the files along to another process, whose copy lies in a temporary folder of its own."""
        files = {path.relative_to(self.folder): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        return _unpickled, (type(self), self.record, files)

    def save(self, out: str | Path) -> Path:
        """Write every file into ``out``, each complete or not at all; a former result is replaced; return ``out``."""
        remove_former(Path(out), [path.name for path in self.folder.iterdir()])
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                publish(Path(out) / path.relative_to(self.folder), partial(shutil.copyfile, path))
        return Path(out)


def _unpickled(kind: type[Result], record: dict[str, Any], files: Mapping[Path, bytes]) -> Result:
    aside = Aside()
    for name, content in files.items():
        (aside.path / name).parent.mkdir(parents=True, exist_ok=True)
        (aside.path / name).write_bytes(content)
    return kind(record, aside.path, aside)


class Segmentation(Result):
    """Hold ``lesion``, ``probability`` and the other results of a bundle for one case.

    >>> from monai_isles.phantom import make_dataset
    >>> folder = make_dataset("ct", cases=1, seed=7, series=False, max_slices=2)
    >>> result = segment(folder / "TRAINING" / "case_1", bundle="threshold")
    >>> result.array("lesion").shape, result.lesion_ml > 1
    ((256, 256, 2), True)
    """

    @property
    def lesion_ml(self) -> float:
        """Return the volume of the lesion in ml."""
        return float(self.record["lesion_ml"])


def segment(
    case: str | Path | Mapping[str, ImageLike],
    bundle: str | Path | Bundle = "clerigues",
    *,
    weights: str | Path | Sequence[str | Path] | None = None,
    device: str | torch.device = "auto",
    step: int | Sequence[int] | None = None,
    fast: bool = False,
    whole_slices: bool = False,
    mc_passes: int | None = None,
    threshold: float | None = None,
    min_size_vox: int | None = None,
    resample: bool = False,
    report: bool = False,
) -> Segmentation:
    """Segment one case, as ``monai-isles predict`` does, and return its maps and numbers.

    Shapes: images (H, W, D), in the axis order of their affine; a MetaTensor may have a channel axis of one in front.
        An array of SimpleITK is (D, H, W): transpose it. This is refused (``E-USE-83``) only if it spans over 500 mm.
    Units: HU for CT, ml/100 g/min for CBF, ml/100 g for CBV, s for times.
    Args:
        case: a case folder, or an image by modality (``ct``, ``cbf``, ...): a path, a nibabel image, a pair of array
            and affine, or a MetaTensor.
        weights, device, step, fast, whole_slices, mc_passes, threshold, min_size_vox: replace the bundle's, as in
            ``monai_isles.inference.predictor.Choices``.
        resample: images on another grid than the first are registered and may be resampled onto it.
        report: also write ``report.html``.
    Raises: ``E-USE-80`` not one case, ``E-USE-83`` no image, and those of ``monai-isles predict``.

    >>> from monai_isles.phantom import make_dataset
    >>> folder = make_dataset("ct", cases=1, seed=7, series=False, max_slices=2)
    >>> result = segment(folder / "TRAINING" / "case_1", bundle="threshold")
    >>> sorted(path.name for path in result.save("results/case_1").iterdir())[:2]
    ['core.nii.gz', 'hypoperfused.nii.gz']
    """
    steps = None if step is None else tuple(np.atleast_1d(step).tolist())
    files = [weights] if isinstance(weights, (str, Path)) else weights or ()
    choices = Choices(
        weights=tuple(map(Path, files)), device=str(device), step=steps, fast=fast, whole_slices=whole_slices,
        mc_passes=mc_passes, threshold=threshold, min_size_vox=min_size_vox,
    )  # fmt: skip
    bundle, aside = Bundle.open(bundle), Aside()
    config, out = bundle.config("inference"), aside.path / "out"
    entry = _entry(case, **case_keys(config), aside=aside.path) | ({"resample": True} if resample else {})
    changes, after = choices.changes(config.get(), bundle), partial(publish_page, out) if report else None
    recipe = recipe_of(bundle, out, choices=choices, changes=changes)
    try:
        predict_cases(recipe.load(), [entry], out, after=after, strict=True)
    except RuntimeError as error:  # MONAI's, around the refusal of a transform or of a setting
        refusal = find_isles_error(error) or arguments_error(error)
        if refusal is None:
            raise
        raise refusal from None
    folder = out / str(entry["case"])
    return Segmentation(json.loads((folder / "result.json").read_bytes()), folder, aside)


def measure_perfusion(
    series: ImageLike,
    *,
    dt_s: UserTimes = None,
    method: str | None = None,
    truncation: float | str | None = None,
    smoothing_mm: float | None = None,
    motion: bool = True,
    device: str | torch.device = "auto",
) -> Result:
    """Measure ``cbf cbv mtt tmax ttp rcbf brain`` of one CT perfusion series, as ``monai-isles perfusion`` does.

    Shapes: (H, W, D, T), as nibabel gives a 4D NIfTI file.  Units: HU; seconds between frames.
    Args:
        series: 4D NIfTI file, DICOM folder, nibabel image, or a pair of array and affine or a MetaTensor (these two
            need ``dt_s``); a MetaTensor may have a channel axis of one in front.
        dt_s: the time between frames, or one time for each frame.
        method, truncation, smoothing_mm, motion, device: as the options of the command.
    Raises: those of ``monai-isles perfusion``.

    >>> maps = measure_perfusion((np.moveaxis(series, 0, -1), np.diag([3.0, 3.0, 5.0, 1.0])), dt_s=1.0)
    >>> tmax = maps.array("tmax")
    >>> round(float(np.median(tmax[maps.array("brain") > 0])))  # seconds after the artery
    4
    """
    aside, times_s = Aside(), dt_s if dt_s is None or np.ndim(dt_s) else float(dt_s)  # type: ignore[arg-type]
    path, folder = _on_disk(series, aside.path / "ctp.nii.gz"), aside.path / "out"
    options = Measuring(method, truncation, smoothing_mm, times_s, motion, str(pick_device(str(device))))
    record = measure_series(path, folder, options)
    return Result(record, folder, aside)


def evaluate(pred: ImageLike, ref: ImageLike, *, out: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Score predictions against references, as ``monai-isles evaluate`` does, and return its summary.

    Args:
        pred, ref: two folders, or two masks of one case: files, nibabel images, pairs of array and affine, MetaTensors.
        out: folder for ``per_case.csv``, ``summary.json`` and ``run.json``; None writes no files.
        options: further arguments of ``monai_isles.workflows.evaluate.score_folder``: ``data_list``, ``folds`` ...
    Raises: those of ``monai-isles evaluate``.

    >>> truth, affine = np.zeros((4, 4, 2)), np.diag([1.0, 1.0, 5.0, 1.0])
    >>> truth[:2] = 1
    >>> scores = evaluate((truth, affine), (truth, affine))
    >>> scores["methods"]["network"]["metrics"]["dsc"]["mean"]
    1.0
    """
    with TemporaryDirectory(prefix="monai-isles-") as aside:
        masks, references = _mask_folder(pred, Path(aside) / "pred"), _mask_folder(ref, Path(aside) / "ref")
        return score_folder(masks, references, Path(aside) / "out" if out is None else out, **options)


def _entry(
    case: str | Path | Mapping[str, ImageLike], keys: Sequence[str], optional: Sequence[str], aside: Path
) -> dict[str, object]:
    """Return the flat dictionary of one case, its images on disk."""
    if isinstance(case, Mapping):
        case = {key: image for key, image in case.items() if image is not None}
        missing = [f"no {key}" for key in keys if key not in case]
        unknown = [f"{key}, which is no modality" for key in case if key not in (*MODALITIES, LABEL)]
        if missing or unknown:
            raise refused("E-USE-80", where="segment", found="; ".join([*missing, *unknown]))
        unused = {LABEL, "ctp"} - {*keys, *optional}  # the others serve the threshold rules and the page
        available = [key for key in dict.fromkeys((*keys, *optional, *case)) if key in case and key not in unused]
        images = {key: _on_disk(case[key], aside / "in" / f"{key}.nii.gz") for key in available}
        for key, path in images.items():
            check_file(path, f"{key}: {path}")
        return {"case": _CASE, "subject": _CASE, **{key: str(path) for key, path in images.items()}}
    if not isinstance(case, (str, Path)):
        raise refused("E-USE-80", where="segment", found=f"a {type(case).__name__}")
    inputs = find_inputs([case], keys=keys, reads=(*keys, *optional))
    if len(inputs) != 1:
        raise refused("E-USE-80", where=str(case), found=f"{len(inputs)} cases")
    return inputs[0].entry()


def _mask_folder(mask: ImageLike, folder: Path) -> str | Path:
    """Return a folder of masks unchanged; put a single mask into its own folder."""
    if isinstance(mask, (str, Path)) and not Path(mask).is_file():
        return mask
    folder.mkdir()
    path = _on_disk(mask, folder / f"{_CASE}.nii.gz")
    if path.parent != folder:
        read_image(path, kind=LABEL)  # so that an error names the user's file
        shutil.copyfile(path, folder / f"{_CASE}{'.nii.gz' if path.name.lower().endswith('.gz') else '.nii'}")
    return folder


def _on_disk(image: ImageLike, path: Path) -> Path:
    """Return the path of an image; one in memory is written to ``path`` as NIfTI, in its own precision."""
    if isinstance(image, (str, Path)):
        return Path(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, SpatialImage):
        nibabel.save(image, path)
        return path
    try:
        written = _nifti(image)
    except (AttributeError, HeaderDataError, TypeError, ValueError) as error:
        name, found = path.name.removesuffix(".nii.gz"), f"{type(image).__name__}: {first_line(error)}"
        raise refused("E-USE-83", where=f"image in memory: {name}", found=found) from error
    written.header.set_xyzt_units("mm")  # no unit of time: nothing states the time between frames
    nibabel.save(written, path)
    return path


def _nifti(image: torch.Tensor | tuple[Any, Affine]) -> nibabel.Nifti1Image:
    """Return a pair of array and affine, or a MetaTensor, in a type that every NIfTI reader supports."""
    values, affine = (image, image.affine) if isinstance(image, torch.Tensor) else image  # type: ignore[attr-defined]
    if isinstance(image, MetaTensor) and image.meta.get("space") == SpaceKeys.LPS:
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine)
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    voxels = np.asarray(values)
    if isinstance(image, torch.Tensor) and voxels.ndim > 3 and len(voxels) == 1:
        voxels = voxels[0]
    kind = voxels.dtype.kind
    if kind in "bf" or (kind in "iu" and voxels.dtype.itemsize == 8):
        voxels = voxels.astype({"b": np.uint8, "f": np.float32}.get(kind, np.int32))
    written = nibabel.Nifti1Image(voxels, np.asarray(affine, dtype=np.float64))
    if voxels.ndim > 2:
        spacing = np.array(written.header.get_zooms()[:3])
        span, turned = (np.max(spacing * shape[:3]) for shape in (voxels.shape, voxels.shape[::-1]))
        if span > _HEAD_MM >= turned:
            raise ValueError(f"shape {voxels.shape} spans {span:.0f} mm, in reverse {turned:.0f} mm: transpose it")
    return written
