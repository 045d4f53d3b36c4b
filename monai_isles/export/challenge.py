"""Pack a submission for ISLES 2015 to 2018: one mask per test case, with the challenge's names, in a flat zip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_isles.data.datalist import read_datalist
from monai_isles.data.entries import load_entries
from monai_isles.errors import refused
from monai_isles.evaluation.pairs import find_masks
from monai_isles.io.archives import pack_zip
from monai_isles.io.payload import sha256_of
from monai_isles.io.publish import folder_aside, publish_image
from monai_isles.io.read import read_image, require_same_grid
from monai_isles.modalities import MODALITIES
from monai_isles.progress import progress

_ID = re.compile(r"^(VSD|SMIR)\..*\.O\.[A-Za-z0-9_]+\.([A-Za-z0-9]+)\.nii(?:\.gz)?$", re.IGNORECASE)
_ID_OF = ("ct", "flair", "t1c", "mtt", "adc")


@dataclass(frozen=True)
class Submission:
    """Hold a packed submission: the archive, its checksum, and the name of each case's file."""

    archive: Path
    sha256: str
    names: dict[str, str]


def export_challenge(
    pred_dir: str | Path,
    data_list: str | Path | dict,
    dataset_dir: str | Path,
    archive: str | Path,
    *,
    description: str,
    id_of: str | None = None,
) -> Submission:
    """Pack the masks of the test section by ``challenge_names``, uncompressed NIfTI on the grid of their images.

    Source: isles-challenge.org; ``tests/export/test_challenge.py``.
    """
    images, names = challenge_names(data_list, dataset_dir, description=description, id_of=id_of)
    masks = find_masks(Path(pred_dir))
    missing = [case for case in images if case not in masks]
    if missing:
        raise refused("E-CHAL-04", where=str(pred_dir), found=f"{len(missing)} of {len(images)}: {', '.join(missing)}")
    archive = Path(archive)
    with folder_aside(archive.with_suffix("")) as aside:
        for case, name in progress(names.items(), "packing"):
            source, lesion = read_image(images[case], where=case), read_image(masks[case], kind="label", where=case)
            require_same_grid({"image": source, "prediction": lesion}, case=case)
            publish_image(aside / name, lesion.data, source, dtype=np.uint8)
        pack_zip(aside, archive)
    return Submission(archive, sha256_of(archive), names)


def challenge_names(
    data_list: str | Path | dict,
    dataset_dir: str | Path,
    *,
    description: str,
    id_of: str | None = None,
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return image and name in the archive of each test case, ``VSD.<description>.<id>.nii`` or ``SMIR.<...>``.

    Prefix and id are those of an image of the case: the CT of ISLES 2018; the FLAIR of SISS and the T1c of SPES, to
    which the challenge's description says that the others were registered; the MTT of ISLES 2016 and 2017, as a
    participant's public script has it. Which image gives the id is our reading: no upload was made with it, and
    ``id_of`` names another. The description has letters, digits, ``_`` and ``-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", description):
        raise refused("E-CHAL-03", where="description", found=repr(description))
    content = data_list if isinstance(data_list, dict) else read_datalist(data_list, dataset_dir)
    listed = content.get("test", [])
    shared = (key for key in (*_ID_OF, *MODALITIES) if all(key in entry for entry in listed))
    key = id_of or next(shared, _ID_OF[0])
    entries = load_entries(content, dataset_dir, section="test", keys=(key,), need_label=False)
    images = {str(entry["case"]): Path(str(entry[key])) for entry in entries}
    cases: dict[str, str] = {}
    for case, path in images.items():
        match = _ID.search(path.name)
        if match is None:
            raise refused("E-CHAL-01", where=case, found=path.name)
        name = f"{match[1].upper()}.{description}.{match[2]}.nii"
        if name in cases:
            raise refused("E-CHAL-02", where=f"{cases[name]} and {case}", found=match[2])
        cases[name] = case
    return images, {case: name for name, case in cases.items()}
