def write(rows, about, path):
    pass
