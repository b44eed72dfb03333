"""Raw recordings and reports in, exam tables out; each module has a small command line."""
