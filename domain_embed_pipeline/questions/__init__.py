"""Questions that each chunk answers: prompt, Messages client (direct and batch), ledger, pricing, budget.

What does not belong here: filtering questions into pairs (`pairs`).
"""
