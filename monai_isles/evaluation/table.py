"""The summary as a table to read."""

from __future__ import annotations

from collections.abc import Mapping

_COLUMNS = (
    ("DSC", "dsc", 3),
    ("PPV", "ppv", 3),
    ("Sens.", "sensitivity", 3),
    ("HD mm", "hd_mm", 1),
    ("HD95 mm", "hd95_mm", 1),
    ("ASSD mm", "assd_mm", 2),
    ("AVD ml", "avd_ml", 1),
)


def summary_table(summary: Mapping) -> str:
    """Return the methods side by side (mean and SD), the intervals, the counts, and the rules for empty masks."""
    first = next(iter(summary["methods"].values()))
    kind = "simulated data, not patients" if summary["simulated"] else "data as given"
    head = f"{summary['data']} ({kind}): {first['n']} cases of {first['subjects']} subjects"
    names = ["method", *(title for title, _, _ in _COLUMNS), "R2"]
    lines = [names, *(_method(name, method) for name, method in summary["methods"].items())]
    return "\n".join([head, "", *_aligned(lines), "", *_notes(summary)])


def _method(name: str, method: Mapping) -> list[str]:
    cells = [_cell(method["metrics"][key], digits) for _, key, digits in _COLUMNS]
    return [name, *cells, _plain(method["volumes"]["r2"], 2)]


def _cell(statistics: Mapping, digits: int) -> str:
    return f"{_plain(statistics['mean'], digits)} +- {_plain(statistics['sd'], digits)}"


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _notes(summary: Mapping) -> list[str]:
    notes = ["mean +- SD over cases; distances over the cases where both masks hold a lesion"]
    for name, method in summary["methods"].items():
        low, high = method["metrics"]["dsc"]["ci95"] or (None, None)
        notes.append(f"{name}: DSC 95 % interval {_plain(low, 3)} to {_plain(high, 3)} (bootstrap over subjects)")
        notes.append(
            f"{name}: empty references {method['empty_references']}, empty predictions {method['empty_predictions']}, "
            f"missing predictions {method['missing_predictions']}, undefined distances {method['undefined_distances']}"
            f"; HD {_plain(method['metrics']['hd_mm']['imputed']['mean'], 1)} mm with the diagonal in their place"
        )
        notes.extend(f"{name}: {line}" for line in _more(method))
    notes.extend(f"{name}: {text}" for name, text in summary.get("baselines", {}).items())
    notes.append("rules for empty masks:")
    notes.extend(f"  {name}: {rule}" for name, rule in summary["rules"].items())
    return notes


def _more(method: Mapping) -> list[str]:
    """Return what the table has no column for; nothing of it for a summary that was written without."""
    lines = []
    if "lesion_f1_iou25" in method["metrics"]:
        any_overlap, matched = (_cell(method["metrics"][key], 3) for key in ("lesion_f1", "lesion_f1_iou25"))
        lines.append(f"lesion detection F1 {any_overlap} (any overlap), {matched} (one to one, IoU >= 0.25)")
    strata = method.get("strata") or {}
    sized = [
        f"{size} {_plain(one['metrics']['dsc']['mean'], 3)} (n {one['n']}, {one['empty_predictions']} predicted empty)"
        for size, one in strata.items()
        if one["n"]
    ]
    lines += [f"DSC by size of the reference: {', '.join(sized)}"] if sized else []
    agreement = method.get("bland_altman")
    if agreement:
        bias, low, high = (_plain(agreement[key], 1) for key in ("bias_ml", "lower_ml", "upper_ml"))
        lines.append(f"volume bias {bias} ml, limits of agreement {low} to {high} ml (n {agreement['n']})")
    return lines + _maps(method.get("calibration"))


def _maps(calibration: Mapping | None) -> list[str]:
    if not calibration:
        return []
    n, interval, uncertain = calibration["n"], calibration["interval"], calibration.get("uncertainty")
    lines = [f"calibration of {n} maps: ECE {_plain(calibration['ece'], 3)}, by bin {_plain(calibration['ace'], 3)}"]
    if uncertain:
        auroc = uncertain["uncertainty_auroc"]
        lines.append(f"uncertainty tells wrong from right voxels: AUROC {_plain(auroc['mean'], 3)} (n {auroc['n']})")
    if interval["n"]:
        lines.append(f"volume interval holds the reference in {interval['holds_reference']} of {interval['n']} cases")
    return lines
