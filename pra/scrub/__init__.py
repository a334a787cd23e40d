"""Reading stored bytes again before somebody needs them: what is due, what was found, what it costs."""
