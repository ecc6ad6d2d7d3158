"""The hospital's side: extracts, snapshots, local evaluation, sharing, the steward's commands."""
