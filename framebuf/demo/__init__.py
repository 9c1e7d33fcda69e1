"""The demo: a throw-away broker, a scene of sample pictures, and an album of what was found."""
