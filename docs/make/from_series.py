"""Dice of a bundle on unseen simulated scans, by maps from files or measured from the series.

``python docs/make/from_series.py --cases 8 --step 16 --out docs/tables/from_series.csv``
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_isles.bundle import Bundle
from monai_isles.data.study import find_studies
from monai_isles.inference import load_predictor
from monai_isles.inference.ischaemia import case_ischaemia
from monai_isles.inference.malloc import use_threads
from monai_isles.io import read_image
from monai_isles.io.publish import publish_text
from monai_isles.metrics import dsc
from monai_isles.phantom import make_case
from monai_isles.phantom.ct.scan import CaseArrays
from monai_isles.phantom.folder import save_lps
from monai_isles.progress import progress
from monai_isles.workflows.perfusion import intensity_flags, measure_study

_SEEN = ("ct", "cbf", "cbv", "mtt", "tmax")
WAYS = ("data set", "from series")


def main(argv: Sequence[str] | None = None) -> int:
    """Write one row a scan and print the table of means; the lesion scored is the one of the later DWI."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="bundles/clerigues")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=4242, help="of the phantom; not the one of the training data")
    parser.add_argument("--max-slices", type=int, default=4)
    parser.add_argument("--step", type=int, default=16, help="voxels between windows")
    parser.add_argument("--mc-passes", type=int, default=1)
    parser.add_argument("--out", required=True, help="CSV file, one row a scan")
    args = parser.parse_args(argv)
    use_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in progress(range(1, args.cases + 1), "scans", total=args.cases):
            scan = make_case(n, seed=args.seed, max_slices=args.max_slices)
            rows.append({"scan": n, "slices": scan.label.shape[2], **_row(scan, Path(folder) / f"scan_{n}", args)})
    publish_text(args.out, _csv(rows))
    print(_table(rows))
    return 0


def _row(scan: CaseArrays, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    study, own = _written(scan, folder)
    changes = {"step": [args.step] * 2, "mc_passes": args.mc_passes}
    predictor = load_predictor(Path(args.bundle), folder / "out", device="cpu", changes=changes)
    metadata = Bundle.open(args.bundle).metadata_of(list(predictor.weights.values()))
    (series,) = find_studies([study]).values()
    measured = measure_study(series, "measured", folder / "out")
    row: dict[str, float] = {}
    for way, entry in zip(WAYS, (own, measured.entry), strict=True):
        lesion = np.asarray(predictor.predict(entry)["lesion"][0]) > 0
        row[f"{way}: Dice"] = round(float(dsc(lesion, scan.label)), 4)
        row[f"{way}: remarks"] = _remarks(entry, metadata)
    for way, entry in (("rule, data set", own), ("rule, measured", measured.entry)):
        found = case_ischaemia(entry)
        row[f"{way}: Dice"] = round(float(dsc(found[0].core, scan.label)), 4) if found else 0.0
    return row


def _written(scan: CaseArrays, folder: Path) -> tuple[Path, dict[str, object]]:
    """Write the series with its plain CT as a study, and the data set's own maps; return both."""
    place = {"spacing_mm": scan.spacing_mm, "level_mm": float(scan.truth["level_mm"])}
    for name in ("study", "own"):
        (folder / name).mkdir(parents=True)
    save_lps(np.moveaxis(scan.ctp, 0, -1), folder / "study" / "ctp.nii.gz", dt_s=scan.dt_s, **place)
    save_lps(scan.images["ct"], folder / "study" / "ct.nii.gz", **place)
    for key in _SEEN:
        save_lps(scan.images[key], folder / "own" / f"{key}.nii.gz", **place)
    return folder / "study", {"case": "own", **{key: str(folder / "own" / f"{key}.nii.gz") for key in _SEEN}}


def _remarks(entry: Mapping[str, object], metadata: Mapping[str, object]) -> int:
    arrays = {key: read_image(str(entry[key]), kind=key).data for key in _SEEN}
    return len(intensity_flags(arrays, sum(arrays[key] for key in _SEEN[1:]) > 0, metadata))


def _csv(rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _table(rows: Sequence[Mapping[str, float]]) -> str:
    lines = ["| maps | mean Dice | scans with unseen intensities |", "|---|---|---|"]
    for way in (*WAYS, "rule, data set", "rule, measured"):
        mean = np.mean([row[f"{way}: Dice"] for row in rows])
        strange = sum(row.get(f"{way}: remarks", 0) > 0 for row in rows) if way in WAYS else "-"
        lines.append(f"| {way} | {mean:.3f} | {strange} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
