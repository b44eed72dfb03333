"""What `app.py` shows: reading uploads, analysing them, nearest reports, the result as HTML, JSON and PDF.

Published with the Space, beside `app.py`, `modeling_ecgclip` and a little of `common`. Only the two commands that make
its files (`index_reports`, `make_examples`) need `data_scripts`.
"""
