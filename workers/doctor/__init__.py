"""``ulak doctor``: what is wrong with the running system, why it matters, and what mends it."""
