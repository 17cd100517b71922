"""List prices of managed embedding models, to show what they would cost before anybody is asked.

What belongs here: dollars per million tokens with their date. What does not: prices of the Messages API
(`questions.pricing`). A price that is wrong by now is overridden by a setting.
"""

from __future__ import annotations

PRICES_AS_OF = "2024-01-25"
"""When they were announced; they were not checked since."""
DOLLARS_PER_MILLION_TOKENS = {
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
    "text-embedding-ada-002": 0.10,
}


def dollars_per_million_tokens(model: str) -> float:
    """List price of a model; 0 for one that is not on the list, such as a server of one's own."""
    return DOLLARS_PER_MILLION_TOKENS.get(model, 0.0)
