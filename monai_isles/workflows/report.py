"""Write the HTML page of a scored set of predictions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from monai_isles.errors import refused
from monai_isles.io.runs import versions
from monai_isles.progress import progress
from monai_isles.reports.curves import read_curves
from monai_isles.reports.gather import Cohort, Scores, Source, find_sources, load_view, scored_part, side_by_side
from monai_isles.reports.page import cohort_page
from monai_isles.reports.sheet import WORDS, fact_text


def report(pred_dir: str, ref_dir: str, scores: Sequence[str], out: str | Path, **options: Any) -> Cohort:
    """Write the page of a cohort and return its content; ``options`` are those of ``gather_cohort``."""
    if Path(out).is_dir():
        raise refused("E-FILE-10", where=str(out), found="a folder", fix="name the page to write, such as page.html")
    cohort = gather_cohort(pred_dir, ref_dir, scores, **options)
    cohort_page(cohort, out)
    return cohort


def gather_cohort(
    pred_dir: str,
    ref_dir: str,
    scores: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    curves: str | None = None,
    title: str | None = None,
    published: Mapping[str, Mapping[str, Any]] | None = None,
    command: Sequence[str] = (),
    mirrored: bool = False,
) -> Cohort:
    """Return the cohort; its tables are read and checked now, its images later, one case at a time.

    Args:
        pred_dir, ref_dir: folders scored in the first folder of scores; its data list, if any, is used again.
        scores, names: folders of scores and their names; by default the bundle of a single one, else the folders'
            names.
    """
    read = side_by_side(scores, names)
    rows = next(iter(read.per_case.values()))
    sources = find_sources(pred_dir, ref_dir, rows, **scored_part(scores[0]))
    bundles = {str(source.result["bundle"]) for source in sources if source.result.get("bundle")}
    if names is None and len(scores) == len(bundles) == 1:
        read = side_by_side(scores, list(bundles))
    return Cohort(
        **vars(read),
        title=title or f"Ischemic core: {read.data}",
        cases=(load_view(item, simulated=read.simulated) for item in progress(sources, "drawing")),
        curves=read_curves(curves) if curves else (),
        provenance=_provenance(sources, read, command),
        published=dict(published or {}),
        mirrored=mirrored,
    )


def _provenance(sources: Sequence[Source], read: Scores, command: Sequence[str]) -> dict[str, str]:
    facts = {"data": read.data, "split": read.split}
    for key in ("bundle", "weights_sha256", "threshold", "min_size_vox", "min_cluster_ml"):
        values = dict.fromkeys(_short(fact_text(s.result[key])) for s in sources if s.result.get(key) not in (None, []))
        facts[WORDS["facts"][key]] = ", ".join(values)
    facts |= read.descriptions
    facts |= versions()
    facts["command"] = shlex.join(map(_short, command))
    return {label: text for label, text in facts.items() if text}


def _short(word: str) -> str:
    return PurePath(word).name if "/" in word or "\\" in word else word
