"""What a process tells of itself: metrics, log lines, health."""
