"""Photos as the shards that training reads, and the tables that say which photo goes where."""
