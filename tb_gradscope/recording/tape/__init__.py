"""The tape: which losses and variables its gradients are of, and what they are called."""
