"""Batches come in order and ahead; errors reach the consumer; the thread ends."""

import threading
import time

import numpy as np
import pytest

from bioflax.data import Prefetch
from bioflax.errors import InputError


class Counting:
    def __init__(self, fails_at=None):
        self.asked, self.fails_at = [], fails_at

    def batch(self, step):
        if step == self.fails_at:
            raise InputError("file 7: gone")
        self.asked.append(step)
        return {"image": np.full(2, step)}


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "bioflax-prefetch"]


def test_batches_come_in_order_through_put():
    with Prefetch(Counting(), 3, 8, lambda batch: batch["image"] * 10) as fetched:
        assert [int(batch[0]) for batch in fetched] == [30, 40, 50, 60, 70]
        assert list(fetched) == []
    assert threads() == []


def test_it_runs_ahead_by_its_depth_and_no_further():
    source = Counting()
    with Prefetch(source, 0, 1000) as fetched:
        next(fetched)
        deadline = time.monotonic() + 5
        while len(source.asked) < 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert source.asked == [0, 1, 2, 3]  # one taken, two waiting, one in hand
    assert threads() == []


def test_an_error_is_raised_where_its_batch_would_have_come():
    fetched = Prefetch(Counting(fails_at=2), 0, 5)
    assert [int(next(fetched)["image"][0]) for _ in range(2)] == [0, 1]
    with pytest.raises(InputError, match="file 7: gone"):
        next(fetched)
    assert threads() == []
    with pytest.raises(StopIteration):
        next(fetched)


def test_an_error_of_put_is_raised_too():
    def put(batch):
        raise MemoryError("device")

    with pytest.raises(MemoryError, match="device"):
        next(Prefetch(Counting(), 0, 5, put))


def test_leaving_early_ends_the_thread():
    with pytest.raises(KeyboardInterrupt), Prefetch(Counting(), 0, 10**9) as fetched:
        next(fetched)
        raise KeyboardInterrupt
    assert threads() == []
    fetched.close()


def test_no_steps_and_no_depth():
    assert list(Prefetch(Counting(), 4, 4)) == []
    with pytest.raises(InputError, match="depth: expected 1 or more"):
        Prefetch(Counting(), 0, 4, depth=0)
