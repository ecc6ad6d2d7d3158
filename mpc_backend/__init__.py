"""Values on secret shares, protocols, analyses, nodes, and the client that shares inputs and opens results."""
