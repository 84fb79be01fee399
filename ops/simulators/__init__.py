"""Stand-ins for the outside world: takeaway platforms and a fleet of tills.

They are separate processes that check signatures, keep their own books and misbehave on request.
They import nothing of the system under test, so a misreading of a wire format cannot hide in both.
"""
