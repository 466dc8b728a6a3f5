"""API keys as whoever looks after them sees them: what they may do in words, and the resource /v1/keys."""
