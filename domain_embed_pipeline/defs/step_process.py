"""What a step's process owes to the run that started it.

What belongs here: its life and death. What does not: what the step does.
"""

import functools
import multiprocessing
import os
import threading


@functools.cache
def end_with_parent_process() -> None:
    """From now on, end this process the moment the one that started it is gone; nothing in a process nobody started.

    Dagster waits for its steps when it is interrupted, but a run that is killed leaves them behind: a training would go
    on beside the next run and write the same checkpoints. Every step may die at any moment, so it just ends.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        """Blocks until the parent ends, then ends this process without clean-up."""
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="end-with-parent", daemon=True).start()
