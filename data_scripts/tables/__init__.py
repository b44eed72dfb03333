"""The exam table: its schema and its digest."""
