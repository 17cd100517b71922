from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain_embed_pipeline.corpus.chunking import ChunkDraft, chunk_document, embedding_text_of
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.structure import Block, ParsedDocument, Section
from domain_embed_pipeline.corpus.tokens import TokenCounter
from domain_embed_pipeline.records import Chunk
from domain_embed_pipeline_tests.corpus.helpers import SMALL, count_words

ROOMY = CorpusSettings(max_tokens=60, min_tokens=0)


def chunks(
    document: ParsedDocument, limits: CorpusSettings = SMALL, counter: TokenCounter = count_words
) -> list[ChunkDraft]:
    return chunk_document(document, settings=limits, count_tokens=counter)


def document(*blocks: Block, title: str = "", headings: tuple[str, ...] = ()) -> ParsedDocument:
    return ParsedDocument(title, (Section(headings, blocks),))


def sentences(count: int, words: int = 5) -> str:
    return " ".join(f"Sentence {number} has {' '.join(['word'] * (words - 4))} more." for number in range(count))


def test_a_section_that_fits_is_one_chunk_with_its_heading_path() -> None:
    (chunk,) = chunks(document(Block("Give aspirin."), title="Chest pain", headings=("Treatment", "First hour")), ROOMY)
    assert chunk == ChunkDraft("Give aspirin.", "Chest pain > Treatment > First hour", 9)


def test_the_embedding_text_is_that_of_the_chunk_record() -> None:
    record = Chunk("c-1", "text", "title", ("d",), (), 0, 0)
    assert embedding_text_of("text", "title") == record.embedding_text


def test_no_sentence_is_cut_in_two() -> None:
    text = sentences(17)
    for chunk in chunks(document(Block(text), title="T")):
        assert chunk.text.endswith("more.")
        assert chunk.text.startswith("Sentence")


def test_no_text_is_repeated_or_lost() -> None:
    text = sentences(17)
    assert " ".join(chunk.text for chunk in chunks(document(Block(text)))) == text


def test_a_long_section_is_cut_into_chunks_of_about_equal_size() -> None:
    sizes = [chunk.token_count for chunk in chunks(document(Block(sentences(9))))]  # 45 words, 20 a chunk.
    assert sizes == [15, 15, 15]


def test_a_cut_near_the_end_of_a_paragraph_falls_there() -> None:
    limits = CorpusSettings(max_tokens=24, min_tokens=0)  # By size alone the first would get four sentences.
    parts = chunks(document(Block(sentences(3)), Block(sentences(4))), limits)
    assert [chunk.text for chunk in parts] == [sentences(3), sentences(4)]


def test_a_sentence_that_alone_is_too_long_is_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(50)) + "."
    parts = chunks(document(Block(text)))
    assert " ".join(chunk.text for chunk in parts) == text
    assert all(chunk.token_count <= 20 for chunk in parts)


def test_lines_of_a_list_stay_whole() -> None:
    lines = [f"- item {number} with five words. Two sentences." for number in range(8)]
    parts = chunks(document(Block("\n".join(lines), "lines")))
    assert [line for chunk in parts for line in chunk.text.split("\n")] == lines


def test_a_line_that_alone_is_too_long_is_cut_between_sentences() -> None:
    line = f"- {sentences(7)}"
    for chunk in chunks(document(Block(line, "lines"))):
        assert chunk.text.endswith("more.")


def test_a_title_never_takes_more_than_a_third_of_a_chunk() -> None:
    headings = ("Second level of headings", "Third level of headings", "Its own heading")
    (chunk,) = chunks(document(Block("Text."), title="Name of document", headings=headings))
    assert chunk.title == "Its own heading"


def test_the_inner_headings_of_a_long_path_are_left_out_first() -> None:
    (chunk,) = chunks(document(Block("Text."), title="Guide", headings=("A long inner heading", "Dose")))
    assert chunk.title == "Guide > Dose"


def test_a_document_of_headings_only_is_found_by_them() -> None:
    (chunk,) = chunks(ParsedDocument("Closed on Sundays", (Section((), ()),)))
    assert (chunk.title, chunk.text) == ("", "Closed on Sundays")


def test_a_document_without_text_gives_no_chunk() -> None:
    assert chunks(ParsedDocument("", ())) == []


def test_a_text_without_any_white_space_keeps_the_bound() -> None:
    parts = chunks(document(Block("x" * 10_000)), counter=len)
    assert "".join(chunk.text for chunk in parts) == "x" * 10_000
    assert max(chunk.token_count for chunk in parts) <= 20


WORDS = st.text(st.sampled_from("ab .,;:!?\n-。한é"), max_size=200)
BLOCKS = st.builds(Block, WORDS, st.sampled_from(["prose", "lines"]))
PATHS = st.lists(st.sampled_from(["A", "B b", "C c c"]), max_size=3).map(tuple)
SECTIONS = st.builds(Section, PATHS, st.lists(BLOCKS, max_size=4).map(tuple))
DOCUMENTS = st.builds(ParsedDocument, st.sampled_from(["", "Title of it"]), st.lists(SECTIONS, max_size=5).map(tuple))
# Words; characters; and a counter that is larger for the whole than for its parts, as byte-pair encodings can be.
COUNTERS = st.sampled_from([count_words, len, lambda text: len(text) + text.count(".") * (len(text) > 12)])


@settings(max_examples=200)
@given(DOCUMENTS, COUNTERS, st.integers(16, 60), st.integers(0, 16))
def test_no_chunk_exceeds_the_bound_whatever_the_text_and_the_counter(
    parsed: ParsedDocument, counter: TokenCounter, most: int, least: int
) -> None:
    limits = CorpusSettings(max_tokens=most, min_tokens=least)
    for chunk in chunks(parsed, limits, counter):
        assert chunk.token_count == counter(embedding_text_of(chunk.text, chunk.title))
        assert chunk.token_count <= most
        assert chunk.text.strip()


@settings(max_examples=200)
@given(DOCUMENTS, st.integers(16, 60), st.integers(0, 16))
def test_every_character_of_every_block_is_in_a_chunk(parsed: ParsedDocument, most: int, least: int) -> None:
    limits = CorpusSettings(max_tokens=most, min_tokens=least)
    found = "".join(chunk.text for chunk in chunks(parsed, limits))
    wanted = "".join(block.text for section in parsed.sections for block in section.blocks)
    remaining = iter("".join(found.split()))
    assert all(character in remaining for character in "".join(wanted.split()))
