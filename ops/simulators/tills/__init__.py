"""A fleet of simulated tills, one per store, after docs/till.md."""
