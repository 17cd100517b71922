"""Every run knob alike: it has a default that works, a bound, a sentence, and the library's own default."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from typing import Any

import dagster as dg
import pydantic
import pytest

from domain_embed_pipeline.defs import config as configs
from domain_embed_pipeline.defs.config.corpus import SplitConfig
from domain_embed_pipeline.defs.config.evaluation import ComparisonConfig
from domain_embed_pipeline.defs.config.models import MiningConfig, StageOneConfig, StageTwoConfig, TrainingConfig
from domain_embed_pipeline.defs.config.training_data import QuestionsConfig, StructuralPairsConfig, TrainingPairsConfig
from domain_embed_pipeline.defs.profiles import PROFILES, defaults_of
from domain_embed_pipeline.evaluation.comparison import ComparisonSettings
from domain_embed_pipeline.pairs.splits import SplitSettings
from domain_embed_pipeline.pairs.structural import StructuralSettings
from domain_embed_pipeline.pairs.training_pairs import TrainingPairSettings
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline.training.settings import CandidateSettings, MiningSettings, TrainingSettings

MODULES = [importlib.import_module(f"{configs.__name__}.{row.name}") for row in pkgutil.iter_modules(configs.__path__)]
CLASSES = [
    value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, dg.Config) and value.__module__ == module.__name__
]
LIBRARY: dict[type[dg.Config], Any] = {
    SplitConfig: SplitSettings(),
    # A run of Dagster leaves its batches to a sensor.
    QuestionsConfig: QuestionSettings(batch_wait_h=10 / 60),
    StructuralPairsConfig: StructuralSettings(),
    TrainingPairsConfig: TrainingPairSettings(),
    TrainingConfig: TrainingSettings(),
    StageOneConfig: TrainingSettings(),
    MiningConfig: MiningSettings(),
    ComparisonConfig: ComparisonSettings(),
}
FIELDS = [(config_class, name) for config_class in CLASSES for name in config_class.model_fields]


def _is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(option in (int, float) for option in typing.get_args(annotation))


@pytest.mark.parametrize("config_class", CLASSES)
def test_a_config_needs_nothing(config_class: type[dg.Config]) -> None:
    config_class()


@pytest.mark.parametrize(("config_class", "name"), FIELDS)
def test_a_knob_says_what_it_does(config_class: type[dg.Config], name: str) -> None:
    assert len(config_class.model_fields[name].description or "") > 15


@pytest.mark.parametrize(
    ("config_class", "name"), [(c, n) for c, n in FIELDS if _is_number(c.model_fields[n].annotation) and n != "seed"]
)
def test_a_number_beyond_all_reason_is_refused(config_class: type[dg.Config], name: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        config_class(**{name: -7})
    if name != "max_steps":
        with pytest.raises(pydantic.ValidationError):
            config_class(**{name: 10**9})


@pytest.mark.parametrize("config_class", LIBRARY)
def test_the_defaults_are_those_of_the_library(config_class: type[dg.Config]) -> None:
    assert config_class().to_settings() == LIBRARY[config_class]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_candidate_is_chosen_as_the_library_does() -> None:
    assert StageTwoConfig().to_candidate_settings() == CandidateSettings()


def test_every_training_setting_is_on_the_launchpad() -> None:
    assert {field.name for field in dataclasses.fields(TrainingSettings)} <= set(TrainingConfig.model_fields)
    assert {field.name for field in dataclasses.fields(MiningSettings)} == set(MiningConfig.model_fields)


def test_a_knob_that_is_set_reaches_the_library() -> None:
    config = StageOneConfig(matryoshka_dimensions=[128, 64], lora_rank=8, patience=None, start="live")
    settings = config.to_settings()
    assert (settings.matryoshka_dimensions, settings.lora_rank, settings.patience) == ((128, 64), 8, None)


def test_every_profile_names_the_same_knobs_and_cpu_is_the_library() -> None:
    shapes = [{asset: set(knobs) for asset, knobs in profile.items()} for profile in PROFILES.values()]
    assert all(shape == shapes[0] for shape in shapes)
    plain = {
        "generated_questions": QuestionSettings(),
        "stage_one_model": TrainingSettings(),
        "hard_negatives": MiningSettings(),
    }
    for asset, settings in plain.items():
        for name, value in PROFILES["cpu"][asset].items():
            assert getattr(settings, name) == value, name


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_becomes_the_defaults_of_a_config(profile: str) -> None:
    changed = defaults_of("stage_one_model", profile=profile)(type("Changed", (StageOneConfig,), {}))
    assert (
        changed().model_dump(include=set(PROFILES[profile]["stage_one_model"])) == PROFILES[profile]["stage_one_model"]
    )
    assert StageOneConfig().anchors_per_row == 1
