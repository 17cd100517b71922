"""Checkpoints of one stage on disk: finding the newest complete one, and refusing those of another training.

At most two are kept, the best and the newest; while one is written there are three.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

logger = logging.getLogger(__name__)

KEPT = 2
_IDENTITY = "training.json"
_ABANDONED_AFTER_S = 7 * 24 * 3600


def open_checkpoints(folder: Path, identity: str) -> str | None:
    """Prepare `folder` and return the newest complete checkpoint in it.

    Checkpoints that were made by a training of another `identity` (other rows, settings or libraries) are removed.
    """
    stored = folder / _IDENTITY
    if folder.is_dir() and (not stored.is_file() or stored.read_text(encoding="utf-8") != identity):
        logger.warning(
            "Checkpoints in %s belong to a training with other rows, settings or libraries: removed.", folder
        )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored.write_text(identity, encoding="utf-8")
    newest = max(filter(_is_complete, folder.glob("checkpoint-*")), key=_step, default=None)
    if newest is None:
        return None
    logger.info("Resuming from %s.", newest)
    return str(newest)


def remove_abandoned(root: Path, *, now: float | None = None) -> list[Path]:
    """Remove the folders of trainings that nobody went on with for a week; returns them."""
    now = time.time() if now is None else now
    abandoned = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        if now - newest > _ABANDONED_AFTER_S:
            abandoned.append(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return abandoned


def _is_complete(checkpoint: Path) -> bool:
    """The trainer's state is written last; a kill may leave it cut short."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
