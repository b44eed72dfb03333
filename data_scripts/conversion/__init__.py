"""From a source to an exam table: what every converter shares."""
