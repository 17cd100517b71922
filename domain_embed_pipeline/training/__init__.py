"""Fine-tuning: stage one, hard-negative mining, stage two, blends, choice of the candidate on dev.

What does not belong here: judging on test (`evaluation`), storing versions (`registry`).
"""
