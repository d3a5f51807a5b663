"""Tables and pictures of finished runs, beside what the papers printed."""
