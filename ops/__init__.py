"""Everything an operator touches: settings, wiring, command line, local stack, simulators."""
