"""The bundled RESP server: typed Python that mypyc compiles into one unit."""
