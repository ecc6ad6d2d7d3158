"""Tables in row shards, worked on side by side: in processes of a node, or in threads where all nodes are in one.

A program that treats every row alike says so by `over_shards(session, work, rows, ...)`. The rows are cut into as many shards
as there are workers; each is computed by a session of its own, with keys derived for it alone and its own channel to the
same shard at the other nodes. Rows that come back are put together, `Total`s are added, which costs nothing on shares.

Two barriers make that safe. Before rows are handed out, everything that the job has received is checked; each shard checks
what it has received before anything comes back. So no error that a malicious node planted in one part of a job can meet a
secret in another part whose check is told apart from its own, and nothing unchecked is ever opened. A shard that fails ends
the whole job.
"""

from mpc_backend.shards.base import MOST_WORKERS, Done, Shards, Task
from mpc_backend.shards.rows import Total
from mpc_backend.shards.running import over_shards

__all__ = ["MOST_WORKERS", "Done", "Shards", "Task", "Total", "over_shards"]
