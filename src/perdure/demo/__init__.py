"""The chats that `perdure demo` runs: a FastAPI application on the public API, with its pages.

It is written the way an application of yours would be, so it may serve as a starting point.
"""
