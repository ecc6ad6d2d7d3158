"""What pages are made of: the shell, the six states, charts and tables; all but the shell are pure functions."""
