"""`tessera try`: an analysis on one file, with all nodes in this process, for people who want to see it work."""
