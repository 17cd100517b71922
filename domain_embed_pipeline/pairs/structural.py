"""Pairs that need no LLM: a chunk's title with its text, and a sentence with the next one.

What belongs here: making them from documents on the train side, and their caps. What does not: whether they are junk
(`filters`), how many of them training gets beside questions (`training_pairs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from domain_embed_pipeline.corpus.sentences import split_sentences
from domain_embed_pipeline.ids import digest_of, normalise_text, pair_id_of
from domain_embed_pipeline.pairs.records import SourceCount, StructuralPairs
from domain_embed_pipeline.pairs.shingles import comparison_key
from domain_embed_pipeline.pairs.splits import chunk_sides
from domain_embed_pipeline.records import Chunk, Corpus, DocumentSplits, PairSource, TrainingPair

_LIST_OR_TABLE = re.compile(r"^\s*([-*+•‣◦·\u2013]\s|\(?\d{1,3}[.)]\s|[a-z][.)]\s|\||#{1,6}\s|>|```|~~~|={3,}|-{3,})")
_LINK = re.compile(r"https?://|www\.|\]\(|@\w+\.\w")
_SENTENCE_END = re.compile(r"[.!?…\u3002\uff01\uff1f\u0964][\"'\u201d\u2019)\]]*$")

_SHORTEST_WRAPPED_LINE = 60


@dataclass(frozen=True, slots=True)
class StructuralSettings:
    """How many structural pairs are made."""

    use_title_body: bool = True
    """Titles name what their text is about; nearly free and rarely wrong."""
    use_adjacent_sentences: bool = True
    """Neighbouring sentences teach topical closeness only; training takes them where there is nothing else."""
    max_adjacent_per_chunk: int = 2
    """Sentence pairs from one chunk; more are near copies of each other."""
    max_title_body: int = 50_000
    """Ceiling of title-body pairs; above 50,000 pairs little is gained and training takes longer."""
    max_adjacent_sentences: int = 50_000
    """Ceiling of sentence pairs."""
    minimum_sentence_characters: int = 30
    """Shorter sentences ("See below.") say nothing about their neighbour."""
    language: str = "en"
    """Language of the sentence rules, as ISO 639-1."""
    seed: int = 13
    """Chooses which pairs the caps leave."""


def structural_pairs(
    corpus: Corpus, splits: DocumentSplits, *, settings: StructuralSettings | None = None
) -> StructuralPairs:
    """Title-body and adjacent-sentence pairs of the chunks that may be trained on.

    A title that stands over several chunks of one document gives one pair, with the first of them: the others would be
    false negatives of each other.
    """
    settings = settings or StructuralSettings()
    sides = chunk_sides(corpus, splits)
    chunks = [chunk for chunk in corpus.chunks if sides[chunk.chunk_id] == "train"]
    found: dict[PairSource, list[TrainingPair]] = {}
    if settings.use_title_body:
        found["title_body"] = list(_title_body(chunks))
    if settings.use_adjacent_sentences:
        found["adjacent_sentence"] = list(_adjacent(chunks, settings))
    caps = {"title_body": settings.max_title_body, "adjacent_sentence": settings.max_adjacent_sentences}
    kept = {source: seeded_sample(pairs, caps[source], settings.seed) for source, pairs in found.items()}
    total = max(sum(map(len, kept.values())), 1)
    counts = tuple(
        SourceCount(source, len(pairs), len(pairs) - len(kept[source]), len(kept[source]), len(kept[source]) / total)
        for source, pairs in found.items()
    )
    everything = {pair.pair_id: pair for sample in kept.values() for pair in sample}
    return StructuralPairs(tuple(everything[pair_id] for pair_id in sorted(everything)), counts)


def seeded_sample(pairs: Iterable[TrainingPair], cap: int, seed: int) -> list[TrainingPair]:
    """At most `cap` pairs; which ones depends on each pair's id only, so growth replaces few of them."""
    by_id = {pair.pair_id: pair for pair in pairs}
    if len(by_id) > cap:
        chosen = sorted(by_id, key=lambda pair_id: digest_of("sample", str(seed), pair_id))[:cap]
        return [by_id[pair_id] for pair_id in sorted(chosen)]
    return [by_id[pair_id] for pair_id in sorted(by_id)]


def prose_sentences(text: str, *, language: str = "en") -> list[list[str]]:
    """Sentences of each run of prose: paragraphs without headings, list items, tables, links or contents lines."""
    runs = []
    for paragraph in re.split(r"\n\s*\n", text):
        for block in _prose_blocks(paragraph.splitlines()):
            sentences = [normalise_text(sentence) for sentence in split_sentences(block, language)]
            if sentences:
                runs.append(sentences)
    return runs


def _title_body(chunks: Sequence[Chunk]) -> Iterator[TrainingPair]:
    first: dict[tuple[str, str], Chunk] = {}
    for chunk in sorted(chunks, key=lambda chunk: (chunk.position, chunk.chunk_id)):
        if chunk.title:
            first.setdefault((chunk.document_id, comparison_key(chunk.title)), chunk)
    for chunk in first.values():
        # Nobody types " > ".
        yield _pair(chunk.title.replace(" > ", ": "), chunk.text, chunk.chunk_id, "title_body")


def _adjacent(chunks: Sequence[Chunk], settings: StructuralSettings) -> Iterator[TrainingPair]:
    for chunk in chunks:
        pairs = [
            _pair(sentence, following, chunk.chunk_id, "adjacent_sentence")
            for sentences in prose_sentences(chunk.text, language=settings.language)
            for sentence, following in _neighbours(sentences, settings, is_cased=not chunk.text.islower())
        ]
        yield from seeded_sample(pairs, settings.max_adjacent_per_chunk, settings.seed)


def _neighbours(sentences: Sequence[str], settings: StructuralSettings, *, is_cased: bool) -> Iterator[tuple[str, str]]:
    """Sentences that follow each other, both prose and not the same."""
    keys = [
        comparison_key(sentence) if _is_prose(sentence, settings, is_cased=is_cased) else "" for sentence in sentences
    ]
    for place, (key, following) in enumerate(pairwise(keys)):
        if key and following and key != following:
            yield sentences[place], sentences[place + 1]


def _pair(anchor: str, positive: str, chunk_id: str, source: PairSource) -> TrainingPair:
    return TrainingPair(pair_id_of(anchor, positive), anchor, positive, chunk_id, source, source)


def _prose_blocks(lines: Sequence[str]) -> Iterator[str]:
    """Lines of a paragraph joined where a sentence runs on; a line of another kind ends the block."""
    block: list[str] = []
    for line, following in zip(lines, (*lines[1:], ""), strict=True):
        if _LIST_OR_TABLE.match(line) or _LINK.search(line) or _is_heading(line.strip(), following.strip()):
            if block:
                yield "\n".join(block)
            block = []
        elif line.strip():
            block.append(line.strip())
    if block:
        yield "\n".join(block)


def _is_heading(line: str, following: str) -> bool:
    """A line that neither ends a sentence nor is long enough to have been wrapped, before a new beginning."""
    return len(line) < _SHORTEST_WRAPPED_LINE and not _SENTENCE_END.search(line) and following[:1].isupper()


def _is_prose(sentence: str, settings: StructuralSettings, *, is_cased: bool) -> bool:
    """A whole sentence of words: neither heading nor contents line nor a row of figures."""
    if len(sentence) < settings.minimum_sentence_characters or not _SENTENCE_END.search(sentence):
        return False
    if is_cased and sentence[0].islower():  # the rest of a list item
        return False
    letters = sum(map(str.isalpha, sentence)) + sentence.count(" ")
    return letters / len(sentence) >= 0.75 and "...." not in sentence and ". . ." not in sentence
