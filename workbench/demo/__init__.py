"""Synthetic hospitals with a known truth, and the demonstration that runs the whole of Tessera on them."""
