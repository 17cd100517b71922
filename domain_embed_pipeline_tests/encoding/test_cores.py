from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from domain_embed_pipeline.encoding.cores import each_on_a_core


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_every_item_is_done_once_by_threads_of_one_core(threads: int) -> None:
    done: dict[int, tuple[int, str]] = {}

    def work(item: int) -> None:
        done[item] = torch.get_num_threads(), threading.current_thread().name

    each_on_a_core(work, iter(range(200)))
    assert sorted(done) == list(range(200))
    assert {count for count, _ in done.values()} == {1}
    assert len({name for _, name in done.values()}) <= threads
    assert torch.get_num_threads() == threads
    assert threads_of_a_new_thread() == threads


def test_few_items_wait_at_a_time(threads: int) -> None:
    finished = [0]
    ahead: list[int] = []
    lock = threading.Lock()

    def items() -> Iterator[int]:
        for number in range(100):
            with lock:
                ahead.append(number - finished[0])
            yield number

    def work(item: int) -> None:
        with lock:
            finished[0] += 1

    each_on_a_core(work, items())
    assert finished == [100]
    assert max(ahead) <= 4 * threads


def test_what_goes_wrong_is_raised_and_ends_the_work(threads: int) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 5:
            raise ValueError("item 5 is bad")
        done.append(item)

    with pytest.raises(ValueError, match="item 5 is bad"):
        each_on_a_core(work, range(1_000))
    assert len(done) < 100
    assert torch.get_num_threads() == threads
