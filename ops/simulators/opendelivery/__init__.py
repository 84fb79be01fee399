"""A simulated ordering application after Open Delivery v1.7: events to poll and acknowledge."""
