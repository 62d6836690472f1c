import multiprocessing
import subprocess
import sys

import pytest
import torch

from chipmend.errors import WorkerError
from chipmend.fleet.executor import Failed
from chipmend.fleet.local import InProcess, LocalProcesses
from contracts.executor_contract import ExecutorContract, double, kill_yourself


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return InProcess(threads=1)

    @pytest.fixture
    def two_threads(self):
        return InProcess(threads=2)

    def test_the_process_gets_its_own_threads_back(self):
        torch.set_num_threads(2)
        list(InProcess(threads=1).run(double, [1]))
        assert torch.get_num_threads() == 2


class TestLocalProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return LocalProcesses(workers=2, threads=1)

    @pytest.fixture
    def two_threads(self):
        return LocalProcesses(workers=2, threads=2)

    def test_a_worker_that_dies_fails_its_job_alone_after_a_second_try(self, executor):
        started = []
        done = dict(executor.run(kill_yourself, [0, 1, 2], on_start=started.append))
        assert done[0] == 0
        assert done[2] == 2
        assert isinstance(done[1], Failed)
        assert "SIGKILL" in done[1].reason
        assert started.count(1) == 2

    def test_no_worker_outlives_its_run(self, executor):
        list(executor.run(double, [1, 2]))
        assert multiprocessing.active_children() == []

    def test_work_that_cannot_be_sent_is_our_error(self, executor):
        with pytest.raises(WorkerError, match="cannot be sent"):
            list(executor.run(lambda job, tick: job, [1]))

    def test_a_script_without_a_main_guard_is_told_so(self, tmp_path):
        script = tmp_path / "unguarded.py"
        script.write_text(
            "from chipmend.fleet.local import LocalProcesses\n"
            "def work(job, tick):\n    return job\n"
            "list(LocalProcesses(workers=2).run(work, [1, 2]))\n"
        )
        ended = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode != 0
        assert "__main__" in ended.stderr
        raised = [line for line in ended.stderr.splitlines() if line.startswith("chipmend.")]
        assert raised[-1].startswith("chipmend.errors.WorkerError")
        assert "process object is closed" not in ended.stderr
