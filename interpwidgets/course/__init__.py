"""The engine of the course: it knows what a chapter is, not which chapters there are."""
