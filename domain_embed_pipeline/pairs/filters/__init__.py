"""Small named filters; each returns what it kept and what it dropped with the reason.

What belongs here: one kind of junk a module. What does not: leakage (`leakage`), caps and their order
(`training_pairs`). Every filter is idempotent and keeps the same pairs whatever the order in which they come.
"""
