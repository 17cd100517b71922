"""Anchors in another language than their passage; only where there is no doubt."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from domain_embed_pipeline.pairs.filters.base import Verdict, drop_where
from domain_embed_pipeline.pairs.filters.settings import FilterSettings
from domain_embed_pipeline.pairs.records import FilterResult
from domain_embed_pipeline.records import TrainingPair

_READ_CHARACTERS = 200
# Japanese mixes three scripts and shares one with Chinese.
_SCRIPT_FAMILY = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HALFWIDTH": "CJK", "FULLWIDTH": "LATIN", "MICRO": "GREEK"}


def other_language(pairs: Sequence[TrainingPair], *, settings: FilterSettings) -> FilterResult:
    """Drop pairs whose sides are certainly in different languages (`other_language`).

    The script decides for texts of any length; the language detector only for texts that are long enough. Titles and
    sentences come from the same page as their passage and are not looked at.
    """

    @functools.lru_cache(maxsize=65536)
    def of_passage(text: str) -> tuple[str, str]:
        """Script and language of a passage, found once for all its pairs."""
        return _script(text), _language(text, settings)

    def verdict(pair: TrainingPair) -> Verdict | None:
        """Scripts are always compared, languages only where the passage's is known."""
        if pair.source not in ("question", "user"):
            return None
        script = _script(pair.anchor)
        passage_script, passage_language = of_passage(pair.positive[:_READ_CHARACTERS])
        if script and passage_script and script != passage_script:
            return "other_language", f"{script} script, passage in {passage_script}"
        language = _language(pair.anchor, settings) if passage_language else ""
        if language and language != passage_language:
            return "other_language", f"{language}, passage in {passage_language}"
        return None

    return drop_where(pairs, verdict)


def _script(text: str) -> str:
    """Script of at least four in five letters, or empty."""
    scripts = Counter(map(_script_of, filter(str.isalpha, text)))
    if not scripts:
        return ""
    script, count = scripts.most_common(1)[0]
    return script if count >= 0.8 * scripts.total() else ""


@functools.lru_cache(maxsize=8192)
def _script_of(character: str) -> str:
    first = unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]
    return _SCRIPT_FAMILY.get(first, first)


def _language(text: str, settings: FilterSettings) -> str:
    """ISO 639-1 code, or empty when the text is short or the detector is not certain."""
    if len(text) < settings.language_minimum_characters:
        return ""
    language, certainty = _identifier().classify(text[:_READ_CHARACTERS])
    return language if certainty >= settings.language_certainty else ""


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
