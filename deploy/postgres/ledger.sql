-- Run once, when the volume is new: the ledger of LLM answers has a database of its own beside Dagster's.
CREATE DATABASE ledger;
