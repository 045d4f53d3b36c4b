"""Run as a BIDS App: predict participants of a BIDS data set into BIDS derivatives; if one fails, the others run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_isles.bundle.bundle import Bundle
from monai_isles.bundle.configs import case_keys
from monai_isles.case import Case
from monai_isles.cohort.task import Record, left_out_records
from monai_isles.data.bids import scan_bids
from monai_isles.data.scans import Scan, as_case, faults_of, only_read
from monai_isles.errors import refused
from monai_isles.inference.outputs import publish_bids
from monai_isles.io.runs import read_record
from monai_isles.workflows.predict import predict
from monai_isles.workflows.predict_series import Wanted, predict_series


def predict_participants(
    source: str | Path,
    out: str | Path,
    *,
    bundle: Bundle,
    participants: Sequence[str] = (),
    work: str | Path | None = None,
    resample: bool = False,
    report: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Predict participants of ``source`` and write their results below ``out``; return the record of each.

    A session without the bundle's maps is measured from its CT perfusion series, if it has one.

    Args:
        out: BIDS derivative data set, in which participants of earlier calls stay; refused if it is another one.
        participants: labels, with or without ``sub-``; by default all.
        options: ``choices``, ``entropy``, ``place`` and ``strict`` of ``predict``.
    Source: BIDS Apps, doi:10.1371/journal.pcbi.1005209; ``tests/workflows/test_bids.py``.
    """
    aside, out = Path(work) if work else Path(out) / ".monai_isles", Path(out)
    described = read_record(out / "dataset_description.json")
    foreign = bool(described) and "monai_isles" not in str(described.get("GeneratedBy"))
    if foreign or out.resolve() == Path(source).resolve():
        raise refused("E-USE-50", where=str(out), found="a data set of another origin, with its own description")
    asked = case_keys(bundle.config("inference"))
    keys = asked["keys"]
    scans = only_read(_select_participants(scan_bids(source), participants, str(source)), sum(asked.values(), []))
    single = [scan for scan in scans if scan.fault is None and "ctp" not in scan.doubled]
    series = [scan for scan in single if scan.lacking(keys) and "ctp" in scan.files]
    others = [scan for scan in scans if scan not in series]
    faults = faults_of(others, keys)
    records = left_out_records(faults.values())
    ready = [as_case(scan) for scan in others if scan not in faults]
    if ready:
        entries = [case.entry() | ({"resample": True} if resample else {}) for case in ready]
        done = predict(lambda **_: (entries, {}), aside / "cases", bundle=bundle, report=report, **options)
        records |= _publish(done, aside / "cases", ready, out)
    if series:
        paths = [scan.files["ctp"] for scan in series]
        wanted = Wanted(report=report, dicom=())
        done = predict_series(paths, aside / "series", bundle=bundle, wanted=wanted, resample=resample, **options)
        measured = [Case(name, name) for name in done["cases"]]
        records |= _publish(done, aside / "series", measured, out)
    return {"cases": records}


def _publish(done: Mapping[str, Any], folder: Path, cases: Sequence[Case], out: Path) -> dict[str, Record]:
    records: dict[str, Record] = done["cases"]
    publish_bids(folder, [case.entry() for case in cases if records[case.name]["outcome"] != "failed"], root=out)
    return records


def _select_participants(scans: Sequence[Scan], labels: Sequence[str], where: str) -> list[Scan]:
    wanted = {f"sub-{label.removeprefix('sub-')}" for label in labels}
    subjects = {str(scan.subject) for scan in scans}
    if wanted - subjects:
        result = f"{', '.join(sorted(wanted - subjects))}; there are {', '.join(sorted(subjects)[:12])}"
        raise refused("E-LIST-67", where=where, found=result)
    return [scan for scan in scans if not wanted or scan.subject in wanted]
