"""One family of errors; each names the culprit, the value and the fix.

DomainEmbedError
├── ConfigurationError        a setting is missing, unknown or out of bounds
│   └── MissingDependencyError    an optional extra is not installed
├── CorpusError               documents could not become a corpus
│   ├── EmptyCorpusError          no readable document at all
│   ├── CorpusSourceError         the corpus location does not exist or cannot be listed
│   └── UnreadableDocumentError   one document is set aside; the rest goes on
├── QuestionError             the question step cannot go on
│   ├── LedgerError               the ledger cannot be opened or is of another version
│   ├── QuestionImportError       a file of recorded questions is unusable
│   ├── BudgetExceededError       the run's spending ceiling was reached
│   ├── CircuitOpenError          too many requests in a row failed
│   ├── RequestsRejectedError     the server refuses the key, the model or every request
│   └── LeaseLostError            another process took over the asking
├── PairsError                pairs, splits or evaluation sets cannot be made
│   ├── EvaluationSetError        queries or relevance judgments are unusable
│   ├── UserPairsError            the user's own pairs are unusable
│   └── CorpusTooSmallError       nothing can be held out
├── ModelError                a model cannot be found, trusted or loaded
│   ├── BaseModelNotFoundError    neither hub, folder nor package has it
│   ├── DigestMismatchError       files differ from what was recorded
│   └── EncodingEngineError       several devices or a cluster cannot encode
├── TrainingError             fine-tuning cannot start or go on
│   ├── TooFewPairsError          fewer pairs than any training can use
│   ├── TrainingDivergedError     the loss or the vectors are not finite
│   └── TrainingMemoryError       memory runs out even with one text at a time
├── EvaluationError           a measurement is impossible or would be misleading
│   └── IncomparableError         two evaluations differ in more than the model
├── ServingError              the index cannot be built, verified or swapped
│   ├── StoreLockedError          another process holds the embedded store
│   ├── StoreUnavailableError     the Qdrant server does not answer, or keeps refusing
│   ├── VerificationError         the new collection is not what was planned
│   ├── AliasConflictError        the alias is not where the run expected it
│   ├── PromotionRefusedError     no passing verdict, no swap
│   └── EncoderMismatchError      the index was built by another encoder
├── RegistryError             a model version or its manifest is unusable
│   └── ModelVersionNotFoundError
└── NotificationError         a notice did not reach anybody
"""

from __future__ import annotations


class DomainEmbedError(Exception):
    """Base of the family.

    Args:
        message: What went wrong, naming the culprit and its value.
        fix: What the reader can do about it, as an imperative sentence.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} Fix: {self.fix}" if self.fix else self.message


class ConfigurationError(DomainEmbedError):
    """A setting is missing, unknown or out of bounds."""

    exit_code = 2


class MissingDependencyError(ConfigurationError):
    """An optional extra is not installed."""


class CorpusError(DomainEmbedError):
    """Documents could not become a corpus."""

    exit_code = 3


class EmptyCorpusError(CorpusError):
    """No readable document at all."""


class CorpusSourceError(CorpusError):
    """The corpus location does not exist or cannot be listed."""


class UnreadableDocumentError(CorpusError):
    """One document is set aside; the rest goes on.

    Args:
        reason: Short and stable, as in `QuarantinedFile.reason`.
        detail: What was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class QuestionError(DomainEmbedError):
    """The question step cannot go on."""

    exit_code = 4


class LedgerError(QuestionError):
    """The ledger cannot be opened or is of another version."""


class QuestionImportError(QuestionError):
    """A file of recorded questions is unusable."""


class BudgetExceededError(QuestionError):
    """The run's spending ceiling was reached; everything paid for is kept."""


class CircuitOpenError(QuestionError):
    """Too many requests in a row failed; the run stopped before it burned money."""


class RequestsRejectedError(QuestionError):
    """The server refuses the key, the model or every request of this shape; trying again is pointless."""


class LeaseLostError(QuestionError):
    """This process was silent for so long that another one took over the asking."""


class PairsError(DomainEmbedError):
    """Pairs, splits or evaluation sets cannot be made."""

    exit_code = 5


class EvaluationSetError(PairsError):
    """Queries or relevance judgments are unusable."""


class UserPairsError(PairsError):
    """The user's own pairs are unusable."""


class CorpusTooSmallError(PairsError):
    """Nothing can be held out."""


class ModelError(DomainEmbedError):
    """A model cannot be found, trusted or loaded."""

    exit_code = 6


class BaseModelNotFoundError(ModelError):
    """Neither hub, folder nor package has the model."""


class DigestMismatchError(ModelError):
    """Files differ from what was recorded."""


class EncodingEngineError(ModelError):
    """Several devices or a cluster cannot encode."""


class TrainingError(DomainEmbedError):
    """Fine-tuning cannot start or go on."""

    exit_code = 7


class TooFewPairsError(TrainingError):
    """Fewer pairs than any training can use."""


class TrainingDivergedError(TrainingError):
    """The loss or the vectors of the model in training are not finite."""


class TrainingMemoryError(TrainingError):
    """Memory runs out even with one text at a time."""


class EvaluationError(DomainEmbedError):
    """A measurement is impossible or would be misleading."""

    exit_code = 8


class IncomparableError(EvaluationError):
    """Two evaluations differ in more than the model."""


class ServingError(DomainEmbedError):
    """The index cannot be built, verified or swapped."""

    exit_code = 9


class StoreLockedError(ServingError):
    """Another process holds the embedded store."""


class StoreUnavailableError(ServingError):
    """The Qdrant server does not answer, or keeps refusing."""


class VerificationError(ServingError):
    """The new collection is not what was planned."""


class AliasConflictError(ServingError):
    """The alias is not where the run expected it."""


class PromotionRefusedError(ServingError):
    """No passing verdict, no swap."""


class EncoderMismatchError(ServingError):
    """The index was built by another encoder."""


class RegistryError(DomainEmbedError):
    """A model version or its manifest is unusable."""

    exit_code = 10


class ModelVersionNotFoundError(RegistryError):
    """No such model version in the registry."""


class NotificationError(DomainEmbedError):
    """A notice did not reach anybody."""

    exit_code = 11
