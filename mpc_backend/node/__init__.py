"""The computing node: a service that holds shares, computes on them with its peers, and learns nothing."""
