"""What `app.py` shows: reading uploads, analysing them, nearest reports, the result as HTML, JSON and PDF.

Published with the Space, beside `app.py` and `modeling_ecgclip`. Only the two commands that make its files (`nearest`,
`make_examples`) need `data_scripts`.
"""
