"""What is kept in PostgreSQL, and how it is written and read: one module a table family."""
