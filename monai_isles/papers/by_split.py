"""Make tables whose rows are trained once on one split into training, validation and test."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_isles.case import Case
from monai_isles.crossval.ensemble import inference_of
from monai_isles.crossval.out_of_fold import OutOfFold
from monai_isles.crossval.plan import DATA_LIST, SPLIT, TEST, Plan, data_folder, split_counts, split_list
from monai_isles.data.datalist import read_datalist
from monai_isles.data.entries import load_entries
from monai_isles.errors import refused
from monai_isles.evaluation.pairs import on_reference_grid
from monai_isles.inference.outputs import stage_numbers
from monai_isles.io.publish import publish_text
from monai_isles.io.read import read_image
from monai_isles.io.reader import LoadVerifiedd
from monai_isles.io.runs import read_record
from monai_isles.metrics.image import image_quality
from monai_isles.metrics.volume import STRATA, size_stratum
from monai_isles.papers import figures
from monai_isles.papers.figures import Drawn, Scored
from monai_isles.papers.study import (
    PaperRow,
    Request,
    Study,
    Trained,
    chosen_rows,
    has_maps,
    mean_and_sd,
    require_dwi,
    synthesises,
    train_scored,
)
from monai_isles.papers.tables import PaperHead, cases_csv
from monai_isles.progress import progress
from monai_isles.reports.curves import stage_curves, stage_text
from monai_isles.transforms.intensity import scaled_dwi
from monai_isles.transforms.perfusion_series import PerfusionWindowd

QUALITY = {"ssim": "ssim", "local_ssim": "local_ssim", "psnr_db": "psnr", "local_psnr_db": "local_psnr"}
MONTAGE, SHOWN = 3, 2
OUTLINES = {"truth": "yellow", "segmentation": "lime"}
Volumes = tuple[Case, np.ndarray, np.ndarray, np.ndarray]
Results = dict[PaperRow, Trained]
Lines = Mapping[PaperRow, list[dict[str, Any]]]
Head = Callable[[Mapping[str, Any]], PaperHead]


def arguments(parser: argparse.ArgumentParser, paper: Mapping[str, Any]) -> None:
    """Declare the options of such tables."""
    parser.add_argument("--split-seed", type=int, default=0, help="seed of the split into training, validation and "
                        "test (default: 0); a list that has these parts keeps them")  # fmt: skip


def make(request: Request) -> tuple[list[str], dict[str, Any]]:
    """Train, predict and score the needed rows, write the requested tables; return texts and record.

    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.2; ``tests/papers/test_by_split.py``.
    """
    args, study, wanted = request.args, request.study, list(request.outputs)
    if not wanted:
        raise refused("E-REPR-30", where=f"reproduce {args.paper}", found="no --table or --figure")
    trained = [(name, what) for name, what in wanted if what.get("draw") != "stages"]
    rows = chosen_rows(study.bundle, sorted({what.get("table", name) for name, what in trained}), args.rows)
    without = [name.replace("figure", "--figure ") for name, what in trained if not _rows_of(study, name, what, rows)]
    if without:
        raise refused("E-REPR-35", where=", ".join(without), found=f"--rows {' '.join(args.rows)}")
    config = study.open().config("train")
    content = split_list(config, args.out, study.dataset_dir, study.data_list, seed=args.split_seed)
    counts = split_counts(content)
    require_dwi(study, rows, content["training"])
    folders, done = study.folders(), dict[str, Trained]()  # rows of equal configs share one training
    for row in rows:
        folder = folders[row.key]
        if folder not in done:
            args.say(row)
            listed = args.out / "split.json"
            done[folder] = train_scored(study, row, args.out / folder, protocol=SPLIT, listed=listed)
    results = {row: done[folders[row.key]] for row in rows}
    texts = [_stages(request, name, content) for name, what in wanted if what.get("draw") == "stages"]
    for name, what in trained:
        head = partial(_head, request, next(iter(results.values())).predictions, counts)
        own = {row: _lines(study, results[row]) for row in _rows_of(study, name, what, rows)}
        texts.append(DRAW[what.get("draw", "table")](request, name, what, own, results, head))
    records = {row.key: item.record("dice", training=training_of(item)) for row, item in results.items()}
    return texts, records | {"split": counts}


def parameters_m(plan: Plan) -> float:
    """Return the parameters of the network that a plan predicts with, in millions."""
    network = ConfigParser(inference_of(plan)).get_parsed_content("network_def")
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def pseudo_dwi_scores(predictions: OutOfFold) -> dict[str, dict[str, float]]:
    """Return SSIM and PSNR (dB) by case, over the whole image and around the lesion; the DWI scaled as in training.

    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), section 4.1; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    scores = {}
    for case, pseudo, true, lesion in _volumes(predictions, predictions.cases):
        quality = image_quality(pseudo, true, lesion)
        scores[case.name] = {ours: quality[theirs] for ours, theirs in QUALITY.items()}
    return scores


def pseudo_dwi_slices(predictions: OutOfFold, lines: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the cases for ``pseudo_dwi_montage``, ranked by SSIM: the slice with most lesion, the case's numbers.

    Source: Wang 2020, Figure 7; ``tests/papers/test_pseudo_dwi_scores.py``.
    """
    chosen = figures.ranked_cases((predictions, lines), "ssim", count)
    volumes = _volumes(predictions, [case for case, _ in chosen])
    drawn = []
    for (_, line), (case, pseudo, true, lesion) in zip(chosen, volumes, strict=True):
        level = int(np.argmax(lesion.sum((0, 1))))
        planes = {"true": true[..., level], "pseudo": pseudo[..., level], "lesion": lesion[..., level]}
        title = f"{case.name}, {float(line['lesion_ml_ref']):.1f} ml"
        drawn.append({"title": title, **planes, **{key: line[key] for key in QUALITY}})
    return drawn


def _volumes(predictions: OutOfFold, cases: Sequence[Case]) -> Iterator[Volumes]:
    """Yield case, pseudo-DWI, scaled true DWI and lesion, all ``(H, W, D)`` on one grid."""
    files = predictions.files("dwi")
    for case in progress(cases, "comparing pseudo-DWI"):
        lesion = read_image(cast("Path", case.label), kind="label", where=case.name, label_values=case.label_values)
        dwi = on_reference_grid(read_image(files[case.name], kind="dwi", where=case.name), lesion, case, kind="dwi")
        path = predictions.path(case).with_name("pseudo_dwi.nii.gz")
        pseudo = on_reference_grid(read_image(path, where=case.name), lesion, case, kind="pseudo-DWI")
        scaled = scaled_dwi(torch.from_numpy(np.ascontiguousarray(dwi.data)), where=case.name).numpy()
        yield case, pseudo.data, scaled, lesion.data > 0


def _rows_of(study: Study, name: str, what: Mapping[str, Any], rows: Sequence[PaperRow]) -> list[PaperRow]:
    """Return the rows that a table or figure can be made from."""
    own = [row for row in rows if row.table == what.get("table", name)]
    return [row for row in own if synthesises(study, row)] if what.get("draw") in ("pseudo_dwi", "synthesis") else own


def _lines(study: Study, trained: Trained) -> list[dict[str, Any]]:
    """Return the scored lines of a row, with the quality of its pseudo-DWI where it makes one."""
    quality = pseudo_dwi_scores(trained.predictions) if synthesises(study, trained.row) else {}
    return [{**line, **quality.get(str(line["case"]), {})} for line in trained.cases]


def _head(request: Request, predictions: OutOfFold, counts: Sequence[int], what: Mapping[str, Any]) -> PaperHead:
    trained, validation, tested = counts
    split = (f"test part of {trained}/{validation}/{tested} scans (training/validation/test) that splits no subject, "
             f"the validation part chose the epoch, {predictions.plan.max_epochs} epochs a row")  # fmt: skip
    return request.head(what["title"], predictions, split, what.get("notes", ()))


def _table(request: Request, name: str, what: Mapping[str, Any], own: Lines, results: Results, head: Head) -> str:
    rows: list[dict[str, Any]] = []
    for row, cases in own.items():
        line = request.line(row.name, cases)
        if any("ssim" in case for case in cases):
            line["metrics"] |= {key: mean_and_sd([case[key] for case in cases]) for key in QUALITY}
        if "parameters_m" in what["columns"]:
            line["parameters_m"] = parameters_m(results[row].predictions.plan)
        rows.append(line)
    result = next(iter(results.values())).predictions
    if has_maps(result):
        rows.append(request.rule_line(result, "no network"))
    scored = {row.name: cases for row, cases in own.items()}
    publish_text(request.args.out / f"{name}_cases.csv", cases_csv(scored))
    pairs = _pairs(list(scored), what["against"])
    return request.table(name, rows, what["columns"], head(what), scored=scored, pairs=pairs)


def _pairs(names: Sequence[str], against: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs to test: every row against those that the table names, and against the row above; each once."""
    named = [(name, other) for other in against if other in names for name in names if name != other]
    once: dict[frozenset[str], tuple[str, str]] = {}
    for pair in (*named, *zip(names[1:], names, strict=False)):
        # The same pair the other way round is the same test, and Holm would count it twice.
        once.setdefault(frozenset(pair), pair)
    return list(once.values())


def _pseudo_dwi(request: Request, name: str, what: Mapping[str, Any], own: Lines, results: Results, head: Head) -> str:
    row = next((row for row in own if row.name == what["row"]), list(own)[-1])
    result = results[row].predictions
    cases = pseudo_dwi_slices(result, own[row], MONTAGE)
    note = f"{row.name}, test scans" + (", simulated data" if result.plan.simulated else "")
    request.picture(name, figures.pseudo_dwi_montage(cases, note=note))
    return f"{name}.png: {row.name}, {len(cases)} test scans at even ranks of SSIM, the slice with most lesion of each"


def _size_groups(request: Request, name: str, what: Mapping[str, Any], own: Lines, results: Results, head: Head) -> str:
    text = head(what)
    boxes = [{"method": row.name, **case} for row, cases in own.items() for case in cases]
    request.picture(name, figures.size_group_boxes(boxes, note="simulated data" if text.simulated else ""))
    rows = []
    for row, cases in own.items():
        for group in STRATA[1:]:
            result = [case for case in cases if size_stratum(float(case["lesion_ml_ref"])) == group]
            line: dict[str, Any] = {"name": f"{row.name}, {group}", "n": len(result)}
            line |= {"published": group} if row.name == what["row"] else {}
            line["metrics"] = {key: mean_and_sd([case[key] for case in result]) for key in what["columns"]}
            rows.append(line)
    return request.table(name, rows, what["columns"], text)


def comparison_panels(results: Mapping[str, Scored], leader: str, count: int, *, pseudo: bool) -> list[list[Drawn]]:
    """Return lines of panels, one for each method: the same slice with the truth and the method's mask.

    With ``pseudo`` a scan of ``ranked_slices`` takes two lines, each begun by the true DWI: the pseudo-DWI of each
    method, then the same with the outlines; else one line on the true DWI, or on Tmax where the data have no DWI.

    Source: Wang 2020 (doi:10.1016/j.media.2020.101787), Figures 6, 8 and 9.
    """
    listed = read_datalist(results[leader][0].folder / DATA_LIST)["training"]
    shown = "dwi" if all("dwi" in case for case in listed) else "tmax"
    panels: list[list[Drawn]] = []
    for case, level, image, truth, lesions in figures.ranked_slices(results, leader, count, shown):
        plain: list[Drawn] = [(f"{case.name}, true DWI", image, {})]
        drawn: list[Drawn] = [("lesion", image, {"truth": truth})]
        for name, (mask, dice) in lesions.items():
            below = image
            if pseudo:
                path, (_, grid) = results[name][0].path(case), results[name][0].read(case)
                made = read_image(path.with_name("pseudo_dwi.nii.gz"), where=case.name)
                below = on_reference_grid(made, grid, case, kind="pseudo-DWI").data[..., level]
                plain.append((name, below, {}))
            drawn.append((f"{name}: Dice {dice:.2f}", below, {"truth": truth, "segmentation": mask}))
        panels += [plain, drawn] if pseudo else [drawn[1:]]
    return panels


def _compare(request: Request, name: str, what: Mapping[str, Any], own: Lines, results: Results, head: Head) -> str:
    scored = {row.name: (results[row].predictions, cases) for row, cases in own.items()}
    leader = what["row"] if what["row"] in scored else list(scored)[-1]
    lines = comparison_panels(scored, leader, SHOWN, pseudo=what["draw"] == "synthesis")
    note = "simulated data" if scored[leader][0].plan.simulated else ""
    panels = [panel for line in lines for panel in line]
    request.picture(name, figures.contour_grid(panels, OUTLINES, columns=len(lines[0]), note=note), max_bytes=600_000)
    return f"{name}.png: truth yellow, segmentation green; test scans at even ranks of the Dice of {leader}"


def _stages(request: Request, name: str, content: Mapping[str, Any]) -> str:
    """Draw the perfusion stage of the first two series of the test part; no network is needed.

    Source: Wang 2020, Figure 3, which names no rule for its two cases: ours.
    """
    config = request.study.open().config("train")
    folder = data_folder(config, request.study.dataset_dir)
    entries = load_entries(request.args.out / "split.json", folder, folds=[TEST], keys=("ctp",), need_label=False)
    window = PerfusionWindowd("ctp", frames=config["frames"], k=config["run_length"], names="frames")
    note = ", simulated" if content.get("simulated") else ""
    results: list[tuple[str, dict[str, Any]]] = []
    for entry in entries[:SHOWN]:
        seen: Any = window(LoadVerifiedd(keys=["ctp"])(cast(dict[Any, Any], entry)))
        results.append((f"{entry['case']}{note}", cast(dict[str, Any], stage_numbers(seen)["perfusion_stage"])))
    request.picture(name, stage_curves(results))
    texts = (f"{title}: {stage_text(stage).partition(': ')[2]}" for title, stage in results)
    return f"{name}.png: {' '.join(texts)}"


DRAW = {
    "table": _table,
    "pseudo_dwi": _pseudo_dwi,
    "size_groups": _size_groups,
    "contours": _compare,
    "synthesis": _compare,
}


def training_of(trained: Trained) -> dict[str, object]:
    """Return the end and the cost of the training of a row."""
    record = read_record(trained.predictions.folder / f"fold_{TEST}" / "run.json")
    return {key: record[key] for key in ("outcome", "seconds") if key in record}
