"""What every executor has to do."""

import os
import signal
import time

import pytest
import scipy.linalg  # noqa: F401  whose threads are counted
import torch
from threadpoolctl import threadpool_info

from chipmend.fleet.executor import Failed


def double(job, tick):
    if job < 0:
        raise ValueError("negative")
    tick(job / 2)
    return 2 * job


def wait_and_tell(job, tick):
    time.sleep(0.05 * job)
    return job


def threads(job, tick):
    """Threads of PyTorch and of SciPy's linear algebra."""
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {torch.get_num_threads(), *blas}


def kill_yourself(job, tick):
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


class ExecutorContract:
    """Inherit, and give fixtures ``executor`` and ``two_threads``: so many per worker."""

    def test_every_job_comes_back_once_under_its_index(self, executor):
        assert sorted(executor.run(double, [1, 2, 3])) == [(0, 2), (1, 4), (2, 6)]

    def test_one_bad_job_does_not_sink_the_others(self, executor):
        done = dict(executor.run(double, [1, -1, 3]))
        assert done == {0: 2, 1: Failed("ValueError: negative"), 2: 6}

    def test_no_jobs_give_no_results(self, executor):
        assert list(executor.run(double, [])) == []

    def test_more_jobs_than_workers_are_all_done(self, executor):
        done = dict(executor.run(double, list(range(20))))
        assert done == {index: 2 * index for index in range(20)}

    def test_uneven_jobs_all_come_back(self, executor):
        assert dict(executor.run(wait_and_tell, [3, 0, 2, 0])) == {0: 3, 1: 0, 2: 2, 3: 0}

    def test_starts_and_ticks_are_told_with_the_index_of_the_job(self, executor):
        started, ticked = [], []
        results = executor.run(
            double,
            [4, 6],
            on_start=started.append,
            on_tick=lambda index, ee: ticked.append((index, ee)),
        )
        assert sorted(results) == [(0, 8), (1, 12)]
        assert sorted(started) == [0, 1]
        assert sorted(ticked) == [(0, 2.0), (1, 3.0)]

    def test_jobs_compute_with_the_threads_asked_for(self, executor, two_threads):
        assert dict(executor.run(threads, [0, 1])) == {0: {1}, 1: {1}}
        assert dict(two_threads.run(threads, [0, 1])) == {0: {2}, 1: {2}}

    @pytest.mark.parametrize("stop_after", [1, 2])
    def test_results_may_be_left_unread(self, executor, stop_after):
        results = executor.run(double, [1, 2, 3, 4])
        taken = [next(results) for _ in range(stop_after)]
        results.close()
        assert len(taken) == stop_after
