"""One contract for a folder and for a bucket: files are there as a whole, and nothing is taken for what it is not."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from domain_embed_pipeline import tables
from domain_embed_pipeline.artifacts import Location, is_abandoned, new_name
from domain_embed_pipeline.errors import ConfigurationError, MissingDependencyError
from domain_embed_pipeline.tables import RecordFormatError, load_record, save_record
from domain_embed_pipeline_tests.conftest import ROOT
from domain_embed_pipeline_tests.places import KINDS, URLS, empty_place


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Stock:
    version: str
    rows: tuple[Row, ...]
    later: tuple[Row, ...] = ()


def stock(number: int) -> Stock:
    return Stock(f"v{number}", (Row("ä", number),), (Row("b", -number),))


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return Location(empty_place(request.param, tmp_path, request))


@pytest.fixture(params=URLS)
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return Location(empty_place(request.param, tmp_path, request))


# --- files ---


def test_a_file_is_read_as_it_was_written_last(place: Location) -> None:
    file = place / "deep" / "name.json"
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    file.write_text("ä first and longer")
    file.write_text("ö second")
    assert (file.is_file(), file.read_text(), file.name) == (True, "ö second", "name.json")
    assert place.files() == ["deep/name.json"]


def test_files_and_folders_are_listed_relative_and_deleted_with_what_is_in_them(place: Location) -> None:
    assert (place.files(), place.folders()) == ([], [])
    for name in ("a/1.txt", "a/b/2.txt", "ab/3.txt"):
        (place / name).write_text(name)
    assert place.files() == ["a/1.txt", "a/b/2.txt", "ab/3.txt"]
    assert (place.folders(), (place / "a").files()) == (["a", "ab"], ["1.txt", "b/2.txt"])
    (place / "a").delete()
    (place / "a").delete()
    assert place.files() == ["ab/3.txt"]
    (place / "ab" / "3.txt").delete()
    assert place.files() == []


def test_a_folder_comes_back_from_where_it_was_copied_to(place: Location, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "pooling" / "config.json").write_text("{}", encoding="utf-8")
    (place / "model-1").upload(folder)
    (place / "model-1").download(tmp_path / "copy")
    names = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*"))
    assert names == ["model.safetensors", "pooling/config.json"]
    assert (tmp_path / "copy" / names[0]).read_bytes() == (folder / names[0]).read_bytes()


def test_a_new_name_tells_its_age_and_no_other_name_has_one() -> None:
    name, now = new_name(), datetime.datetime.now(datetime.UTC)
    assert name != new_name()
    assert not is_abandoned(name, now=now + datetime.timedelta(hours=23))
    assert is_abandoned(name, now=now + datetime.timedelta(hours=25))
    assert not is_abandoned("20200101T000000-mine", now=now)


@pytest.mark.parametrize(
    ("url", "joined"),
    [("memory://", "memory:///a"), ("s3://bucket/prefix/", "s3://bucket/prefix/a"), ("data/own/", "data/own/a")],
)
def test_places_are_joined_as_paths_are(url: str, joined: str) -> None:
    assert str(Location(url) / "a") == joined


def test_a_url_is_no_path_of_this_machine() -> None:
    with pytest.raises(ConfigurationError, match="no folder of this machine"):
        _ = Location("s3://bucket/prefix").path


def test_a_store_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(MissingDependencyError, match=r"s3://bucket/x cannot be opened.*pip install s3fs\."):
        (Location("s3://bucket") / "x").read_bytes()


def test_an_unknown_protocol_is_a_matter_of_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"zz://bucket cannot be opened.*DOMAIN_EMBED_ARTIFACTS_PATH"):
        Location("zz://bucket").files()


# --- records ---


def test_a_record_comes_back_equal_from_everywhere(place: Location) -> None:
    with pytest.raises(FileNotFoundError):
        load_record(Stock, place / "stock")
    for number in (1, 2, 3, 4):
        save_record(stock(number), place / "stock")
        assert load_record(Stock, place / "stock") == stock(number)


def test_a_folder_that_was_copied_to_a_bucket_is_read_there(bucket: Location, tmp_path: Path) -> None:
    save_record(stock(1), tmp_path / "local" / "stock")
    bucket.upload(tmp_path / "local")
    assert load_record(Stock, bucket / "stock") == stock(1)
    save_record(stock(2), bucket / "stock")
    bucket.download(tmp_path / "back")
    assert load_record(Stock, tmp_path / "back" / "stock") == stock(2)


def test_a_write_that_fails_leaves_the_stored_record_and_no_rubbish(place: Location) -> None:
    save_record(stock(1), place / "stock")
    before = place.files()
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        save_record(Stock("v2", (Row("n", 1),), (Row("n", "no number"),)), place / "stock")  # type: ignore[arg-type]
    assert load_record(Stock, place / "stock") == stock(1)
    assert place.files() == before


def test_tables_without_their_document_are_nothing(bucket: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies when the tables are up and the document is not."""

    def die(self: Location, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Location, "write_text", die)
        with pytest.raises(KeyboardInterrupt):
            save_record(stock(1), bucket / "stock")
    with pytest.raises(FileNotFoundError):
        load_record(Stock, bucket / "stock")
    save_record(stock(2), bucket / "stock")
    with monkeypatch.context() as patched:
        patched.setattr(Location, "write_text", die)
        with pytest.raises(KeyboardInterrupt):
            save_record(stock(3), bucket / "stock")
    assert load_record(Stock, bucket / "stock") == stock(2)


def test_a_reader_of_the_document_before_still_finds_its_tables(
    bucket: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_record(stock(1), bucket / "stock")
    read = tables._read
    calls: list[str] = []

    def overtaken(record_type: type, location: Location, document: dict[str, object]) -> object:
        if not calls:
            calls.append("once")
            save_record(stock(2), bucket / "stock")
        return read(record_type, location, document)

    monkeypatch.setattr(tables, "_read", overtaken)
    assert load_record(Stock, bucket / "stock") == stock(1)


def test_a_reader_that_two_writes_overtook_begins_again(bucket: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    save_record(stock(1), bucket / "stock")
    read = tables._read
    calls: list[str] = []

    def overtaken(record_type: type, location: Location, document: dict[str, object]) -> object:
        calls.append("read")
        if len(calls) == 1:
            save_record(stock(2), bucket / "stock")
            save_record(stock(3), bucket / "stock")
        return read(record_type, location, document)

    monkeypatch.setattr(tables, "_read", overtaken)
    assert load_record(Stock, bucket / "stock") == stock(3)
    assert len(calls) == 2


def test_only_this_write_and_the_one_before_are_kept(bucket: Location) -> None:
    for number in range(5):
        save_record(stock(number), bucket / "stock")
    assert len((bucket / "stock").folders()) == 2


def test_what_died_half_uploaded_goes_after_a_day_and_not_before(bucket: Location) -> None:
    old, young = "20200101T000000-0123456789ab", new_name()
    for name in (old, young, "mine"):
        (bucket / "stock" / name / "rows.parquet").write_text("half")
    save_record(stock(1), bucket / "stock")
    left = (bucket / "stock").folders()
    assert old not in left
    assert {young, "mine"} < set(left)


def test_a_record_whose_tables_somebody_deleted_is_damaged_and_not_missing(bucket: Location) -> None:
    save_record(stock(1), bucket / "stock")
    (generation,) = (bucket / "stock").folders()
    (bucket / "stock" / generation / "later.parquet").delete()
    with pytest.raises(RecordFormatError, match="lacks the table"):
        load_record(Stock, bucket / "stock")


def test_a_table_that_an_older_record_lacks_is_empty(bucket: Location) -> None:
    save_record(stock(1), bucket / "stock")
    document = json.loads((bucket / "stock" / "record.json").read_text())
    document["tables"] = ["rows"]
    (bucket / "stock" / "record.json").write_text(json.dumps(document))
    assert load_record(Stock, bucket / "stock").later == ()


def test_writers_at_the_same_time_leave_one_whole_record(bucket: Location) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: save_record(stock(number), bucket / "stock"), range(12)))
    found = load_record(Stock, bucket / "stock")
    assert found == stock(found.rows[0].count)


WRITER = """
import sys
from domain_embed_pipeline.tables import save_record
from domain_embed_pipeline_tests.test_artifacts import stock
print("ready", flush=True)
for number in range(10_000):
    save_record(stock(number), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_record(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for kind in ("file", "s3"):
        place = empty_place(kind, tmp_path, request)
        for attempt in range(5):
            command = [sys.executable, "-c", WRITER, f"{place}/stock"]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
                time.sleep(0.5 + 0.13 * attempt)
                writer.kill()
            found = load_record(Stock, f"{place}/stock")
            assert found == stock(found.rows[0].count)
