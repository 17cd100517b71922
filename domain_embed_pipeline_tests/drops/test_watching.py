from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from domain_embed_pipeline.drops.indexed import IndexedState
from domain_embed_pipeline.drops.listing import content_digest, list_corpus, read_contents
from domain_embed_pipeline.drops.watching import DropRequest, Known, Look, WatchSettings, WatchStore, look_at

QUIET = 10.0
TICK = 15.0


@dataclass
class Watcher:
    """A sensor with a clock: each tick is 15 s after the last, and a request is indexed when a test says so."""

    folder: Path
    settings: WatchSettings = field(default_factory=lambda: WatchSettings(quiet_s=QUIET))
    now: float = 1_000_000.0
    cursor: str | None = None
    indexed: IndexedState | None = None
    live: str | None = None
    requests: list[DropRequest] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    def tick(self, *, after: float = TICK) -> Look:
        self.now += after
        look = look_at(
            str(self.documents),
            store=WatchStore(self.folder / "state"),
            known=Known(self.cursor, self.indexed, self.live, self.failed.__contains__),
            now=self.now,
            settings=self.settings,
        )
        if look.request is not None:
            self.cursor = look.request.cursor
            self.requests.append(look.request)
        return look

    def ticks(self, count: int) -> list[DropRequest]:
        return [look.request for look in (self.tick() for _ in range(count)) if look.request is not None]

    def index(self, collection: str = "documents__m__c") -> None:
        """The run that was requested has succeeded."""
        files = read_contents(list_corpus(str(self.documents), marker=self.settings.marker), ())
        digest = content_digest(files, marker=self.settings.marker)
        self.indexed = IndexedState(digest, "corpus-1", collection)

    def write(self, name: str, text: str) -> Path:
        path = self.documents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    watcher = Watcher(tmp_path)
    for number in range(3):
        watcher.write(f"{number}.md", f"document {number}")
    watcher.index()
    watcher.ticks(3)
    assert not watcher.requests
    return watcher


def test_nothing_is_requested_when_nothing_changed_over_twenty_ticks(watcher: Watcher) -> None:
    assert not watcher.ticks(20)
    assert "Nothing has changed" in watcher.tick().reason


def test_a_new_a_changed_a_renamed_and_a_deleted_file_is_each_one_request(watcher: Watcher) -> None:
    changes = [
        lambda: watcher.write("new.md", "new"),
        lambda: watcher.write("0.md", "other"),
        lambda: (watcher.documents / "1.md").rename(watcher.documents / "renamed.md"),
        lambda: (watcher.documents / "2.md").unlink(),
    ]
    for change in changes:
        change()
        assert len(watcher.ticks(4)) == 1
        watcher.index()
    assert len({request.run_key for request in watcher.requests}) == len(changes)


def test_a_touched_file_is_no_change(watcher: Watcher) -> None:
    os.utime(watcher.documents / "0.md", (1, 1))
    assert not watcher.ticks(4)


def test_a_file_written_in_two_halves_is_one_request_when_it_is_whole(watcher: Watcher) -> None:
    path = watcher.write("long.md", "first half")
    assert "moved" in watcher.tick().reason
    path.write_text("first half, second half", encoding="utf-8")
    assert "moved" in watcher.tick().reason
    assert len(watcher.ticks(4)) == 1
    watcher.index()
    assert watcher.requests[0].files_digest == watcher.indexed.files_digest  # pyright: ignore[reportOptionalMemberAccess]


def test_quiet_is_counted_from_the_last_movement_and_needs_two_ticks(watcher: Watcher) -> None:
    watcher.write("new.md", "new")
    assert watcher.tick().request is None
    assert "Quiet for 4 s" in watcher.tick(after=4).reason
    assert watcher.tick(after=7).request is not None


def test_five_drops_within_a_minute_end_in_one_request_once_they_are_over(watcher: Watcher) -> None:
    for number in range(5):
        watcher.write(f"drop-{number}.md", f"drop {number}")
        assert watcher.tick(after=12).request is None
    assert len(watcher.ticks(5)) == 1


def test_files_that_never_rest_are_indexed_after_the_longest_wait(watcher: Watcher) -> None:
    looks = []
    for number in range(70):
        watcher.write("log.md", f"line {number}")
        looks.append(watcher.tick())
    waited = [look.request is not None for look in looks]
    assert waited.index(True) == 60
    assert sum(waited) == 1


def test_the_cursor_is_small_and_moves_only_with_a_request(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    for number in range(2_000):
        watcher.write(f"{number}.md", f"{number}")
    assert watcher.tick().request is None
    assert watcher.cursor is None
    assert watcher.tick().request is not None
    assert watcher.cursor is not None
    assert len(watcher.cursor) < 250
    assert json.loads(watcher.cursor)["files"] == 2_000


def test_a_tick_whose_request_was_lost_asks_again_under_the_same_key(watcher: Watcher) -> None:
    watcher.write("new.md", "new")
    watcher.tick()
    lost = watcher.tick().request
    assert lost is not None
    watcher.cursor = None  # the daemon died before it stored request and cursor
    again = watcher.tick().request
    assert again is not None
    assert again.run_key == lost.run_key


def test_a_request_that_has_not_succeeded_is_not_repeated_but_told(watcher: Watcher) -> None:
    watcher.write("new.md", "new")
    (request,) = watcher.ticks(3)
    assert request.run_key in watcher.tick().reason


def test_a_run_that_failed_is_asked_for_again_three_times_in_all(watcher: Watcher) -> None:
    watcher.write("new.md", "new")
    for _ in range(10):
        watcher.tick()
        watcher.failed.update(request.run_key for request in watcher.requests)
    assert len(watcher.requests) == len({request.run_key for request in watcher.requests}) == 3
    assert "3 runs for these 4 files failed" in watcher.tick().reason
    watcher.write("newer.md", "newer")
    assert len(watcher.ticks(3)) == 1


def test_a_return_to_an_earlier_state_has_a_key_of_its_own(watcher: Watcher) -> None:
    """Dagster remembers a key for ever: with a plain digest the second deletion would never run."""
    for _ in range(2):
        watcher.write("new.md", "new")
        watcher.ticks(3)
        watcher.index()
        (watcher.documents / "new.md").unlink()
        watcher.ticks(3)
        watcher.index()
    assert len(watcher.requests) == 4
    assert len({request.run_key for request in watcher.requests}) == 4


def test_a_drop_that_was_withdrawn_before_it_settled_is_nothing(watcher: Watcher) -> None:
    path = watcher.write("new.md", "new")
    watcher.tick()
    path.unlink()
    assert not watcher.ticks(4)


def test_after_a_rollback_the_older_collection_is_brought_up_to_date(watcher: Watcher) -> None:
    watcher.live = "documents__older__c"
    assert len(watcher.ticks(3)) == 1
    watcher.index("documents__older__c")
    assert not watcher.ticks(3)


def test_a_folder_without_documents_asks_for_nothing(watcher: Watcher) -> None:
    for path in watcher.documents.iterdir():
        path.unlink()
    assert not watcher.ticks(4)
    assert "never emptied" in watcher.tick().reason


def test_reading_goes_on_at_the_next_tick_when_the_time_is_up(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path, settings=WatchSettings(quiet_s=QUIET, budget_s=0))
    watcher.write("a.md", "a")
    watcher.tick()
    assert "0 of 1 files read" in watcher.tick().reason
    watcher.settings = WatchSettings(quiet_s=QUIET)
    assert watcher.tick().request is not None


class TestMarker:
    @pytest.fixture
    def marked(self, watcher: Watcher) -> Watcher:
        watcher.settings = WatchSettings(quiet_s=QUIET, marker="_DONE")
        return watcher

    def test_new_files_wait_for_a_marker_however_quiet_they_are(self, marked: Watcher) -> None:
        marked.write("drop/a.md", "a")
        assert not marked.ticks(5)
        assert "wait for a _DONE" in marked.tick().reason
        marked.write("drop/_DONE", "")
        assert marked.tick().request is not None

    def test_a_marker_above_the_files_will_do_and_an_older_one_will_not(self, marked: Watcher) -> None:
        marker = marked.write("_DONE", "")
        late = marked.write("drop/a.md", "a")
        os.utime(marker, (1_000, 1_000))
        os.utime(late, (2_000, 2_000))
        assert not marked.ticks(3)
        os.utime(marker, (2_000, 2_000))
        assert marked.tick().request is not None

    def test_a_marker_is_no_document(self, marked: Watcher) -> None:
        marked.write("_DONE", "")
        assert not marked.ticks(3)
        assert "Nothing has changed" in marked.tick().reason

    def test_without_a_marker_the_longest_wait_still_holds(self, marked: Watcher) -> None:
        marked.write("drop/a.md", "a")
        assert len(marked.ticks(70)) == 1


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_tick_over_100_000_files_takes_under_five_seconds_after_the_first(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    for folder in range(100):
        (watcher.documents / f"{folder:02}").mkdir(parents=True)
        for number in range(1_000):
            (watcher.documents / f"{folder:02}" / f"{number}.md").write_bytes(b"document %d %d" % (folder, number))
    spent, reasons = [], []
    for _ in range(40):
        started = time.process_time()
        look = watcher.tick()
        spent.append(time.process_time() - started)
        reasons.append(look.reason)
        if look.request is not None:
            break
    watcher.index()
    for edit in range(3):
        name = f"{random.Random(edit).randrange(100):02}/{edit}.md"
        (watcher.documents / name).write_bytes(b"edited")
        for _ in range(3):
            started = time.process_time()
            watcher.tick()
            spent.append(time.process_time() - started)
        watcher.index()
    print(f"first ticks {spent[:3]}, later {sorted(spent[3:])[-3:]}")  # noqa: T201
    assert len(watcher.requests) == 4
    assert max(spent[-9:]) < 5
