"""`system2 demo`: a day of a restaurant chain in half a minute, with its accidents, and the books
of everybody who took part, compared afterwards.
"""
