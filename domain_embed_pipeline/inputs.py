"""Whether the inputs of a training have changed since the last one, told without reading a document.

What belongs here: digests of what lies outside (files, the ledger). What does not: what the files say (`corpus`), when
to train (`defs/schedules`).
"""

from __future__ import annotations

import sqlalchemy as sa

from domain_embed_pipeline.corpus.existing_index import SCHEME
from domain_embed_pipeline.corpus.settings import CorpusSettings
from domain_embed_pipeline.corpus.sources import SourceFile, list_files
from domain_embed_pipeline.ids import digest_of
from domain_embed_pipeline.questions.ledger import Ledger
from domain_embed_pipeline.questions.ledger_tables import recorded_questions, responses
from domain_embed_pipeline.settings import DeploymentSettings

_REVISION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated")


def files_digest(settings: DeploymentSettings) -> str:
    """Digest of names, sizes and times (or the store's own digests) of documents, queries and user pairs.

    Empty when it cannot be told without reading, as for the chunks of an existing collection.

    Raises:
        CorpusSourceError: If a location does not exist or cannot be listed.
    """
    places = [settings.corpus_path, settings.queries_path or "", settings.user_pairs_path or ""]
    locations = [part.strip() for place in places for part in place.split(",") if part.strip()]
    if any(location.startswith(SCHEME) for location in locations):
        return ""
    reading = CorpusSettings()
    return digest_of(
        settings.base_model,
        *(_line(location, file) for location in locations for file in list_files(location, settings=reading)),
    )[:16]


def ledger_digest(ledger: Ledger) -> str:
    """How many answers and recorded questions there are: another one whenever there is more to train on."""
    (answers,) = ledger.read(sa.select(sa.func.count(), sa.func.max(responses.c.response_id)).select_from(responses))
    (recorded,) = ledger.read(
        sa.select(sa.func.count(), sa.func.max(recorded_questions.c.recorded_id)).select_from(recorded_questions)
    )
    return f"{answers[0]} answers (to {answers[1] or 0}), {recorded[0]} recorded (to {recorded[1] or 0})"


def _line(location: str, file: SourceFile) -> str:
    information = file.filesystem.info(file.path) if file.problem is None else {}
    revision = next((str(information[key]) for key in _REVISION_KEYS if information.get(key)), "")
    return f"{location}\n{file.document_id}\n{file.byte_count}\n{revision}"
