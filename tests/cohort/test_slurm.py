"""A Slurm profile becomes the job script that dask-jobqueue submits; wrong ones are refused by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_isles.cohort.clusters import read_profile, slurm_cluster
from monai_isles.errors import IslesError

PROFILE = """
queue: gpu
account: stroke
cores: 16
memory: 64GB
processes: 2
walltime: "08:00:00"
job_extra_directives: ["--gres=gpu:2"]
job_script_prologue: ["source /opt/isles/bin/activate"]
resources: {GPU: 1}
scheduler_options: {host: 127.0.0.1}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "profile.yml"
    path.write_text(PROFILE)
    return path


def test_the_job_script_asks_for_what_the_profile_says(profile: Path) -> None:
    with slurm_cluster(profile, 0, {"GPU": 1.0, "MEMORY_GB": 30.0}, "a") as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    for wanted in ("#SBATCH -p gpu", "#SBATCH -A stroke", "#SBATCH --cpus-per-task=16", "#SBATCH --mem=60G",
                   "#SBATCH -t 08:00:00", "#SBATCH --gres=gpu:2", "source /opt/isles/bin/activate",
                   "export OMP_NUM_THREADS=8"):  # fmt: skip
        assert wanted in lines
    (command,) = [line for line in lines if "dask_worker" in line]
    assert "--nworkers 2" in command and "--resources MEMORY_GB=32,GPU=1" in command
    assert command.rindex("--nthreads 1") > command.index("--nthreads 8")


def test_a_case_that_no_slurm_worker_could_take_is_refused(profile: Path) -> None:
    with pytest.raises(
        IslesError, match=r"E-COH-08: the Slurm profile requests too little for one case\n.*big(?s:.*)MEMORY_GB"
    ):
        slurm_cluster(profile, 0, {"GPU": 1.0, "MEMORY_GB": 33.0}, "big")


def test_a_machine_that_submits_no_jobs_is_told_instead_of_waiting(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(IslesError, match=r"E-COH-12: (?s:.*)no command sbatch\n.*login node"):
        slurm_cluster(profile, 1, {"GPU": 1.0, "MEMORY_GB": 30.0}, "a")


@pytest.mark.parametrize("refuse", [1, 2], ids=["the first job", "a later job"])
def test_a_job_that_sbatch_refuses_ends_with_its_error_and_without_jobs(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: int
) -> None:
    texts = {
        # jobs are submitted at once: each takes the next free number
        "sbatch": f"n=1; while ! mkdir {tmp_path}/job_$n; do n=$((n + 1)); done 2>/dev/null\n[ $n -lt {refuse} ] && "
        "echo 'Submitted batch job 71' && exit\necho 'sbatch: error: Batch job refused: Invalid account' >&2; exit 1",
        "scancel": f"echo $* >> {tmp_path}/cancelled",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(IslesError, match=r"E-COH-13: (?s:.*)found sbatch: error: Batch job refused: Invalid account\n"):
        slurm_cluster(profile, 4, {"GPU": 1.0, "MEMORY_GB": 30.0}, "a")
    assert (tmp_path / "cancelled").exists() == (refuse > 1)


@pytest.mark.parametrize(("text", "said"), [
    ("cores: 4", "memory"),
    ("[1]", "list, keys with values wanted"),
    (PROFILE + "nodes: 2", "nodes"),
    (PROFILE.replace("cores: 16", "cores: many"), "'many', a whole number"),
    (PROFILE.replace('"08:00:00"', "4:00"), "240, text wanted .put it in quotes"),
    (PROFILE.replace("64GB", "lots"), "not a size like 32GB"),
    (PROFILE.replace("{GPU: 1}", "{GPU: many}"), "numbers above 0 by name wanted"),
    (PROFILE.replace("{GPU: 1}", '{"GPU=1; rm": 1}'), "numbers above 0 by name wanted"),
    (PROFILE.replace('["--gres=gpu:2"]', "--gres=gpu:2"), "a list of texts wanted"),
    (PROFILE.replace("{host: 127.0.0.1}", "here"), "keys with values wanted"),
])  # fmt: skip
def test_a_wrong_profile_is_refused_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yml").write_text(text)
    with pytest.raises(IslesError, match=rf"E-COH-11: the Slurm profile is wrong(?s:.*){said}"):
        read_profile(tmp_path / "p.yml")


@pytest.mark.parametrize("text", [None, "a: [", "!!python/object/apply:os.system ['true']"])
def test_a_profile_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "p.yml").write_text(text)
    with pytest.raises(IslesError, match="E-COH-10: the Slurm profile cannot be read"):
        read_profile(tmp_path / "p.yml")
