"""The server behind `serve.py`: requests read in processes of their own, ECGs of many through the network together."""
