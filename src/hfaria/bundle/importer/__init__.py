"""What `hfaria bundle import` runs, and what each stick carries as one file, `import_bundle.py`.

Its modules import nothing but the standard library of Python 3.8 and each other.
"""
