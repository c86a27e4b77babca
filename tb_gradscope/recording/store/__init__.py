"""From a call to the log: whether it is due, where its numbers wait, and who writes them."""
