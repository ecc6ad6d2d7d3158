"""Messages between the nodes of one job."""
