"""Tables whose rows are trained once on one split into training, validation and test, and scored on the test scans."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from monai_isles.errors import refused
from monai_isles.papers.study import RULE, PaperRow, Study, chosen_rows, require_dwi, rule_rows, synthesises, train_row

if TYPE_CHECKING:
    from pathlib import Path

    from monai_isles.case import Case
    from monai_isles.crossval.out_of_fold import OutOfFold, Row
    from monai_isles.crossval.plan import Plan
    from monai_isles.papers.tables import PaperHead

DEFAULT: dict[str, list[int]] = {}
QUALITY = {"ssim": "ssim", "local_ssim": "local_ssim", "psnr_db": "psnr", "local_psnr_db": "local_psnr"}
MONTAGE = 3
Volumes = tuple["Case", np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SplitResult:
    """Hold a trained row: its test maps, one line a test case with every metric, and what the training took."""

    found: OutOfFold
    cases: list[Row]
    training: Mapping[str, object]


Results = dict[PaperRow, SplitResult]


def arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare the options of such tables."""
    parser.add_argument("--split-seed", type=int, default=0, help="who is in which part (default: 0); a list whose "
                        "folds are the parts already keeps them")  # fmt: skip


def make(args: argparse.Namespace, paper: Mapping[str, Any], study: Study) -> tuple[list[str], dict[str, Any]]:
    """Train, predict and score the rows that are needed, then write what was asked for; return texts and record.

    Raises:
        IslesError: ``E-REPR-30`` when nothing was asked for, ``E-REPR-31`` to ``E-REPR-35``, and those of the rows.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/papers/test_by_split.py``.
    """
    from monai_isles.crossval.split import split_counts, split_list

    if not (args.table or args.figure):
        raise refused("E-REPR-30", where=f"reproduce {args.paper}", found="no --table or --figure")
    figures = [paper["figures"][f"figure{number}"] for number in args.figure]
    tables = sorted({*(f"table{number}" for number in args.table), *(one["table"] for one in figures)})
    rows = chosen_rows(study.bundle, tables, args.rows)
    _require_pictures(args, study, figures, rows)
    config = study.open().config("train")
    content = split_list(config, args.out, study.dataset_dir, study.data_list, seed=args.split_seed)
    counts = split_counts(content)
    require_dwi(study, rows, content["training"])
    results = _results(args, study, rows)
    texts = _made(args, paper, study, results, counts)
    return texts, {row.key: _record(one) for row, one in results.items()} | {"split": counts}


def _results(args: argparse.Namespace, study: Study, rows: Sequence[PaperRow]) -> Results:
    """Train every different row once; rows of equal configs share the result."""
    folders = study.folders()
    done: dict[str, SplitResult] = {}
    results: Results = {}
    for row in rows:
        folder = folders[row.key]
        if folder not in done:
            args.say(row)
            done[folder] = run_split(study, row, args.out / "split.json", args.out / folder)
        results[row] = done[folder]
    return results


def run_split(study: Study, row: PaperRow, listed: Path, folder: Path) -> SplitResult:
    """Train on the training part, keep the epoch that the validation part likes best, predict and score the test part.

    What is done is not done again.

    Args:
        listed: data list of three parts, as ``split_list`` keeps it.
        folder: where the row is trained.
    Raises:
        IslesError: those of ``train_row``.
    """
    from monai_isles.crossval.out_of_fold import score_maps
    from monai_isles.crossval.plan import SPLIT, TEST

    found = train_row(study, row, folder, protocol=SPLIT, listed=listed)
    path = folder / f"fold_{TEST}" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    training = {key: record[key] for key in ("outcome", "seconds") if key in record}
    return SplitResult(found, score_maps(found.cases, found.read, folder.name), training)


def parameters_m(plan: Plan) -> float:
    """Return the parameters of the network that a plan predicts with, in millions."""
    from monai.bundle import ConfigParser

    from monai_isles.crossval.ensemble import inference_of

    network = ConfigParser(inference_of(plan)).get_parsed_content("network_def")
    return sum(one.numel() for one in network.parameters()) / 1e6


def pseudo_dwi_scores(found: OutOfFold) -> dict[str, dict[str, float]]:
    """Return SSIM and PSNR by case, over the whole image and around the lesion.

    The true DWI is scaled as in training, by its minimum and 99th percentile.

    Units: PSNR in dB.
    Raises:
        IslesError: ``E-LIST-02`` a case without DWI, ``E-GEOM-*`` other grids, and what ``read_image`` raises.
    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    from monai_isles.metrics.image import image_quality

    scores = {}
    for case, pseudo, true, lesion in _volumes(found, found.cases):
        quality = image_quality(pseudo, true, lesion)
        scores[case.name] = {ours: quality[theirs] for ours, theirs in QUALITY.items()}
    return scores


def pseudo_dwi_slices(found: OutOfFold, lines: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return what ``pseudo_dwi_montage`` draws: up to ``count`` cases with a lesion at even ranks of their SSIM.

    Best first; of each case the slice with most lesion; the numbers are those of the whole case.

    Args:
        lines: one a case, with the keys of ``QUALITY``.
    Source: the paper names no rule for the cases of its Figure 7: ours; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    ranked = sorted((line for line in lines if float(line["lesion_ml_ref"]) > 0), key=lambda line: -float(line["ssim"]))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    by_name = {case.name: case for case in found.cases}
    chosen = [ranked[place] for place in places]
    drawn = []
    volumes = _volumes(found, [by_name[str(line["case"])] for line in chosen])
    for line, (case, pseudo, true, lesion) in zip(chosen, volumes, strict=True):
        level = int(np.argmax(lesion.sum((0, 1))))
        planes = {"true": true[..., level], "pseudo": pseudo[..., level], "lesion": lesion[..., level]}
        title = f"{case.name}, {float(line['lesion_ml_ref']):.1f} ml"
        drawn.append({"title": title, **planes, **{key: line[key] for key in QUALITY}})
    return drawn


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return mean, sd (n - 1) and n over the finite values; None where there are too few."""
    kept = np.array([value for value in values if math.isfinite(value)])
    return {
        "mean": float(kept.mean()) if kept.size else None,
        "sd": float(kept.std(ddof=1)) if kept.size > 1 else None,
        "n": int(kept.size),
    }


def _volumes(found: OutOfFold, cases: Sequence[Case]) -> Iterator[Volumes]:
    """Yield case, pseudo-DWI, scaled true DWI and lesion, all ``(H, W, D)`` on one grid."""
    import torch

    from monai_isles.crossval.plan import DATA_LIST
    from monai_isles.data.entries import load_entries
    from monai_isles.io.grid import require_same_grid
    from monai_isles.io.read import read_image
    from monai_isles.progress import progress
    from monai_isles.transforms.intensity import scaled_dwi

    listed = found.folder / DATA_LIST, found.plan.dataset_dir
    entries = load_entries(*listed, folds=sorted(found.plan.cases), keys=("dwi",), need_label=True)
    files = {str(entry["case"]): str(entry["dwi"]) for entry in entries}
    for case in progress(cases, "comparing pseudo-DWI", total=len(cases)):
        dwi = read_image(files[case.name], kind="dwi", where=case.name)
        lesion = read_image(cast("Path", case.label), kind="label", where=case.name, label_values=case.label_values)
        pseudo = read_image(found.path(case).with_name("pseudo_dwi.nii.gz"), where=case.name)
        require_same_grid({"true DWI": dwi, "pseudo-DWI": pseudo, "reference": lesion}, case=case.name)
        scaled = scaled_dwi(torch.from_numpy(np.ascontiguousarray(dwi.data)), where=case.name).numpy()
        yield case, pseudo.data, scaled, lesion.data > 0


def _require_pictures(
    args: argparse.Namespace, study: Study, figures: Sequence[Mapping[str, Any]], rows: Sequence[PaperRow]
) -> None:
    without = [f"--figure {number}" for number, one in zip(args.figure, figures, strict=True)
               if not _rows_of(one, study, rows)]  # fmt: skip
    if without:
        raise refused("E-REPR-35", where=", ".join(without), found=f"--rows {' '.join(args.rows)}")


def _rows_of(figure: Mapping[str, Any], study: Study, rows: Sequence[PaperRow]) -> list[PaperRow]:
    """Return the rows that a figure can be drawn from."""
    own = [row for row in rows if row.table == figure["table"]]
    return [row for row in own if synthesises(study, row)] if figure["draw"] == "pseudo_dwi" else own


def _made(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    study: Study,
    results: Results,
    counts: tuple[int, int, int],
) -> list[str]:
    lines = {row: _with_quality(study, row, one) for row, one in results.items()}
    head = _Heads(args, paper, next(iter(results.values())).found.plan, counts)
    texts = [_table(args, paper, f"table{table}", results, lines, head) for table in sorted(set(args.table))]
    for number in args.figure:
        figure = paper["figures"][f"figure{number}"]
        own = {row: lines[row] for row in _rows_of(figure, study, list(results))}
        draw = _pseudo_dwi if figure["draw"] == "pseudo_dwi" else _size_groups
        texts.append(draw(args, paper, f"figure{number}", figure, own, results, head))
    return texts


def _with_quality(study: Study, row: PaperRow, one: SplitResult) -> list[dict[str, Any]]:
    quality = pseudo_dwi_scores(one.found) if synthesises(study, row) else {}
    return [{**line, **quality.get(str(line["case"]), {})} for line in one.cases]


@dataclass(frozen=True)
class _Heads:
    """Make the heads of tables and figures."""

    args: argparse.Namespace
    paper: Mapping[str, Any]
    plan: Plan
    counts: tuple[int, int, int]

    def of(self, what: Mapping[str, Any]) -> PaperHead:
        from monai_isles.papers.tables import PaperHead

        trained, watched, tested = self.counts
        split = (f"test part of {trained}/{watched}/{tested} scans (training/validation/test) that splits no subject, "
                 f"the validation part chose the epoch, {self.plan.max_epochs} epochs a row")  # fmt: skip
        title = f"{self.paper['cited']}, {what['title']}"
        return PaperHead(title=title, data=self.plan.data_name, simulated=self.plan.simulated, n=tested, split=split,
                         command=self.args.command, notes=what.get("notes", ()))  # fmt: skip


def _table(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    name: str,
    results: Results,
    lines: Mapping[PaperRow, list[dict[str, Any]]],
    head: _Heads,
) -> str:
    from monai_isles.evaluation.compare import compare_methods
    from monai_isles.evaluation.summary import summarise
    from monai_isles.io.publish import publish_text
    from monai_isles.papers.published import published_tables
    from monai_isles.papers.tables import cases_csv, columns, publish_table

    table = paper["tables"][name]
    own = {row.name: row for row in results if row.table == name}
    rows: list[dict[str, Any]] = []
    for printed, row in own.items():
        line: dict[str, Any] = {"name": printed, **summarise(lines[row], seed=args.seed)}
        if any("ssim" in case for case in lines[row]):
            line["metrics"] |= {key: spread([case[key] for case in lines[row]]) for key in QUALITY}
        if "parameters_m" in table["columns"]:
            line["parameters_m"] = parameters_m(results[row].found.plan)
        rows.append(line)
    rule = rule_rows(next(iter(results.values())).found)
    rows.append({"name": f"{RULE}, no network", **summarise(rule, seed=args.seed)})
    scored = {printed: lines[row] for printed, row in own.items()}
    tests = compare_methods(scored, _pairs(list(own), table["against"]), seed=args.seed)
    publish_text(args.out / f"{name}_cases.csv", cases_csv(scored))
    metrics = columns(table["columns"], paper.get("headings"))
    published = published_tables(args.folder)[name]
    return publish_table(args.out, name, rows, published, metrics, head=head.of(table), tests=tests)


def _pairs(names: Sequence[str], against: Sequence[str]) -> list[tuple[str, str]]:
    """Return what is tested against what: every row against those the table names, and against the row above."""
    named = [(name, other) for other in against if other in names for name in names if name != other]
    above = [(name, names[place - 1]) for place, name in enumerate(names) if place]
    return list(dict.fromkeys([*named, *above]))


def _pseudo_dwi(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    name: str,
    figure: Mapping[str, Any],
    own: Mapping[PaperRow, list[dict[str, Any]]],
    results: Results,
    head: _Heads,
) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.papers.figures import pseudo_dwi_montage
    from monai_isles.reports.canvas import png_bytes

    row = next((row for row in own if row.name == figure["row"]), list(own)[-1])
    cases = pseudo_dwi_slices(results[row].found, own[row], MONTAGE)
    note = f"{row.name}, test scans" + (", simulated data" if head.plan.simulated else "")
    picture = png_bytes(pseudo_dwi_montage(cases, note=note), max_bytes=300_000)
    publish(args.out / f"{name}.png", lambda tmp: tmp.write_bytes(picture))
    return f"{name}.png: {row.name}, {len(cases)} test scans at even ranks of SSIM, the slice with most lesion of each"


def _size_groups(
    args: argparse.Namespace,
    paper: Mapping[str, Any],
    name: str,
    figure: Mapping[str, Any],
    own: Mapping[PaperRow, list[dict[str, Any]]],
    results: Results,
    head: _Heads,
) -> str:
    from monai_isles.io.publish import publish
    from monai_isles.metrics.volume import STRATA, size_stratum
    from monai_isles.papers.figures import size_group_boxes
    from monai_isles.papers.published import published_tables
    from monai_isles.papers.tables import columns, publish_table
    from monai_isles.reports.canvas import png_bytes

    boxes = [{"method": row.name, **case} for row, cases in own.items() for case in cases]
    picture = png_bytes(size_group_boxes(boxes, note="simulated data" if head.plan.simulated else ""))
    publish(args.out / f"{name}.png", lambda tmp: tmp.write_bytes(picture))
    rows = []
    for row, cases in own.items():
        for group in STRATA[1:]:
            found = [case for case in cases if size_stratum(float(case["lesion_ml_ref"])) == group]
            line: dict[str, Any] = {"name": f"{row.name}, {group}", "n": len(found)}
            line |= {"published": group} if row.name == figure["row"] else {}
            rows.append(line | {"metrics": {key: spread([case[key] for case in found]) for key in figure["columns"]}})
    metrics = columns(figure["columns"], paper.get("headings"))
    return publish_table(args.out, name, rows, published_tables(args.folder)[name], metrics, head=head.of(figure))


def _record(one: SplitResult) -> dict[str, object]:
    return {"overlays": list(one.found.plan.overlays), "settings": one.found.plan.settings, "training": one.training,
            "dice": {str(line["case"]): line["dsc"] for line in one.cases}}  # fmt: skip
