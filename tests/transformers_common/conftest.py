"""transformers marks its tests by what they need; marks that are not known are errors here."""

MARKS = ("accelerate_tests", "torch_compile_test", "flash_attn_test", "flash_attn_3_test", "flash_attn_4_test")


def pytest_configure(config):
    for mark in MARKS:
        config.addinivalue_line("markers", f"{mark}: transformers' own")
