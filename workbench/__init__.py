"""Streamlit pages, the Python client and the umbrella command `tessera`."""
