"""What every part of the project shares: files written aside, the Hub, Markdown, processes."""
