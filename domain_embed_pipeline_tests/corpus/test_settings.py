from __future__ import annotations

import dataclasses

import pytest

from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.errors import ConfigurationError


@pytest.mark.parametrize("values", [{"max_tokens": 15}, {"min_tokens": -1}, {"min_tokens": 221}, {"max_file_bytes": 0}])
def test_a_value_out_of_bounds_is_refused_by_name(values: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(values))} is {next(iter(values.values()))}"):
        CorpusSettings(**values)


def test_settings_come_back_from_what_a_corpus_names() -> None:
    settings = CorpusSettings(max_tokens=64, min_tokens=8, read_hidden=True)
    assert CorpusSettings.from_record(dataclasses.asdict(settings)) == settings
    assert CorpusSettings.from_record({"max_tokens": 64, "of_a_later_version": 1}) == CorpusSettings(max_tokens=64)
