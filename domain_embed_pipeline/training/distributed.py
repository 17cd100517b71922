"""What one process of a training over several devices knows of the others.

What belongs here: asking torch. What does not: starting the processes (`launching`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence


def is_distributed() -> bool:
    """Whether this process trains together with others."""
    return world_size() > 1


def world_size() -> int:
    """Processes that train together; 1 outside `torchrun`."""
    import torch.distributed

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 1
    return torch.distributed.get_world_size()


def rank() -> int:
    """This process's number among them; 0 outside `torchrun`."""
    import torch.distributed

    return torch.distributed.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process run the block alone, and the others after it."""
    if rank() > 0:
        wait_for_others()
    yield
    if rank() == 0:
        wait_for_others()


def wait_for_others() -> None:
    """Go on when every process has come here."""
    import torch.distributed

    if is_distributed():
        torch.distributed.barrier()


def shares(batches: Sequence[list[int]], processes: int) -> list[list[int]]:
    """Every batch cut into a share for each process, in turn, as accelerate deals them out.

    Shares of a batch are of equal size, since a process that had less would weigh its rows more: up to
    `processes - 1` rows of a batch are left out. A batch with fewer rows than processes is left out.
    """
    if processes == 1:
        return list(batches)
    cut = []
    for batch in batches:
        size = len(batch) // processes
        if size:
            cut += [batch[start * size : (start + 1) * size] for start in range(processes)]
    return cut
