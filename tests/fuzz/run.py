"""Feed damaged images to ``check`` and ``predict --dry-run``: no traceback, no hang, no wrong accept, bounded memory.

10 000 NIfTI and 1 000 DICOM files unless told otherwise; each is one modality of a case, or one file of a study. The
commands run in a forked child on fifty cases at a time, with limits; a batch that ends badly is run again one by one.
``--damage`` and ``--only`` repeat single cases of a run with the same seed. Exit code 4 when anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from tests.forked import import_package, run_forked
from tests.fuzz.mutations import mutate_nifti
from tests.fuzz.mutations_dicom import mutate_dicom
from tests.fuzz.readable import WRONG, itk_reader, study_wrongly_refused, wrongly_refused
from tests.fuzz.truth import BASE_KEYS, base_images, base_study, nifti_verdict, study_verdict

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles/threshold"
SECONDS_A_BATCH, SECONDS_A_CASE, MEMORY_MB = 300.0, 20.0, 1500.0
GOOD = (
    "refused",
    "accepted: the same image",
    "accepted: as the header says",
    "accepted: changed voxels, no checksum",
)


@dataclass(frozen=True)
class Choice:
    """Which cases of a run to judge: those whose damage (``"cut (.nii)"``) holds a text, or of given numbers."""

    damage: str = ""
    only: tuple[int, ...] = ()

    def numbers(self, count: int) -> Sequence[int]:
        """Return the numbers of the cases to make, of ``count`` in all."""
        return self.only or range(count)

    def holds(self, made: str) -> bool:
        """Tell whether a case that was made is wanted."""
        return self.damage in _damage(f"0|{made}")


def fuzz_nifti(folder: Path, count: int, seed: int, choice: Choice, *, batch: int = 50) -> list[dict[str, str]]:
    """Return one row a mutated NIfTI file: how it was damaged, what became of it, by which code."""
    base = base_images(folder / "base")

    def make(index: int, case: Path) -> str:
        rng = np.random.default_rng([seed, 1, index])
        key = str(rng.choice(BASE_KEYS))
        mutant = mutate_nifti((base / f"{key}.nii").read_bytes(), rng)
        case.mkdir(parents=True)
        for other in BASE_KEYS:
            if other != key:
                os.link(base / f"{other}.nii", case / f"{other}.nii")
        (case / f"{key}{mutant.suffix}").write_bytes(mutant.stored)
        return f"{key}|{mutant.suffix}|{mutant.name}"

    return _fuzz(folder / "nifti", choice, count, batch, make, lambda cases: _judge_nifti(cases, base))


def fuzz_dicom(folder: Path, count: int, seed: int, choice: Choice, *, batch: int = 25) -> list[dict[str, str]]:
    """Return one row a study with one mutated DICOM file; classic, implicit, packed and enhanced files take turns."""
    studies = base_study(folder / "studies")

    def make(index: int, case: Path) -> str:
        rng = np.random.default_rng([seed, 2, index])
        form = list(studies)[index % len(studies)]
        files = sorted(studies[form].iterdir())
        chosen = files[int(rng.integers(len(files)))]
        mutant = mutate_dicom(chosen.read_bytes(), rng)
        case.mkdir(parents=True)
        for file in files:
            if file != chosen:
                os.link(file, case / file.name)
        (case / chosen.name).write_bytes(mutant.stored)
        return f"{form}|.dcm|{mutant.name}"

    return _fuzz(folder / "dicom", choice, count, batch, make, lambda cases: _judge_dicom(cases, studies))


Judge = Callable[[dict[str, Path]], dict[str, dict[str, str]]]


def _fuzz(
    folder: Path, choice: Choice, count: int, batch: int, make: Callable[[int, Path], str], judge: Judge
) -> list[dict[str, str]]:
    rows, seconds, peak, numbers = [], 0.0, 0.0, choice.numbers(count)
    for first in range(0, len(numbers), batch):
        root = folder / f"batch_{first:05d}"
        made = {n: make(n, root / f"case_{n:05d}") for n in numbers[first : first + batch]}
        for n in [n for n in made if not choice.holds(made[n])]:
            shutil.rmtree(root / f"case_{n:05d}")
            del made[n]
        if not made:
            continue
        paths = {n: root / f"case_{n:05d}" for n in made}
        found, took, most = _run(judge, {f"{n}|{made[n]}": paths[n] for n in made}, SECONDS_A_BATCH, root)
        seconds, peak = seconds + took, max(peak, most)
        if found is None:
            found = {}
            for n in made:
                alone = root / f"alone_{n:05d}" / paths[n].name
                alone.parent.mkdir()
                paths[n].rename(alone)
                found |= _alone(judge, f"{n}|{made[n]}", alone, root)
        kept = [key for key, one in found.items() if one["outcome"] not in GOOD]
        for key in kept:
            _keep(root, folder.parent / "findings", key)
        rows += [{"index": key, **one} for key, one in found.items()]
        shutil.rmtree(root)
        if first // batch % 20 == 19:
            print(f"{len(rows)} of {count}: {dict(Counter(row['outcome'] for row in rows))}", file=sys.stderr)
    print(
        f"{folder.name}: {seconds:.0f} s, {1000 * seconds / max(1, count):.0f} ms a file, {peak:.0f} MB",
        file=sys.stderr,
    )
    return rows


def _run(judge: Judge, cases: dict[str, Path], limit_s: float, root: Path) -> tuple[dict | None, float, float]:
    answer = root / "answer.json"
    done = run_forked(lambda: answer.write_text(json.dumps(judge(cases))) and 0, limit_s=limit_s, memory_mb=MEMORY_MB)
    found = json.loads(answer.read_text()) if done.code == 0 and answer.is_file() else None
    answer.unlink(missing_ok=True)
    return found, done.seconds, done.peak_mb


def _alone(judge: Judge, key: str, case: Path, root: Path) -> dict[str, dict[str, str]]:
    answer = root / "answer.json"
    answer.unlink(missing_ok=True)
    done = run_forked(
        lambda: answer.write_text(json.dumps(judge({key: case}))) and 0, limit_s=SECONDS_A_CASE, memory_mb=MEMORY_MB
    )
    if done.code == 0 and answer.is_file():
        return json.loads(answer.read_text())
    outcome = "hang" if done.timed_out else "crash" if done.killed else "traceback"
    return {key: {"outcome": outcome, "code": "", "text": done.text[-1500:]}}


def _keep(root: Path, folder: Path, key: str) -> None:
    number = int(key.split("|")[0])
    source = next(path for path in root.rglob(f"case_{number:05d}"))
    shutil.copytree(source, folder / key.replace("|", "_").replace(" ", "-").replace(",", ""), dirs_exist_ok=True)


def _command(*words: str) -> tuple[int, dict]:
    from monai_isles.cli.main import main

    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--json"])
    text = out.getvalue() or err.getvalue()
    return code, json.loads(text)


def _judge_nifti(cases: dict[str, Path], base: Path) -> dict[str, dict[str, str]]:
    folder = next(iter(cases.values())).parent
    _, checked = _command("check", str(folder))
    out = ("--out", str(folder / "out"))
    _, tried = _command("predict", str(folder), "--bundle", str(BUNDLE), *out, "--threads", "1", "--dry-run")
    if "error" in checked or "error" in tried:
        raise SystemExit(f"one file stopped the whole folder: {checked.get('error')} {tried.get('error')}")
    errors = [one for one in checked["findings"] if one["severity"] == "error"]
    found = {}
    for key, case in cases.items():
        record = tried["cases"][case.name]
        named = [one["code"] for one in errors if f"{case.name}:" in f"{one['where']}:"]
        found[key] = _outcome(record, named, lambda: nifti_verdict(key, case, base))  # noqa: B023 called at once
        if found[key]["outcome"] == "refused" and wrongly_refused(key, case, base):
            found[key]["outcome"] = WRONG
    return found


def _judge_dicom(cases: dict[str, Path], studies: dict[str, Path]) -> dict[str, dict[str, str]]:
    folder = next(iter(cases.values())).parent
    words = ("--bundle", str(BUNDLE), "--out", str(folder / "out"), "--threads", "1", "--dry-run")
    _, tried = _command("predict-series", *(str(case) for case in cases.values()), *words)
    records = dict(tried.get("cases", {}))
    found = {}
    for number, (key, case) in enumerate(cases.items(), start=1):
        record = records.get(case.name) or records.get(f"study {number}")
        code, checked = _command("check", str(case))
        named = [checked["error"]] if "error" in checked else [one["code"] for one in checked["findings"]
                 if one["severity"] == "error"]  # fmt: skip
        found[key] = _outcome(record, named, lambda: study_verdict(key, case, studies))  # noqa: B023 called at once
        if found[key]["outcome"] == "refused" and study_wrongly_refused(case, studies[key.split("|")[1]]):
            found[key]["outcome"] = WRONG
    return found


def _outcome(record: dict | None, named: Sequence[str], verdict: Callable[[], str]) -> dict[str, str]:
    if record is None:
        return {"outcome": "no record of the case", "code": "", "text": ""}
    text = str(record.get("error", ""))
    code = text.split(":")[0] if text.startswith("E-") else ""
    if record["outcome"] == "failed":
        words = all(f"\n  {word}" in text for word in ("where ", "found ", "fix "))
        outcome = "refused" if code and words else "failed without the four lines"
        if outcome == "refused" and not named:
            outcome = "check says nothing of what predict refuses"
    else:
        outcome = verdict()
        if named:
            outcome, code = "check refuses what predict accepts", named[0]
    return {"outcome": outcome, "code": code, "text": text}


_HEAD = """# Fuzzing

`make fuzz` (seed {seed}) damages images at random, gives each to `check` and `predict --dry-run`, and writes this
page. Each file is refused with an error code, or accepted:

- **the same image**: every voxel and the position are those of the undamaged file;
- **as the header says**: the damage changed the header, and another reader gives the same image;
- **changed voxels, no checksum**: the format cannot show the damage, and another reader gives the same image.

Any other outcome is wrong: an error without a code, another image than the other reader's, a damaged file under an
intact checksum, or `check` and `predict` that disagree.
"""


def page(rows: dict[str, list[dict[str, str]]], seed: int) -> str:
    """Return what was found as Markdown."""
    lines = _HEAD.format(seed=seed).splitlines()
    for kind, found in rows.items():
        lines += [
            "",
            f"## {len(found)} damaged {kind} files",
            "",
            "| damage | files | " + " | ".join(name.removeprefix("accepted: ") for name in GOOD) + " | wrong |",
        ]
        lines.append("|---|" + "---:|" * (len(GOOD) + 2))
        groups = sorted({_damage(row["index"]) for row in found})
        for name in [*groups, "all"]:
            counts = Counter(row["outcome"] for row in found if name in ("all", _damage(row["index"])))
            wrong = sum(n for outcome, n in counts.items() if outcome not in GOOD)
            cells = [counts.total(), *(counts[one] for one in GOOD), wrong]
            lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
        codes = Counter(row["code"] for row in found if row["outcome"] == "refused")
        text = "Refused by: " + ", ".join(f"{code} {n}" for code, n in codes.most_common())
        lines += ["", textwrap.fill(text, 118, break_on_hyphens=False)]
    return "\n".join(lines) + "\n"


def _damage(key: str) -> str:
    _, form, suffix, name = key.split("|")
    return f"{name} ({suffix})" if suffix != ".dcm" else f"{name} ({form})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run both; print the page; 0 when every outcome is one of ``GOOD``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nifti", type=int, default=10_000)
    parser.add_argument("--dicom", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--damage", default="", help="only cases of this damage, as the page names it")
    parser.add_argument("--only", type=int, nargs="+", default=[], help="only the cases of these numbers")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="files that came out wrong, and rows.json")
    parser.add_argument("--page", type=Path, help="write the tables to this file")
    args = parser.parse_args(argv)
    choice = Choice(args.damage, tuple(args.only))
    import torch

    torch.set_num_threads(1)
    import_package("monai_isles")
    itk_reader()
    with tempfile.TemporaryDirectory() as place:
        rows = {
            "NIfTI": fuzz_nifti(Path(place), args.nifti, args.seed, choice) if args.nifti else [],
            "DICOM": fuzz_dicom(Path(place), args.dicom, args.seed, choice) if args.dicom else [],
        }
        if (Path(place) / "findings").is_dir():
            shutil.copytree(Path(place) / "findings", args.keep, dirs_exist_ok=True)
    args.keep.mkdir(parents=True, exist_ok=True)
    (args.keep / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    text = page(rows, args.seed)
    print(text)
    if args.page is not None:
        args.page.write_text(text, encoding="utf-8")
    return 4 if any(row["outcome"] not in GOOD for found in rows.values() for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
