"""The platforms' words: one adapter per platform turns its wire format into ours and back."""
