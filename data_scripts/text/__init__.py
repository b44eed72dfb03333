"""What of a report, or of a machine's statements, a text model may see."""
