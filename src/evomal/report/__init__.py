"""What people read: live progress, tables, and descriptions of losses."""
